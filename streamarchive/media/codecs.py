"""The codecs of what is recorded, as ffmpeg names them, and which of them browsers play."""

from __future__ import annotations

from dataclasses import dataclass

PLAYABLE_VIDEO = frozenset({"h264", "hevc", "av1"})
PLAYABLE_AUDIO = frozenset({"aac"})


@dataclass(frozen=True, slots=True)
class Tracks:
    """The codecs of a source (``h264``, ``aac``); None where there is no such track."""

    video: str | None
    audio: str | None
