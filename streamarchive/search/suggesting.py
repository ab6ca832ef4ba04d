"""Completing what somebody types, from titles, guests, the glossary and what is often said; pure.

What is typed has to stand at the beginning of a word (or anywhere in Chinese); its last word may be unfinished.
Chinese names are offered for their Pinyin too: `zhangw` leads to 张伟.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from pypinyin import lazy_pinyin

from streamarchive import text
from streamarchive.models import InterviewId
from streamarchive.text import Token

_KEPT = 100_000
"""Names and titles whose analysis is kept."""
_LONGEST_ENGLISH, _LONGEST_HAN = 3, 6
_OFTEN = 3
"""What is said so many times is a phrase."""
_MOST_PHRASES = 400
_SAID_ANYWHERE = """
    a about all also an and are as at be because but by can do for from had has have he her his how i if in is it
    its just like me more my no not of on one or our out she so that the their them then there they this to up
    very was we were what when which who will with would you your
"""
_COMMON_WORDS = frozenset(_SAID_ANYWHERE.split())
_COMMON_HAN = frozenset("的了是在我你他她它们这那一个有和就都也不很会要能说到为与及或吗呢吧啊把被让给对从上下")


class Kind(StrEnum):
    """What a suggestion is."""

    TITLE = "title"
    GUEST = "guest"
    TERM = "term"
    PHRASE = "phrase"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Something to look for. It is offered to those who may find one of its interviews; None: to everybody."""

    kind: Kind
    text: str
    lang: str
    interviews: frozenset[InterviewId] | None


class Suggestions:
    """What can be suggested, analysed once and looked up by how its words begin.

    Everything has its number in the order of preference, so that looking ends with the first that are enough: a
    single letter begins half of all titles.
    """

    def __init__(self, offered: Iterable[Suggestion]) -> None:
        self._offered = [(one, _words_of_known(one.text)) for one in sorted(_merged(offered), key=_preference)]
        numbered = list(enumerate(self._offered))
        self._by_first = _Numbers((words[0], number) for number, (_, words) in numbered if words)
        self._by_any = _Numbers((word, number) for number, (_, words) in numbered for word in set(words))
        self._by_sound = _Numbers((sound, number) for number, (one, _) in numbered if (sound := _pinyin(one)))

    def matching(self, typed: str, hidden: Collection[InterviewId], limit: int = 8) -> list[Suggestion]:
        """The best for what is typed so far, without what only `hidden` interviews know."""
        wanted, sounds = _words(typed), "".join(typed.split()).casefold()
        if not wanted:
            return []
        unseen = frozenset(hidden)
        distinct: dict[tuple[str, ...], Suggestion] = {}
        for number in self._numbers(wanted, sounds):
            one, words = self._offered[number]
            if one.interviews is None or not one.interviews <= unseen:
                distinct.setdefault(words if one.kind is not Kind.TITLE else (one.text,), one)
            if len(distinct) >= limit:
                break
        return list(distinct.values())

    def _numbers(self, wanted: Sequence[str], sounds: str) -> Iterator[int]:
        """What begins so first, then what has it further on; some twice."""
        *whole, begun = wanted
        beginning = [n for n in self._by_first.completing(whole[:1], begun) if self._at(n, wanted) == 0]
        sounding = self._by_sound.beginning(sounds) if len(sounds) > 1 else []
        yield from sorted({*beginning, *sounding})
        yield from (n for n in self._by_any.completing(whole, begun) if self._at(n, wanted) is not None)

    def _at(self, number: int, wanted: Sequence[str]) -> int | None:
        return _begins(self._offered[number][1], wanted)


class _Numbers:
    """Numbers under words."""

    def __init__(self, pairs: Iterable[tuple[str, int]]) -> None:
        self._by_word: defaultdict[str, list[int]] = defaultdict(list)
        for word, number in pairs:
            self._by_word[word].append(number)
        self._words = sorted(self._by_word)

    def completing(self, whole: Sequence[str], begun: str) -> Sequence[int]:
        """Those that can have these words and one that begins so, in order."""
        if not whole:
            return self.beginning(begun)
        return min((self._by_word.get(word, []) for word in whole), key=len)

    def beginning(self, prefix: str) -> list[int]:
        """Those under words that begin so, in order."""
        found: set[int] = set()
        for at in range(bisect_left(self._words, prefix), len(self._words)):
            if not self._words[at].startswith(prefix):
                break
            found.update(self._by_word[self._words[at]])
        return sorted(found)


def _merged(offered: Iterable[Suggestion]) -> list[Suggestion]:
    """Each once, with all interviews that know it; a host may be the guest of every one."""
    known: defaultdict[tuple[Kind, str, str], set[InterviewId]] = defaultdict(set)
    everybody = set()
    for one in offered:
        key = (one.kind, one.text, one.lang)
        known[key].update(one.interviews or ())
        if one.interviews is None:
            everybody.add(key)
    return [Suggestion(*key, None if key in everybody else frozenset(ids)) for key, ids in known.items()]


def _preference(one: Suggestion) -> tuple[int, int, str]:
    return list(Kind).index(one.kind), -len(one.interviews or ()), one.text


def _words(said: str) -> tuple[str, ...]:
    return tuple(token.text for token in text.tokens(said))


@lru_cache(maxsize=_KEPT)
def _words_of_known(said: str) -> tuple[str, ...]:
    """Kept for the next time everything is read again, when most of it is as before."""
    return _words(said)


def _pinyin(one: Suggestion) -> str:
    """How a Chinese name or term sounds, without spaces; nothing for others."""
    return _sound(one.text) if one.kind in (Kind.GUEST, Kind.TERM) else ""


@lru_cache(maxsize=_KEPT)
def _sound(said: str) -> str:
    if not any(token.han for token in text.tokens(said)):
        return ""
    return "".join(lazy_pinyin(said)).casefold()


def _begins(words: Sequence[str], wanted: Sequence[str]) -> int | None:
    """At which word what is wanted begins."""
    last = len(wanted) - 1
    for at in range(len(words) - last):
        if words[at + last].startswith(wanted[-1]) and list(words[at : at + last]) == list(wanted[:-1]):
            return at
    return None


# --- what is often said -------------------------------------------------------------------------------------


def phrases(said: Iterable[tuple[InterviewId, str]]) -> list[Suggestion]:
    """What is said again and again in these lines: two or three English words, or two to six characters.

    Of phrases that contain each other and are said equally often only the longest is one.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    shown: dict[tuple[str, ...], str] = {}
    where: defaultdict[tuple[str, ...], set[InterviewId]] = defaultdict(set)
    for interview_id, line in said:
        for run in _runs(line):
            for part in _parts(run):
                key = tuple(token.text for token in part)
                counts[key] += 1
                shown.setdefault(key, line[part[0].start : part[-1].end])
                where[key].add(interview_id)
    often = {key: count for key, count in counts.items() if count >= _OFTEN}
    contained = {part for key in often for part in _within(key) if often.get(part) == often[key]}
    best = sorted(often.keys() - contained, key=lambda key: (-often[key] * len(key), key))
    return [
        Suggestion(Kind.PHRASE, shown[key], _language(key), frozenset(where[key])) for key in best[:_MOST_PHRASES]
    ]


def _within(key: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The shorter phrases in it."""
    for length in range(2, len(key)):
        for first in range(len(key) - length + 1):
            yield key[first : first + length]


def _language(key: Sequence[str]) -> str:
    return "zh" if all(token.han for word in key for token in text.tokens(word)) else "en"


def _runs(line: str) -> Iterator[list[Token]]:
    """Words, or characters, that stand side by side without punctuation between them."""
    run: list[Token] = []
    for token in text.tokens(line):
        between = line[run[-1].end : token.start] if run else ""
        if run and (run[-1].han != token.han or between.strip() or (token.han and between)):
            yield run
            run = []
        run.append(token)
    if run:
        yield run


def _parts(run: Sequence[Token]) -> Iterator[Sequence[Token]]:
    longest = _LONGEST_HAN if run[0].han else _LONGEST_ENGLISH
    common = _COMMON_HAN if run[0].han else _COMMON_WORDS
    for first in range(len(run)):
        for last in range(first + 1, min(first + longest, len(run))):
            if run[first].text not in common and run[last].text not in common:
                yield run[first : last + 1]
