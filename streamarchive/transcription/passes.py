"""One pass over sound from its beginning to its end: voice activity, windows, engine, cues.

Memory does not grow with the length: what is held is the open window and one decoded piece. An interrupted
pass that is resumed gives exactly what an undisturbed one gives: the sound before the mark is decoded and
judged again, which takes a few seconds an hour, so the windows fall where they fell; only those behind the mark
go to the engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from streamarchive.models import CueDraft
from streamarchive.protocols import TranscribeOptions, Transcriber, Window
from streamarchive.transcription import audio, cues
from streamarchive.transcription.listener import Listener
from streamarchive.transcription.windows import FRAME_SAMPLES, Span

if TYPE_CHECKING:
    from streamarchive.protocols import Samples


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the pass that is done: its cues, and up to where nothing remains to be done."""

    cues: tuple[CueDraft, ...]
    covered_ms: int


@dataclass(frozen=True, slots=True)
class Transcript:
    """All of a file. `language` is the one that is spoken longest, None where nobody speaks."""

    cues: tuple[CueDraft, ...]
    language: str | None
    duration_ms: int


@dataclass(frozen=True, slots=True)
class PassSettings:
    """What a pass needs beside its sound."""

    languages: tuple[str, ...] = ()
    options: TranscribeOptions = field(default_factory=TranscribeOptions)
    offset_ms: int = 0
    """Where the sound begins on the media clock."""
    covered_ms: int = 0
    """Windows that begin before this have been done (`Step.covered_ms` of an earlier, interrupted pass)."""


Progress = Callable[[int], None]
"""Told how many milliseconds of the media clock are done."""


async def transcribe_file(
    file: Path, engine: Transcriber, settings: PassSettings | None = None, progress: Progress | None = None
) -> Transcript:
    """Everything said in a media file. Raises `MediaError` and `TranscriptionError`."""
    settings = settings or PassSettings()
    found: list[CueDraft] = []
    covered = settings.offset_ms
    async with aclosing(transcribe_sound(audio.decode(file), engine, settings)) as steps:
        async for step in steps:
            found += step.cues
            covered = step.covered_ms
            if progress is not None:
                progress(covered)
    return Transcript(tuple(found), _main_language(found), covered - settings.offset_ms)


def _main_language(found: Sequence[CueDraft]) -> str | None:
    """The one that is spoken longest."""
    spoken: Counter[str] = Counter()
    for cue in found:
        spoken[cue.lang] += cue.end_ms - cue.start_ms
    return spoken.most_common(1)[0][0] if spoken else None


async def transcribe_sound(
    pieces: AsyncGenerator[Samples], engine: Transcriber, settings: PassSettings
) -> AsyncGenerator[Step]:
    """The steps of a pass over sound that comes in pieces. The last covers all of it."""
    sound = Listener(engine.voice)
    async with aclosing(pieces):
        async for piece in pieces:
            for span in await sound.feed(piece):
                yield await _heard(sound, span, engine, settings)
            sound.forget()
            if sound.quiet_until is not None:
                yield Step((), _at(sound.quiet_until, settings))
    for span in await sound.finish():
        yield await _heard(sound, span, engine, settings)
    yield Step((), settings.offset_ms + audio.samples_to_ms(sound.length))


async def _heard(sound: Listener, span: Span, engine: Transcriber, settings: PassSettings) -> Step:
    """Give one window to the engine, unless an earlier pass has."""
    start_ms, end_ms = _at(span.start, settings), _at(span.end, settings)
    if start_ms < settings.covered_ms:
        return Step((), end_ms)
    window = Window(sound.samples(span), start_ms, settings.languages)
    return Step(await heard_in(window, engine, settings.options), end_ms)


async def heard_in(window: Window, engine: Transcriber, options: TranscribeOptions) -> tuple[CueDraft, ...]:
    """The lines of one window."""
    results = [result async for result in engine.transcribe([window], options)]
    return tuple(draft for result in results for draft in cues.drafts(result, window.languages))


def _at(frame: int, settings: PassSettings) -> int:
    return settings.offset_ms + audio.samples_to_ms(frame * FRAME_SAMPLES)
