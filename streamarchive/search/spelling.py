"""Which words are spelled nearly alike."""

from __future__ import annotations

from collections.abc import Iterable

from rapidfuzz.distance import OSA

from streamarchive import text

SHORTEST = 4
"""Letters of a word that others are compared with: nearly every shorter one resembles some word."""
_LONG = 8


def comparable(word: str) -> str:
    """The folded word if it is one that can be compared; else nothing."""
    found = text.tokens(word)
    fits = len(found) == 1 and found[0].text.isalpha() and found[0].text.isascii()
    return found[0].text if fits and len(found[0].text) >= SHORTEST else ""


def edits(word: str) -> int:
    """How many letters may be added, left out, exchanged or swapped with the next; the first one is right."""
    return 2 if len(word) >= _LONG else 1


def nearest(word: str, known: Iterable[tuple[str, int]], limit: int) -> tuple[str, ...]:
    """Of words and how often each occurs, those that resemble `word`: least edits first, then the commonest."""
    most = edits(word)
    found = []
    for other, count in known:
        if other[:1] == word[:1] and abs(len(other) - len(word)) <= most and other != word:
            distance = OSA.distance(word, other, score_cutoff=most)
            if distance <= most:
                found.append((distance, -count, other))
    return tuple(other for _, _, other in sorted(found)[:limit])
