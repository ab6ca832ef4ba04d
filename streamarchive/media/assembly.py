"""From takes, or from an upload, to what people play: fast-start MP4, M4A, and a poster.

Takes are joined by the concat demuxer, one file a take with its duration given: the result then agrees with
the media clock, where one entry a segment was 0.4 s off and plain concatenation 0.6 s.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from streamarchive.errors import MediaError, StorageError
from streamarchive.media import commands, joining, sandbox
from streamarchive.media.codecs import Tracks
from streamarchive.media.joining import Part, Reel
from streamarchive.media.probe import plain
from streamarchive.models import Stretch

Report = Callable[[float], None]
"""Called with a fraction from 0 to 1."""


def concatenate(files: Iterable[Path], target: Path) -> None:
    """Put the segments of one take behind each other. Blocks. Raises `StorageError`."""
    try:
        with target.open("ab") as whole:
            for file in files:
                with file.open("rb") as part:
                    shutil.copyfileobj(part, whole, 1 << 20)
    except OSError as error:
        raise StorageError(f"cannot put a take together: {error.strerror}; is the disk full?") from error


async def add_silence(part: Part, like: Path) -> Part:
    """A take that has only a picture, with a silent track like the sound of another. Raises `MediaError`.

    What the first take lacks, the concat demuxer would leave out of all.
    """
    file = part.file.with_suffix(".silent.ts")
    arguments = joining.silence(part.file, like, file, duration_ticks=part.duration_ticks)
    await _run(arguments, file, 0, lambda _: None)
    await asyncio.to_thread(part.file.unlink)
    return Part(file, part.duration_ticks)


async def as_second_track(part: Part) -> Part:
    """A take that has only sound, as `join` takes it for a reel of sound. Raises `MediaError`."""
    file = part.file.with_suffix(".sound.ts")
    await _run(joining.as_second_track(part.file, file), file, 0, lambda _: None)
    await asyncio.to_thread(part.file.unlink)
    return Part(file, part.duration_ticks)


async def join(
    reel: Reel,
    tracks: Tracks,
    target: Path,
    report: Report,
    left_out: Sequence[Stretch] = (),
    sound: Reel | None = None,
) -> None:
    """Join takes, given as one MPEG-TS file each, into an MP4 (M4A). Raises `MediaError`.

    `sound` is where the sound comes from if some takes have no picture.
    """
    scripts = {target.with_suffix(".ffconcat"): reel}
    if sound is not None:
        scripts[target.with_suffix(".sound.ffconcat")] = sound
    for script, written in scripts.items():
        text = joining.concat_script(written, sound_alone=written is sound)
        await asyncio.to_thread(script.write_text, text, encoding="utf-8")
    total_ms = sum(part.duration_ticks for part in reel.parts) // 90
    begins = {script: written.begins_ticks for script, written in scripts.items()}
    await _run(joining.join(begins, target, tracks, left_out), target, total_ms, report)


async def make_playable(
    source: Path,
    tracks: Tracks,
    target: Path,
    total_ms: int,
    report: Report,
    left_out: Sequence[Stretch] = (),
) -> None:
    """Turn an upload into an MP4 (M4A) that browsers play. Raises `MediaError`."""
    if not left_out:
        await _run(joining.make_playable(source, target, tracks), target, total_ms, report)
        return
    middle = target.with_suffix(".mkv")
    await _run(joining.in_milliseconds(source, middle, tracks), middle, total_ms, lambda _: None)
    arguments = joining.make_playable_without(middle, target, tracks, left_out)
    await _run(arguments, target, total_ms, report)
    await asyncio.to_thread(middle.unlink)


async def take_sound(source: Path, tracks: Tracks, target: Path) -> None:
    """Copy the sound of an MP4 into an M4A. Raises `MediaError`."""
    sound = Tracks(None, tracks.audio)
    await _run(joining.make_playable(source, target, sound), target, 0, lambda _: None)


async def take_picture(source: Path, target: Path, *, at_ms: int) -> None:
    """A poster. Raises `MediaError` if there is no picture at this time."""
    await _run(commands.poster(source, target, at_ms=at_ms), target, 0, lambda _: None)


async def _run(arguments: Sequence[str], target: Path, total_ms: int, report: Report) -> None:
    """Run ffmpeg in the sandbox and judge it by the file that it leaves."""
    async with await sandbox.start(arguments, sandbox.ENCODE, cwd=target.parent) as process:
        async for line in process.lines():
            name, _, value = line.partition("=")
            if name == "out_time_us" and value.isdigit() and total_ms:
                report(min(1.0, int(value) / 1000 / total_ms))
        status = await process.wait()
    made = await asyncio.to_thread(_size, target)
    if status != 0 or not made:
        raise MediaError(f"cannot make {target.name}: {plain(process.complaint)}")


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0
