"""Whether a file holds all that it was made from: nothing is played from it, and nothing it replaces is deleted,
before this says so. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamarchive.errors import UnverifiedError
from streamarchive.media.packets import Reading

TOLERANCE_MS = 40
"""How far a file made of takes may be off the media clock: a picture at 25 a second."""
UPLOAD_TOLERANCE_MS = 1_000
"""How far a file made of an upload may be off: what some containers say of their length is about so good."""
DECODED = 0.98
"""So much of what was read has to be decoded. What is torn in a take is torn in the file, too."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What has to be in the file."""

    duration_ms: int
    tolerance_ms: int
    packets: Reading
    """Of the tracks that were copied; None for those that were encoded anew."""
    slack: int
    """So many packets of a track may be missing or more: the torn ones at the ends of takes."""
    key_frames: int
    """At least so many pictures have to be decoded."""


def verify(expected: Expected, duration_ms: int, found: Reading, name: str) -> None:
    """Raise `UnverifiedError`, in a sentence, if the file differs from what it was made from."""
    fault = (
        _duration_fault(expected, duration_ms)
        or _packet_fault("picture", expected.packets.video, found.video, expected.slack)
        or _packet_fault("sound", expected.packets.audio, found.audio, expected.slack)
        or _decoding_fault(expected, found)
    )
    if fault:
        raise UnverifiedError(
            f"{name} {fault}; it is not used, and what it was made from is kept. Try again; if that does not "
            "help, look whether the disk is sound and ffmpeg up to date"
        )


def _duration_fault(expected: Expected, duration_ms: int) -> str:
    off = duration_ms - expected.duration_ms
    if abs(off) <= expected.tolerance_ms:
        return ""
    return f"is {abs(off)} ms {'longer' if off > 0 else 'shorter'} than its media clock"


def _packet_fault(track: str, expected: int | None, found: int | None, slack: int) -> str:
    if expected is None or abs(expected - (found or 0)) <= slack:
        return ""
    return f"has {found or 0} packets of {track} instead of {expected}"


def _decoding_fault(expected: Expected, found: Reading) -> str:
    least = max(1, int(expected.key_frames * DECODED) - expected.slack)
    if found.video is not None and (found.pictures or 0) < least:
        return f"has {found.pictures or 0} pictures that begin a segment instead of {expected.key_frames}"
    if found.audio is not None and (found.sounds or 0) < int(found.audio * DECODED) - expected.slack - 1:
        return f"has sound that cannot be decoded: {found.sounds or 0} of {found.audio} packets"
    return ""
