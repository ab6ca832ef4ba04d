"""How full a disk may become: a warning first, then no new work, and what is on air goes on to the last byte."""

from __future__ import annotations

from enum import StrEnum

from streamarchive.errors import StorageError

LOW = 0.15
"""With less of the disk free, people are warned."""
FULL = 0.05
"""With less, nothing new is begun: recordings that have begun go on and need it."""


class Room(StrEnum):
    """How much there is."""

    ENOUGH = "enough"
    LOW = "low"
    FULL = "full"


def room(free_fraction: float | None) -> Room:
    """What this share of free space means; `None` (a store without a limit) is enough."""
    if free_fraction is None or free_fraction >= LOW:
        return Room.ENOUGH
    return Room.LOW if free_fraction >= FULL else Room.FULL


def require_room(free_fraction: float | None) -> None:
    """Raise `StorageError` unless something new may be begun."""
    if free_fraction is not None and room(free_fraction) is Room.FULL:
        raise StorageError(f"only {free_fraction:.0%} of the media store's disk is free; free some space")
