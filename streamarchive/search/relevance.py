"""How good a moment is, as one whole number that both engines compute alike; higher is better.

It depends on the moment and the query alone, not on what else is in the index, so a page that is asked for
later goes on exactly where the last one ended, whatever has been said meanwhile.
"""

from __future__ import annotations

from streamarchive.search.query import MAX_CLAUSES

_EXACT_STEPS = MAX_CLAUSES + 1
SURE = _EXACT_STEPS
"""It is not doubtful."""
CLAUSE = 2 * SURE
"""For every clause it meets."""
NEAR = CLAUSE * (MAX_CLAUSES + 1)
"""The other clauses are met within half a minute."""
TOGETHER = 2 * NEAR
"""All clauses are met in this cue or across its border."""
EXACT = 1
"""For every clause it meets as it was typed."""


def rank(clauses: int, exact: int, *, sure: bool, near: bool, together: bool) -> int:
    """Of a moment that meets this many clauses, so many of them as they were typed."""
    nearness = TOGETHER if together else NEAR if near else 0
    return nearness + CLAUSE * clauses + SURE * sure + EXACT * exact
