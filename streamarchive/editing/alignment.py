"""Two accounts of the same speech, aligned token by token in text and in time.

The cheapest way to turn one into the other, where equal tokens cost what they are apart in time, and unequal
ones may stand for each other only while they are near. Only tokens within some seconds are compared, so a
transcript of hours costs some milliseconds a minute.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

REACH_MS = 2_500
"""Tokens further apart than this are never the same word."""

_GAP = 0.7
_SPARE = 0.1
_OTHER = 0.8
_EQUAL_SECOND = 0.4
_OTHER_SECOND = 0.35
_TOUCHING_MS = 200
_MATCH, _LEFT, _RIGHT = 1, 2, 3

Pair = tuple[int | None, int | None]


class Standing(Enum):
    """For what else a token may stand than for its equal."""

    OPEN = auto()
    """For anything near."""
    FIRM = auto()
    """For what is heard at its own time."""
    ALONE = auto()
    """For nothing: it was put where nobody had heard a word."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A token with its times. A `spare` one has another in its place, so that it is easily left over."""

    text: str
    start_ms: int
    end_ms: int
    standing: Standing = Standing.OPEN
    spare: bool = False

    @property
    def at_ms(self) -> int:
        """The middle of its times."""
        return (self.start_ms + self.end_ms) // 2

    @property
    def absence(self) -> float:
        """What it costs to leave it without a counterpart."""
        return _SPARE if self.spare else _GAP


@dataclass(slots=True)
class _Row:
    """The costs of reaching each place of the right side from `first` on, and how it was reached."""

    first: int
    costs: list[float] = field(default_factory=list)
    steps: bytearray = field(default_factory=bytearray)


def align(left: Sequence[Mark], right: Sequence[Mark]) -> list[Pair]:
    """Positions that belong together, in order; where one side has nothing, None."""
    if not left or not right:
        return [*((at, None) for at in range(len(left))), *((None, at) for at in range(len(right)))]
    return _by_time(_trace(_rows(left, right), len(left), len(right)), left, right)


def _rows(left: Sequence[Mark], right: Sequence[Mark]) -> list[_Row]:
    """One row for each left token, and one before the first.

    A row begins with the right tokens in reach of its own left one and ends with those of the next: what is
    skipped before that next one is skipped in this row.
    """
    left_times, right_times = _rising(left), _rising(right)
    lows = [bisect_left(right_times, time - REACH_MS) for time in left_times]
    highs = [*(bisect_right(right_times, time + REACH_MS) for time in left_times), len(right)]
    start = _Row(
        0,
        list(itertools.accumulate([0.0, *(mark.absence for mark in right[: highs[0]])])),
        bytearray([_RIGHT] * (highs[0] + 1)),
    )
    rows = [start]
    for at, mark in enumerate(left):
        rows.append(_row(rows[-1], mark, right, lows[at], highs[at + 1]))
    return rows


def _row(before: _Row, mark: Mark, right: Sequence[Mark], low: int, high: int) -> _Row:
    """`low` to `high`: how many of the right tokens may have been used up behind this left one."""
    row = _Row(low)
    previous, offset = before.costs, before.first
    running = float("inf")
    for column in range(low, high + 1):
        at = column - offset
        best, step = running + (right[column - 1].absence if column else 0.0), _RIGHT
        if at < len(previous) and previous[at] + mark.absence < best:
            best, step = previous[at] + mark.absence, _LEFT
        if 0 < at <= len(previous):
            paired = previous[at - 1] + cost(mark, right[column - 1])
            if paired <= best:
                best, step = paired, _MATCH
        row.costs.append(best)
        row.steps.append(step)
        running = best
    return row


def cost(one: Mark, other: Mark) -> float:
    """What it costs to take both for the same sound."""
    apart = abs(one.at_ms - other.at_ms) / 1000
    if apart * 1000 > REACH_MS:
        return float("inf")
    if one.text == other.text:
        return apart * _EQUAL_SECOND
    standing = {one.standing, other.standing}
    away = max(one.start_ms, other.start_ms) - min(one.end_ms, other.end_ms)
    if Standing.ALONE in standing or (Standing.FIRM in standing and away > _TOUCHING_MS):
        return float("inf")
    return _OTHER + apart * _OTHER_SECOND


def _trace(rows: Sequence[_Row], left: int, right: int) -> list[Pair]:
    pairs: list[Pair] = []
    row, column = left, right
    while row > 0 or column > 0:
        step = rows[row].steps[column - rows[row].first]
        if step == _RIGHT:
            column -= 1
            pairs.append((None, column))
        elif step == _LEFT:
            row -= 1
            pairs.append((row, None))
        else:
            row, column = row - 1, column - 1
            pairs.append((row, column))
    return pairs[::-1]


def _by_time(pairs: Sequence[Pair], left: Sequence[Mark], right: Sequence[Mark]) -> list[Pair]:
    """What is unpaired on both sides between two pairs, in the order of its times."""
    ordered: list[Pair] = []
    for paired, run in itertools.groupby(pairs, key=lambda pair: None not in pair):
        group = list(run)
        if not paired:
            lefts = [at for at, _ in group if at is not None]
            rights = [at for _, at in group if at is not None]
            group = _interleaved(lefts, rights, left, right)
        ordered += group
    return ordered


def _interleaved(
    lefts: Sequence[int], rights: Sequence[int], left: Sequence[Mark], right: Sequence[Mark]
) -> list[Pair]:
    merged: list[Pair] = []
    waiting = list(lefts)
    for at in rights:
        while waiting and left[waiting[0]].at_ms <= right[at].at_ms:
            merged.append((waiting.pop(0), None))
        merged.append((None, at))
    return [*merged, *((at, None) for at in waiting)]


def _rising(marks: Sequence[Mark]) -> list[int]:
    return list(itertools.accumulate((mark.at_ms for mark in marks), max))
