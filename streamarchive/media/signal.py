"""What a source sends just now: codecs, size, how loud it is, a picture. For people who set a stream up."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from streamarchive.errors import SourceError
from streamarchive.media import commands, sandbox, source
from streamarchive.media.addresses import shown
from streamarchive.media.egress import Rules
from streamarchive.media.probe import describe
from streamarchive.media.process import FfmpegProcess

SECONDS = 10.0
"""A source that shows nothing in this time has no signal."""
_MOST_PICTURE_BYTES = 4 << 20
_LEVEL = re.compile(r"(?P<which>mean|max)_volume: (?P<db>-?\d+(?:\.\d+)?|-inf) dB")
_SILENCE_DB = -60.0


@dataclass(frozen=True, slots=True)
class Signal:
    """What was seen and heard."""

    video: str | None
    """ffmpeg's name of the codec; None if there is no picture."""
    audio: str | None
    width: int | None
    height: int | None
    loudness_db: float | None
    """Mean level of the first seconds, full scale at 0; None if there is no sound to be measured."""
    peak_db: float | None
    picture: bytes = field(default=b"", repr=False)
    """JPEG; empty if there is none."""

    @property
    def warnings(self) -> list[str]:
        """What a person should mend before the recording, each a sentence."""
        found = []
        if self.video is not None and self.video not in commands.COPIED_PICTURE:
            found.append(f"pictures in {self.video} are not recorded: have the source send H.264 or H.265")
        if self.audio is None:
            found.append("there is no sound, so there will be nothing to transcribe")
        elif self.loudness_db is not None and self.loudness_db < _SILENCE_DB:
            found.append("there is a sound track, but it is silent")
        return found


async def look(url: str, rules: Rules) -> Signal:
    """Look at a source that is pulled. Raises `SourceError`, one sentence, within `SECONDS`."""
    try:
        async with asyncio.timeout(SECONDS), source.reach(url, rules) as way:
            if way.waits_for_encoder:
                raise SourceError("an encoder sends this stream; its signal shows once it is being recorded")
            return await _look(url, way)
    except TimeoutError as error:
        raise SourceError(f"{shown(url)} shows nothing within {SECONDS:.0f} s; is it on air?") from error


async def _look(url: str, way: source.Way) -> Signal:
    picture = sound = True
    while True:
        found, said, jpeg = await _try(way, picture=picture, sound=sound)
        if found.video is None and found.audio is None:
            why = way.refusal or said or "no tracks"
            raise SourceError(f"{shown(url)} sends nothing that can be read ({why})")
        if (picture, sound) == (there := (found.video is not None, found.audio is not None)):
            break
        picture, sound = there
    return replace(found, picture=jpeg)


async def _try(way: source.Way, *, picture: bool, sound: bool) -> tuple[Signal, str, bytes]:
    """What there is, what ffmpeg complained of, and the picture. Who asks for what is not there sees nothing."""
    wrapper = await asyncio.to_thread(sandbox.wrapper, sandbox.WATCH)
    arguments = commands.first_look(way.input(), picture=picture, sound=sound)
    with way.stdin() as stdin:
        process = await FfmpegProcess.start(arguments, wrapper=wrapper, stdin=stdin, environ=way.environment)
    async with process:
        jpeg = await _read(process)
        await process.wait()
        found, (mean, peak) = describe(process.messages), _levels(process.messages)
        signal = Signal(found.video, found.audio, found.width, found.height, mean, peak)
        return signal, process.complaint, jpeg


async def _read(process: FfmpegProcess) -> bytes:
    picture = b""
    while chunk := await process.stdout.read(1 << 16):
        picture += chunk
        if len(picture) > _MOST_PICTURE_BYTES:
            raise SourceError("the picture of the source is larger than any that could be recorded")
    return picture


def _levels(messages: Sequence[str]) -> tuple[float | None, float | None]:
    """Mean and peak in decibels, as ffmpeg's `volumedetect` says them; complete silence counts as -91."""
    levels = {
        found["which"]: -91.0 if found["db"] == "-inf" else float(found["db"])
        for line in messages
        if (found := _LEVEL.search(line))
    }
    return levels.get("mean"), levels.get("max")
