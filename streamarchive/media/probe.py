"""What a file is, judged by its content: first by its first bytes, then by ffmpeg in the sandbox.

ffprobe is not needed. Every packet is read (not decoded), because only that tells how long a file really is
and whether its end is missing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from streamarchive.errors import UnreadableMediaError
from streamarchive.media import commands, sandbox
from streamarchive.media.codecs import Tracks

HEAD_BYTES = 4096
_STDERR_LINES = 4000
_INPUT = re.compile(r"^Input #0, (?P<format>\S+), from ")
_DURATION = re.compile(r"^  Duration: (?P<h>\d+):(?P<m>\d\d):(?P<s>\d\d(?:\.\d+)?)")
_STREAM = re.compile(r"^  (?:  )?Stream #0:\d+.*?: (?P<kind>Video|Audio): (?P<codec>[A-Za-z0-9_]+)(?P<rest>.*)$")
_SIZE = re.compile(r", (?P<width>\d{2,5})x(?P<height>\d{2,5})")
_DAMAGE = (
    "partial file",
    "packet corrupt",
    "corrupt input packet",
    "truncat",
    "error while",
    "invalid data found",
)
_BEHIND_ID3 = "mp3,aac,flac"
"""Demuxers of what may follow an ID3 tag."""
_MISSING_END_MS = 1000
"""A file that stops this much before the end it declares has lost something."""

_EXACT = frozenset({"mov", "matroska", "flac", "wav", "ogg"})
"""Containers that declare how long they are to the sample, or nearly."""

_BYTES_A_CPU_SECOND = 20 << 20
"""So much a slow machine reads at least (a fast one fifty times as much): a huge file gets its time."""

_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"pnot", b"styp")
_TEXTS = {
    b"#extm3u": "an HLS playlist",
    b"ffconcat": "a list of other files",
    b"<mpd": "a DASH manifest",
    b"v=0": "an SDP description",
    b"<?xml": "XML text",
    b"<html": "a web page",
    b"<!doc": "a web page",
}


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a readable file holds."""

    format: str
    """ffmpeg's name of its container, such as ``mov,mp4,m4a,3gp,3g2,mj2``."""
    duration_ms: int
    """How far its packets reach, whatever its header says."""
    size_bytes: int
    tracks: Tracks
    width: int | None
    height: int | None
    damage: str | None
    """A sentence if something in it is broken or missing, though the rest can be used."""

    @property
    def has_video(self) -> bool:
        """Whether it has a moving picture (a cover picture is none)."""
        return self.tracks.video is not None

    @property
    def has_audio(self) -> bool:
        """Whether it has sound."""
        return self.tracks.audio is not None


async def probe(file: Path, *, name: str | None = None, silent_allowed: bool = False) -> MediaInfo:
    """Read a file from end to end in the sandbox. `name` is what people call it.

    Raises `UnreadableMediaError`, in one sentence, for what is no media, is empty, is damaged beyond use, has
    no sound (unless `silent_allowed`) or is merely a list of other files.
    """
    name = name or file.name
    size, kind = await asyncio.to_thread(_look, file, name)
    arguments = commands.inspect(file, _BEHIND_ID3 if kind == "mp3" else kind)
    limits = replace(sandbox.PROBE, cpu_seconds=sandbox.PROBE.cpu_seconds + size // _BYTES_A_CPU_SECOND)
    async with await sandbox.start(arguments, limits, keep_lines=_STDERR_LINES) as process:
        reached_ms = 0
        async for line in process.lines():
            if line.startswith("out_time_us="):
                reached_ms = _microseconds(line) or reached_ms
        status = await process.wait()
        messages, complaint = process.messages, process.complaint
    if status < 0 or any("received signal" in line for line in messages):
        raise UnreadableMediaError(f"{name} takes too long to read, or too much memory; is it damaged?")
    info = _judge(name, size, reached_ms, messages, complaint)
    if not info.has_audio and not silent_allowed:
        raise UnreadableMediaError(f"{name} has a picture but no sound, so there is nothing to transcribe in it")
    return info


def kind_of(head: bytes) -> str | None:
    """ffmpeg's demuxer for a file that begins like this; None if it is none of those we take."""
    # fmt: off
    tests = (
        ("mov", head[4:8] in _BOXES),
        ("matroska", head.startswith(b"\x1aE\xdf\xa3")),
        ("mpegts", _is_transport_stream(head)),
        ("flv", head.startswith(b"FLV\x01")),
        ("avi", head.startswith(b"RIFF") and head[8:12] == b"AVI "),
        ("wav", head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"),
        ("flac", head.startswith(b"fLaC")),
        ("ogg", head.startswith(b"OggS")),
        ("mp3", head.startswith(b"ID3")),
        ("aac", len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0),
        ("mp3", len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 6 != 0),
    )
    # fmt: on
    return next((kind for kind, matches in tests if matches), None)


def _is_transport_stream(head: bytes) -> bool:
    # Blu-ray files put four bytes before each packet.
    return any(head[at : at + 3 * step : step] == b"GGG" for at, step in ((0, 188), (4, 192)))


def check_head(head: bytes, name: str) -> str:
    """ffmpeg's demuxer for a file that begins like this, of which `head` is `HEAD_BYTES` or all there is.

    Raises `UnreadableMediaError`, in one sentence, for what is certainly no recording.
    """
    if not head:
        raise UnreadableMediaError(f"{name} is empty; was it still being copied?")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for mark, what in _TEXTS.items():
        if start.lower().startswith(mark):
            raise UnreadableMediaError(f"{name} is {what}, not a recording; give the recording itself")
    kind = kind_of(head)
    if kind is None:
        raise UnreadableMediaError(
            f"{name} is not a media file that can be read; these can: MP4, MOV, Matroska, WebM, MPEG-TS, "
            "FLV, AVI, MP3, AAC, WAV, FLAC and Ogg"
        )
    return kind


def _look(file: Path, name: str) -> tuple[int, str]:
    """Size and demuxer; raises `UnreadableMediaError`."""
    try:
        size = file.stat().st_size
        with file.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as error:
        raise UnreadableMediaError(f"cannot read {name}: {error.strerror}") from error
    return size, check_head(head, name)


def _microseconds(line: str) -> int | None:
    value = line.partition("=")[2]
    return max(0, (int(value) + 500) // 1000) if value.lstrip("-").isdigit() else None


@dataclass(slots=True)
class Description:
    """What ffmpeg says about its input."""

    format: str = ""
    declared_ms: int = 0
    video: str | None = None
    """Codec of the first moving picture; None if there is none."""
    audio: str | None = None
    width: int | None = None
    height: int | None = None


def describe(messages: Sequence[str]) -> Description:
    """What ffmpeg says of its input with ``-v info``; no tracks if it could not be opened."""
    report = Description()
    for line in messages:
        if line.startswith(("Output #0", "Stream mapping:")):
            break
        if match := _INPUT.match(line):
            report.format = match["format"].rstrip(",")
        elif match := _DURATION.match(line):
            report.declared_ms = round((int(match["h"]) * 3600 + int(match["m"]) * 60 + float(match["s"])) * 1000)
        elif match := _STREAM.match(line):
            _note_stream(report, match)
    return report


def _note_stream(report: Description, match: re.Match[str]) -> None:
    if match["kind"] == "Audio":
        report.audio = report.audio or match["codec"]
    elif report.video is None and "(attached pic)" not in match["rest"]:
        report.video = match["codec"]
        if size := _SIZE.search(match["rest"]):
            report.width, report.height = int(size["width"]), int(size["height"])


def _judge(name: str, size: int, reached_ms: int, messages: tuple[str, ...], complaint: str) -> MediaInfo:
    report = describe(messages)
    if report.audio is None and report.video is None:
        if any("moov atom not found" in line for line in messages):
            raise UnreadableMediaError(f"{name} is incomplete: its index is missing; copy or export it again")
        raise UnreadableMediaError(f"{name} cannot be read as media ({plain(complaint)}); is it damaged?")
    if "none" in (report.audio, report.video) or reached_ms == 0:
        raise UnreadableMediaError(f"{name} holds nothing that can be read ({plain(complaint)})")
    return MediaInfo(
        format=report.format,
        duration_ms=_duration_ms(report, reached_ms),
        size_bytes=size,
        tracks=Tracks(report.video, report.audio),
        width=report.width,
        height=report.height,
        damage=_damage(report, reached_ms, messages),
    )


def _duration_ms(report: Description, reached_ms: int) -> int:
    """How long it is. The packets tell only about: ffmpeg counts them where they are decoded.

    It does not count the last one of FLAC (0.26 s at 16 kHz), nor how much later than that pictures are shown
    (0.12 s with three B-frames). So a header that says nearly the same, and can know, is believed.
    """
    nearly = abs(report.declared_ms - reached_ms) <= _MISSING_END_MS
    return report.declared_ms if nearly and report.format.split(",")[0] in _EXACT else reached_ms


def _damage(report: Description, reached_ms: int, messages: tuple[str, ...]) -> str | None:
    missing = report.declared_ms - reached_ms
    if missing > max(_MISSING_END_MS, report.declared_ms // 100) and "partial file" in "\n".join(messages):
        return f"The file ends after {_clock(reached_ms)} of the {_clock(report.declared_ms)} that it declares."
    if any(sign in line.lower() for line in messages for sign in _DAMAGE):
        return "Parts of the file are damaged; picture or sound may be missing there."
    return None


def _clock(ms: int) -> str:
    minutes, seconds = divmod(ms // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def plain(complaint: str) -> str:
    """ffmpeg's message without its addresses and file names."""
    text = re.sub(r"\[[^\]]*\] ?", "", complaint)
    text = re.sub(r"file:\S+", "", text)
    return text.strip().rstrip(".") or "ffmpeg found no tracks"
