"""One pass over sound from its beginning to its end: voice activity, windows, engine, cues.

Memory does not grow with the length: what is held is two batches of windows, the one that is decoded and the one
that fills up meanwhile. An interrupted pass that is resumed gives exactly what an undisturbed one gives: the
sound before the mark is decoded and judged again, which takes a few seconds an hour, so the windows fall where
they fell; only those behind the mark go to the engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from streamarchive.models import CueDraft
from streamarchive.protocols import TranscribeOptions, Transcriber, Window, WindowResult
from streamarchive.transcription import audio, cues
from streamarchive.transcription.ahead import read_ahead
from streamarchive.transcription.listener import Listener
from streamarchive.transcription.windows import FRAME_MS, FRAME_SAMPLES, Span

if TYPE_CHECKING:
    from streamarchive.protocols import Samples


ENGLISH = "en"
"""What Whisper translates into."""


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
    omits_english: bool = False
    """Of a translation: windows that are in English give no lines."""


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
    size = (await engine.load()).batch_size
    batch = _Batch(engine, settings, size)
    async with aclosing(read_ahead(_listen(sound, pieces), size)) as heard:
        async for found in heard:
            steps = await (batch.quiet(found) if isinstance(found, int) else batch.add(*found))
            for step in steps:
                yield step
    for step in await batch.flush():
        yield step
    yield Step((), settings.offset_ms + audio.samples_to_ms(sound.length))


async def _listen(sound: Listener, pieces: AsyncGenerator[Samples]) -> AsyncGenerator[tuple[Span, Samples] | int]:
    """Windows as they are complete, and frames before which no further one begins.

    This goes on while the engine decodes: a GPU would spend more time waiting for it than decoding.
    """
    async with aclosing(pieces):
        async for piece in pieces:
            for span in await sound.feed(piece):
                yield span, sound.samples(span)
            sound.forget()
            if sound.quiet_until is not None:
                yield sound.quiet_until
    for span in await sound.finish():
        yield span, sound.samples(span)


_RELATED_FRAMES = 60_000 // FRAME_MS
"""Windows further apart are not decoded together: what has been said is not held back over a long silence."""


class _Batch:
    """Windows on their way to the engine, a fixed number at a time.

    Which windows are decoded together follows from the sound alone, so a pass that is resumed asks the engine for
    the same batches: those that reach behind the mark, whole.
    """

    def __init__(self, engine: Transcriber, settings: PassSettings, size: int) -> None:
        self._engine = engine
        self._settings = settings
        self._size = size
        self._spans: list[Span] = []
        self._windows: list[Window] = []

    async def add(self, span: Span, samples: Samples) -> list[Step]:
        """Take a window; the steps that come of it."""
        steps = await self.quiet(span.start)
        self._spans.append(span)
        self._windows.append(Window(samples, _at(span.start, self._settings), self._settings.languages))
        return steps + (await self.flush() if len(self._spans) == self._size else [])

    async def quiet(self, frame: int) -> list[Step]:
        """No further window begins before this frame."""
        if not self._spans:
            return [Step((), _at(frame, self._settings))]
        if frame - self._spans[-1].end > _RELATED_FRAMES:
            return await self.flush()
        return []

    async def flush(self) -> list[Step]:
        """Decode what is waiting, unless an earlier pass has; a step for each window."""
        spans, self._spans = self._spans, []
        windows, self._windows = self._windows, []
        if not windows:
            return []
        mark = self._settings.covered_ms
        done = [window.start_ms < mark for window in windows]
        lines: list[tuple[CueDraft, ...]] = [()] * len(windows)
        if not all(done):
            lines = await _heard_in(windows, self._engine, self._settings)
        return [
            Step(() if was_done else found, _at(span.end, self._settings))
            for span, was_done, found in zip(spans, done, lines, strict=True)
        ]


async def _heard_in(
    windows: Sequence[Window], engine: Transcriber, settings: PassSettings
) -> list[tuple[CueDraft, ...]]:
    results = [result async for result in engine.transcribe(windows, settings.options)]
    if settings.options.task == "transcribe":
        return [tuple(cues.drafts(result, w.languages)) for result, w in zip(results, windows, strict=True)]
    return [
        () if result.language == ENGLISH and settings.omits_english else tuple(_translated(result))
        for result in results
    ]


def _translated(result: WindowResult) -> list[CueDraft]:
    """Lines in English, whatever the window was heard as."""
    drafts = cues.drafts(replace(result, language=ENGLISH), (ENGLISH,))
    return [replace(draft, lang=ENGLISH) for draft in drafts]


def _at(frame: int, settings: PassSettings) -> int:
    return settings.offset_ms + audio.samples_to_ms(frame * FRAME_SAMPLES)
