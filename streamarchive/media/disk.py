"""How full a disk may become: a warning first, then no new work, and what is on air goes on to the last byte."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

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


@dataclass(frozen=True, slots=True)
class Usage:
    """A disk, in bytes."""

    total: int
    free: int

    @property
    def free_fraction(self) -> float | None:
        """From 0 to 1; None of a file system that does not say how large it is."""
        return self.free / self.total if self.total else None


def usage(folder: Path) -> Usage:
    """The disk that this folder is on, or will be once it is made. Blocks. Raises `OSError`."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    found = shutil.disk_usage(folder)
    return Usage(found.total, found.free)


def room(free_fraction: float | None) -> Room:
    """What this share of free space means; `None` (nobody knows) is enough."""
    if free_fraction is None or free_fraction >= LOW:
        return Room.ENOUGH
    return Room.LOW if free_fraction >= FULL else Room.FULL


def require_room(free_fraction: float | None) -> None:
    """Raise `StorageError` unless something new may be begun."""
    if free_fraction is not None and room(free_fraction) is Room.FULL:
        raise StorageError(f"only {free_fraction:.0%} of the disk for media is free; free some space")
