"""Completing what somebody types, from titles, guests, the glossary and what is often said; pure.

What is typed has to stand at the beginning of a word (or anywhere in Chinese); its last word may be unfinished.
Chinese names are offered for their Pinyin too: `zhangw` leads to 张伟.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pypinyin import lazy_pinyin

from streamarchive import text
from streamarchive.models import InterviewId
from streamarchive.text import Token

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
    """What can be suggested, analysed once."""

    def __init__(self, offered: Iterable[Suggestion]) -> None:
        merged: dict[tuple[Kind, str, str], Suggestion] = {}
        for one in offered:
            key = (one.kind, one.text, one.lang)
            known = merged.get(key)
            if known is not None and known.interviews is not None and one.interviews is not None:
                one = Suggestion(*key, known.interviews | one.interviews)
            merged[key] = one
        self._offered = [(one, _words(one.text), _pinyin(one)) for one in merged.values()]

    def matching(self, typed: str, hidden: Collection[InterviewId], limit: int = 8) -> list[Suggestion]:
        """The best for what is typed so far, without what only `hidden` interviews know."""
        wanted, sounds = _words(typed), "".join(typed.split()).casefold()
        if not wanted:
            return []
        found = []
        for one, words, pinyin in self._offered:
            at = _begins(words, wanted)
            if at is None and len(sounds) > 1 and pinyin.startswith(sounds):
                at = 0
            if at is None or (one.interviews is not None and not one.interviews - set(hidden)):
                continue
            found.append(((at > 0, list(Kind).index(one.kind), -len(one.interviews or ()), one.text), one))
        distinct: dict[tuple[str, ...], Suggestion] = {}
        for _, one in sorted(found, key=lambda pair: pair[0]):
            distinct.setdefault(_words(one.text) if one.kind is not Kind.TITLE else (one.text,), one)
        return list(distinct.values())[:limit]


def _words(said: str) -> tuple[str, ...]:
    return tuple(token.text for token in text.tokens(said))


def _pinyin(one: Suggestion) -> str:
    """How a Chinese name or term sounds, without spaces; nothing for others."""
    if one.kind not in (Kind.GUEST, Kind.TERM) or not any(token.han for token in text.tokens(one.text)):
        return ""
    return "".join(lazy_pinyin(one.text)).casefold()


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
