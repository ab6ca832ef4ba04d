"""The words that a correction put in: what somebody may want to keep in the glossary; pure."""

from __future__ import annotations

from difflib import SequenceMatcher

from streamarchive import text

_BESIDE = 2
"""A Chinese word is seldom one character: so many of those beside the corrected ones are taken along."""


def put_in(before: str, after: str) -> str:
    """The longest run of words, as written, that `after` has in the place of others of `before`; may be empty."""
    old, new = text.tokens(before), text.tokens(after)
    matcher = SequenceMatcher(None, _written(before, old), _written(after, new), autojunk=False)
    runs = [(first, end) for kind, _, _, first, end in matcher.get_opcodes() if kind in ("replace", "insert")]
    if not runs:
        return ""
    first, end = max(runs, key=lambda run: new[run[1] - 1].end - new[run[0]].start)
    least, most = max(first - _BESIDE, 0), min(end + _BESIDE, len(new))
    while first > least and new[first].han and new[first - 1].han:
        first -= 1
    while end < most and new[end - 1].han and new[end].han:
        end += 1
    return after[new[first].start : new[end - 1].end]


def _written(whole: str, found: tuple[text.Token, ...]) -> list[str]:
    """The tokens with their case, unlike in search: `nio` for NIO is worth correcting."""
    return [whole[token.start : token.end] for token in found]
