"""How many packets of a file ffmpeg has read, and how many pictures and frames of sound it made of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from streamarchive.media import commands, sandbox

_READ = re.compile(
    r"  Input stream #0:\d+ \((?P<kind>video|audio)\): (?P<packets>\d+) packets read"
    r"(?:[^;]*; (?P<frames>\d+) frames decoded)?"
)
_TAIL_LINES = 200


@dataclass(frozen=True, slots=True)
class Reading:
    """Numbers of packets, and of what was decoded of them; None where there is no such track."""

    video: int | None = None
    audio: int | None = None
    pictures: int | None = None
    sounds: int | None = None

    def __add__(self, other: Reading) -> Reading:
        """Both together."""
        return Reading(
            _sum(self.video, other.video),
            _sum(self.audio, other.audio),
            _sum(self.pictures, other.pictures),
            _sum(self.sounds, other.sounds),
        )


def read(messages: Iterable[str]) -> Reading:
    """What ffmpeg says at its end with ``-v verbose``, of the tracks that it was asked for."""
    found: dict[str, re.Match[str]] = {}
    for line in messages:
        if (match := _READ.search(line)) and int(match["packets"]):
            found.setdefault(match["kind"], match)
    return Reading(
        _number(found, "video", "packets"),
        _number(found, "audio", "packets"),
        _number(found, "video", "frames"),
        _number(found, "audio", "frames"),
    )


async def count(file: Path) -> Reading:
    """Read every packet of the first picture and the first sound of a file. Raises `MediaError`."""
    async with await sandbox.start(commands.count(file), sandbox.READ, keep_lines=_TAIL_LINES) as process:
        async for _ in process.lines():
            pass
        await process.wait()
        return read(process.messages)


def _number(found: dict[str, re.Match[str]], kind: str, group: str) -> int | None:
    text = found[kind][group] if kind in found else None
    return int(text) if text is not None else None


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one + (other or 0)
