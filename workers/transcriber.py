"""The final pass: a finished recording is transcribed as a whole, and its lines replace the live ones.

Lines are written window by window, so that a worker that is killed loses one window's work; readers see them
all at once, when the pass is complete. Live windows go first: the engine takes one window at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from streamarchive import jobs
from streamarchive.catalogue import interviews, recordings, transcripts
from streamarchive.catalogue.transcripts import Run
from streamarchive.clock import to_ms
from streamarchive.errors import NoSoundError, StorageError
from streamarchive.models import (
    Asset,
    AssetKind,
    CueDraft,
    MediaSegment,
    Recording,
    RecordingId,
    RunStage,
    Take,
)
from streamarchive.protocols import Expectation, ModelInfo, TranscribeOptions
from streamarchive.services import Services
from streamarchive.transcription import audio
from streamarchive.transcription.passes import PassSettings, transcribe_sound
from streamarchive.transcription.wire import expected_from_json

from . import expectations
from .listening import sound_begins
from .runner import JobRun, serve_jobs

if TYPE_CHECKING:
    from streamarchive.protocols import Samples

KIND = "transcribe"
OPTIONS = TranscribeOptions()
_SOURCES = (AssetKind.ORIGINAL, AssetKind.M4A, AssetKind.MP4)
"""Which file of an upload is read, the first there is."""
_REPORT_MS = 60_000
"""At least so much silence is worth a note of how far the pass has come."""


async def run(services: Services, stop: asyncio.Event) -> None:
    """Do `transcribe` jobs until `stop`."""
    await serve_jobs(services, {KIND: transcribe}, stop)


async def transcribe(job: JobRun) -> None:
    """One final pass, begun or continued. Raises `MediaError`, `TranscriptionError`, `FencedError`."""
    services = job.services
    source = await _source(services, _recording_of(job))
    model = await services.engines.final.load()
    final = await _begin(job, source, model)
    options = replace(OPTIONS, expected=expected_from_json(final.settings["expected"]))
    writer = _Writer(job, final, source.recording.duration_ms)
    for stretch in source.stretches:
        if stretch.end_ms <= final.covered_ms:
            continue
        settings = PassSettings(source.languages, options, stretch.start_ms, final.covered_ms)
        try:
            await _transcribe_stretch(services, stretch, settings, writer)
        except NoSoundError:
            await writer.write((), stretch.end_ms)
    laid = await transcripts.lay(services.database, final)
    async with services.database.write() as tx:
        await transcripts.adopt(tx, final, laid)
        await job.finish(tx)


async def _transcribe_stretch(
    services: Services, stretch: _Stretch, settings: PassSettings, writer: _Writer
) -> None:
    async with AsyncExitStack() as stack:
        sound = await stretch.sound(services, stack)
        if sound is None:
            return
        pieces, lead_ms = sound
        moved = PassSettings(
            settings.languages, settings.options, settings.offset_ms + lead_ms, settings.covered_ms
        )
        steps = transcribe_sound(pieces, services.engines.final, moved)
        async with aclosing(steps):
            async for step in steps:
                await writer.write(step.cues, step.covered_ms)


class _Writer:
    """Writes what the pass has heard, while the job is still ours."""

    def __init__(self, job: JobRun, run: Run, duration_ms: int) -> None:
        self._job = job
        self._run = run
        self._duration_ms = max(duration_ms, 1)
        self._covered_ms = run.covered_ms

    async def write(self, cues: tuple[CueDraft, ...], covered_ms: int) -> None:
        if covered_ms <= self._covered_ms or (not cues and covered_ms < self._covered_ms + _REPORT_MS):
            return
        async with self._job.services.database.write() as tx:
            await jobs.require_held(tx, self._job.job)
            await transcripts.append(tx, self._run, cues, covered_ms)
        self._covered_ms = covered_ms
        self._job.report(min(covered_ms / self._duration_ms, 1.0))


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Sound without a break in its time: an upload's file, or one take of a stream."""

    start_ms: int
    end_ms: int
    asset: Asset | None = None
    take: Take | None = None
    segments: tuple[MediaSegment, ...] = ()

    async def sound(
        self, services: Services, stack: AsyncExitStack
    ) -> tuple[AsyncGenerator[Samples], int] | None:
        """The decoded sound and how much later than the stretch it begins; None if there is none."""
        if self.asset is not None:
            file = await stack.enter_async_context(services.store.local(self.asset.key))
            return audio.decode(file, "the recording"), 0
        lead_ms = await self._lead_ms(services)
        if lead_ms is None:
            return None
        return audio.decode_transport_stream(self._bytes(services)), lead_ms

    async def _lead_ms(self, services: Services) -> int | None:
        """How much later than the take its sound begins; it may not be in its first segments."""
        for segment in self.segments:
            starts_at_ms = await sound_begins(services, segment)
            if starts_at_ms is not None:
                return starts_at_ms - self.start_ms
        return None

    async def _bytes(self, services: Services) -> AsyncIterator[bytes]:
        for segment in self.segments:
            async for chunk in services.store.read(segment.key):
                yield chunk


@dataclass(frozen=True, slots=True)
class _Source:
    recording: Recording
    languages: tuple[str, ...]
    expected: Mapping[str, Expectation]
    stretches: tuple[_Stretch, ...]


async def _source(services: Services, recording_id: RecordingId) -> _Source:
    """What there is to hear and in which languages. Raises `NotFoundError`, `StorageError`."""
    async with services.database.read() as connection:
        recording = await recordings.get(connection, recording_id)
        shown_in = await interviews.of_recording(connection, recording_id)
        files = await recordings.assets(connection, recording_id)
        takes = await recordings.takes(connection, recording_id)
        segments = await recordings.segments(connection, recording_id)
        expected = await expectations.expected(connection, shown_in, services.settings)
    languages = expectations.languages_of(shown_in, services.settings)
    stretches = _takes(takes, segments) or _file(recording, files)
    if not stretches and recording.duration_ms > 0:
        raise StorageError(f"recording {recording_id} has no media any more that could be transcribed")
    return _Source(recording, languages, expected, stretches)


def _takes(takes: list[Take], segments: list[MediaSegment]) -> tuple[_Stretch, ...]:
    stretches = []
    for take in takes:
        own = tuple(segment for segment in segments if segment.take_id == take.id)
        if own:
            end = to_ms(own[-1].start_ticks + own[-1].duration_ticks)
            stretches.append(_Stretch(to_ms(take.base_ticks), end, take=take, segments=own))
    return tuple(stretches)


def _file(recording: Recording, files: dict[AssetKind, Asset]) -> tuple[_Stretch, ...]:
    asset = next((files[kind] for kind in _SOURCES if kind in files), None)
    return (_Stretch(0, max(recording.duration_ms, 1), asset=asset),) if asset else ()


async def _begin(job: JobRun, source: _Source, model: ModelInfo) -> Run:
    """A new run, or the unfinished one that was begun alike; the glossary may have changed since."""
    wanted = {"languages": list(source.languages), "beam_size": OPTIONS.beam_size}
    told = source.expected if "prompts" in model.capabilities else {}
    settings = {**wanted, "expected": {code: _as_json(one) for code, one in told.items()}}
    async with job.services.database.write() as tx:
        await jobs.require_held(tx, job.job)
        for run in await transcripts.runs(tx, source.recording.id):
            if run.stage is RunStage.FINAL and run.finished_at is None and wanted.items() <= run.settings.items():
                settings = {"expected": {}, **run.settings}
        return await transcripts.begin_run(
            tx,
            source.recording.id,
            RunStage.FINAL,
            engine=job.services.settings.engine,
            model=model.name,
            model_identity=model.identity,
            note=model.note,
            settings=settings,
        )


def _as_json(told: Expectation) -> dict[str, Any]:
    return {"opening": told.opening, "words": list(told.words)}


def _recording_of(job: JobRun) -> RecordingId:
    return job.job.recording_id if job.job.recording_id is not None else RecordingId(int(job.job.key))
