"""What to look for where nothing was found as it was typed: names that sound like it, words spelled like it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from pypinyin import Style, lazy_pinyin

from streamarchive import text
from streamarchive.models import InterviewId
from streamarchive.protocols import Clause, Query, SearchIndex
from streamarchive.search import query as language
from streamarchive.search import spelling
from streamarchive.search.answers import Fallback, FallbackKind

_MOST_CANDIDATES = 3
_LONGEST_NAME = 4
"""Words or clauses of a query that may be one name."""
_MOST_UNKNOWN = 5
"""More unknown words are no slip of a finger, and each costs several searches."""


async def instead(
    index: SearchIndex, query: Query, hidden: Collection[InterviewId], names: Collection[str]
) -> Fallback | None:
    """Another query that finds something where this one does not; None if there is none.

    `names` are those the asker may know of. A word that is found by itself stays as it is.
    """
    unknown: list[bool] = []
    for clause in query.clauses:
        unknown.append(not clause.negated and not await _found(index, query, (clause,), hidden))
        if sum(unknown) > _MOST_UNKNOWN:
            return None
    if not any(unknown):
        return None
    sounding = _sounding(query.clauses, unknown, names)
    if sounding is not None:
        found = await _if_found(index, query, sounding, hidden)
        if found is not None:
            return Fallback(FallbackKind.PINYIN, found)
    spelled: list[Clause] = []
    for clause, is_unknown in zip(query.clauses, unknown, strict=True):
        other = await _respelled(index, query, clause, hidden, names) if is_unknown else clause
        if other is None:
            return None
        spelled.append(other)
    found = await _if_found(index, query, tuple(spelled), hidden)
    return None if found is None else Fallback(FallbackKind.SPELLING, found)


async def _if_found(
    index: SearchIndex, query: Query, clauses: tuple[Clause, ...], hidden: Collection[InterviewId]
) -> Query | None:
    if not await _found(index, query, clauses, hidden):
        return None
    other = replace(query, clauses=clauses)
    return replace(other, text=language.write(other))


async def _found(
    index: SearchIndex, query: Query, clauses: tuple[Clause, ...], hidden: Collection[InterviewId]
) -> bool:
    results = await index.search(replace(query, clauses=clauses), hidden=hidden, limit=1, moments=0)
    return results.total_interviews.value > 0


# --- names that sound like it -----------------------------------------------------------------------------


def _sounding(
    clauses: Sequence[Clause], unknown: Sequence[bool], names: Iterable[str]
) -> tuple[Clause, ...] | None:
    """The clauses with names in place of what sounds like them; None where there are none."""
    spoken: dict[str, list[str]] = {}
    for name in sorted(names):
        if any(token.han for token in text.tokens(name)):
            for sound in _sounds(name):
                spoken.setdefault(sound, []).append(name)
    found: list[Clause] = []
    at = 0
    while at < len(clauses):
        length, sounding = _longest(clauses[at:], unknown[at:], spoken)
        found.append(Clause(sounding[0], alternatives=tuple(sounding[1:])) if sounding else clauses[at])
        at += length
    return tuple(found) if found != list(clauses) else None


def _longest(
    clauses: Sequence[Clause], unknown: Sequence[bool], spoken: Mapping[str, list[str]]
) -> tuple[int, list[str]]:
    """How many of the first clauses are together a name, and which names sound like it."""
    for length in range(min(len(clauses), _LONGEST_NAME), 0, -1):
        sound = "".join(_sound(clause.text) for clause in clauses[:length])
        if all(unknown[:length]) and sound in spoken:
            return length, spoken[sound]
    return 1, []


@lru_cache(maxsize=4096)
def _sound(shown: str) -> str:
    """Its syllables without tones; of Latin words the letters."""
    folded = "".join(token.text for token in text.tokens(shown))
    return "".join(lazy_pinyin(folded, style=Style.NORMAL, v_to_u=False)).replace("v", "u")


def _sounds(name: str) -> set[str]:
    """As it is written, and with the family name last, as in English."""
    whole = _sound(name)
    return {whole, _sound(name[1:]) + _sound(name[:1])}


# --- words spelled like it --------------------------------------------------------------------------------


async def _respelled(
    index: SearchIndex, query: Query, clause: Clause, hidden: Collection[InterviewId], names: Collection[str]
) -> Clause | None:
    """The clause with the words that its own resembles and that are found; None where there are none."""
    word = spelling.comparable(clause.text)
    if not word:
        return None
    of_names = ((token.text, 1) for name in names for token in text.tokens(name) if not token.han)
    near = (*spelling.nearest(word, of_names, _MOST_CANDIDATES), *await index.similar(word, _MOST_CANDIDATES))
    found = [other for other in dict.fromkeys(near) if await _found(index, query, (Clause(other),), hidden)]
    return Clause(found[0], alternatives=tuple(found[1:])) if found else None
