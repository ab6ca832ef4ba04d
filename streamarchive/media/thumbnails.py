"""A strip of thumbnails for the seek bar: small pictures at equal distances, row by row in one JPEG.

Players find their way by WebVTT: each cue's text is the JPEG's address with the place of its picture as a media
fragment, ``thumbnails.jpg#xywh=160,0,160,90``, as players have agreed to write it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from streamarchive import captions
from streamarchive.models import CueDraft

MEDIA_TYPE = "image/jpeg"
MOST = 300
"""Pictures in a strip: some 1.5 MB. One every twelve seconds of an hour."""
SHORTEST_MS = 2_000
"""The least distance between two: sources have no more key frames than that."""
SIDE = 160
"""Pixels of the longer side of a picture."""
COLUMNS = 15


@dataclass(frozen=True, slots=True)
class Strip:
    """How the pictures lie in the JPEG: `count` of them, each for `interval_ms`, `width` x `height` pixels."""

    interval_ms: int
    count: int
    columns: int
    width: int
    height: int

    @property
    def rows(self) -> int:
        """Of the whole JPEG; the last may have room left."""
        return -(-self.count // self.columns)

    def details(self) -> dict[str, Any]:
        """As it is kept with the file that it describes."""
        return {"strip": asdict(self)}


def of_details(details: Mapping[str, Any]) -> Strip | None:
    """What is kept with a file."""
    return Strip(**details["strip"]) if "strip" in details else None


def plan(duration_ms: int, width: int, height: int) -> Strip:
    """A strip for a recording of this length, whose picture has this size in pixels."""
    interval = max(SHORTEST_MS, -(-duration_ms // MOST))
    count = max(1, -(-duration_ms // interval))
    scale = SIDE / max(width, height)
    return Strip(
        interval_ms=interval,
        count=count,
        columns=min(COLUMNS, count),
        width=max(2, round(width * scale / 2) * 2),
        height=max(2, round(height * scale / 2) * 2),
    )


def webvtt(strip: Strip, image: str, duration_ms: int) -> str:
    """The strip's map as WebVTT; `image` is the JPEG's address."""
    return captions.to_vtt(_places(strip, image, duration_ms))


def _places(strip: Strip, image: str, duration_ms: int) -> Iterator[CueDraft]:
    for number in range(strip.count):
        start = number * strip.interval_ms
        row, column = divmod(number, strip.columns)
        place = f"{column * strip.width},{row * strip.height},{strip.width},{strip.height}"
        end = min(start + strip.interval_ms, duration_ms)
        yield CueDraft(start, end, f"{image}#xywh={place}", "")
