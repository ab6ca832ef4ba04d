"""The final pass: a finished recording is transcribed as a whole, and its lines replace the live ones.

A pass that somebody has asked for translates it into English, as a track beside what is spoken.

Lines are written window by window, so that a worker that is killed loses one window's work; readers see them
all at once, when the pass is complete. Live windows go first: the engine takes one window at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from streamarchive import jobs
from streamarchive.catalogue import assets, interviews, media_segments, recordings, transcripts
from streamarchive.catalogue.transcripts import Run
from streamarchive.clock import to_ms
from streamarchive.editing.rendition import Rendition
from streamarchive.errors import NoSoundError, StorageError, TranscriptionError
from streamarchive.models import (
    Asset,
    AssetKind,
    CueDraft,
    Interview,
    MediaSegment,
    Recording,
    RecordingId,
    RunStage,
    Take,
    Turn,
)
from streamarchive.protocols import Diarizer, Expectation, ModelInfo, TranscribeOptions, Transcriber
from streamarchive.services import Services
from streamarchive.transcription import audio
from streamarchive.transcription.channels import ByChannel
from streamarchive.transcription.passes import ENGLISH, PassSettings, transcribe_sound
from streamarchive.transcription.wire import expected_from_json

from . import expectations
from .listening import sound_begins
from .runner import JobRun, serve_jobs

if TYPE_CHECKING:
    from streamarchive.protocols import Samples

logger = logging.getLogger(__name__)

OPTIONS = TranscribeOptions()
_SOURCES = (AssetKind.ORIGINAL, AssetKind.M4A, AssetKind.MP4)
"""Which file of an upload is read, the first there is."""
_REPORT_MS = 60_000
"""At least so much silence is worth a note of how far the pass has come."""


async def run(services: Services, stop: asyncio.Event) -> None:
    """Do `transcribe` and `translate` jobs until `stop`."""
    await serve_jobs(services, {jobs.TRANSCRIBE: transcribe, jobs.TRANSLATE: translate}, stop)


async def transcribe(job: JobRun) -> None:
    """One final pass, begun or continued. Raises `MediaError`, `TranscriptionError`, `FencedError`."""
    model = await job.services.engines.final.load()
    await _pass_over(job, job.services.engines.final, model, RunStage.FINAL)


async def translate(job: JobRun) -> None:
    """The same into English, as a track of its own. Raises what `Engines.load_translation` does."""
    model = await job.services.engines.load_translation()
    await _pass_over(job, job.services.engines.translation, model, RunStage.TRANSLATION)


async def _pass_over(job: JobRun, engine: Transcriber, model: ModelInfo, stage: RunStage) -> None:
    services = job.services
    source = await _source(services, _recording_of(job))
    run = await _begin(job, source, model, stage)
    task = "translate" if stage is RunStage.TRANSLATION else "transcribe"
    options = replace(OPTIONS, task=task, expected=expected_from_json(run.settings["expected"]))
    writer = _Writer(job, run, source.recording.duration_ms)
    for stretch in source.stretches:
        if stretch.end_ms <= run.covered_ms:
            continue
        settings = PassSettings(
            source.languages, options, stretch.start_ms, run.covered_ms, omits_english=task == "translate"
        )
        try:
            await _hear(services, engine, stretch, settings, writer)
        except NoSoundError:
            await writer.write((), stretch.end_ms)
    rendition = await _rendition(services, source, run)
    laid = await transcripts.lay(services.database, run, rendition)
    async with services.database.write() as tx:
        await transcripts.adopt(tx, run, laid, rendition)
        await job.finish(tx)


async def _hear(
    services: Services, engine: Transcriber, stretch: _Stretch, settings: PassSettings, writer: _Writer
) -> None:
    async with AsyncExitStack() as stack:
        sound = await stretch.sound(services, stack)
        if sound is None:
            return
        pieces, lead_ms = sound
        moved = replace(settings, offset_ms=settings.offset_ms + lead_ms)
        steps = transcribe_sound(pieces, engine, moved)
        async with aclosing(steps):
            async for step in steps:
                await writer.write(step.cues, step.covered_ms)


async def _rendition(services: Services, source: _Source, run: Run) -> Rendition:
    """How the lines are written, and who speaks: in a translation whoever does so in what is spoken."""
    script = expectations.script_of(source.shown_in)
    if run.stage is RunStage.TRANSLATION:
        return Rendition(script, await _named_turns(services, source.recording.id))
    apart = any(interview.person_per_channel for interview in source.shown_in)
    diarizer: Diarizer | None = ByChannel() if apart else services.engines.diarizer
    if diarizer is None:
        return Rendition(script)
    try:
        async with aclosing(_whole_sound(services, source, diarizer.channels)) as sound:
            return Rendition(script, tuple(await diarizer.turns(sound)))
    except TranscriptionError as error:  # the text is worth more than who said it
        logger.warning("recording %s: no speakers: %s", source.recording.id, error)
        return Rendition(script)


async def _named_turns(services: Services, recording_id: RecordingId) -> tuple[Turn, ...]:
    async with services.database.read() as connection:
        spoken = await transcripts.of_recording(connection, recording_id)
    return tuple(Turn(cue.start_ms, cue.end_ms, cue.speaker) for cue in spoken if cue.speaker)


async def _whole_sound(services: Services, source: _Source, channels: int) -> AsyncGenerator[Samples]:
    """All of it on the media clock: silence where there is none."""
    import numpy as np

    at = 0
    for stretch in source.stretches:
        async with AsyncExitStack() as stack:
            sound = await stretch.sound(services, stack, channels)
            if sound is None:
                continue
            pieces, lead_ms = sound
            begin = (stretch.start_ms + lead_ms) * audio.SAMPLE_RATE // 1000
            while at < begin:
                missing = min(begin - at, audio.PIECE_SAMPLES)
                yield np.zeros((missing, channels) if channels > 1 else missing, np.float32)
                at += missing
            with suppress(NoSoundError):
                async with aclosing(pieces):
                    async for piece in pieces:
                        fresh = piece[max(at - begin, 0) :]
                        begin += len(piece)
                        if len(fresh):
                            yield fresh
                            at += len(fresh)


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
            await jobs.advance(tx, self._job.job)
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
        self, services: Services, stack: AsyncExitStack, channels: int = 1
    ) -> tuple[AsyncGenerator[Samples], int] | None:
        """The decoded sound and how much later than the stretch it begins; None if there is none."""
        if self.asset is not None:
            file = await stack.enter_async_context(services.store.local(self.asset.key))
            return audio.decode(file, "the recording", channels=channels), 0
        lead_ms = await self._lead_ms(services)
        if lead_ms is None:
            return None
        return audio.decode_transport_stream(self._bytes(services), channels=channels), lead_ms

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
    shown_in: tuple[Interview, ...]
    languages: tuple[str, ...]
    expected: Mapping[str, Expectation]
    stretches: tuple[_Stretch, ...]


async def _source(services: Services, recording_id: RecordingId) -> _Source:
    """What there is to hear and in which languages. Raises `NotFoundError`, `StorageError`."""
    async with services.database.read() as connection:
        recording = await recordings.get(connection, recording_id)
        shown_in = await interviews.of_recording(connection, recording_id)
        files = await assets.of_recording(connection, recording_id)
        takes = await recordings.takes(connection, recording_id)
        segments = await media_segments.of_recording(connection, recording_id)
        expected = await expectations.expected(connection, shown_in, services.settings)
    languages = expectations.languages_of(shown_in, services.settings)
    stretches = _takes(takes, segments) or _file(recording, files)
    if not stretches and recording.duration_ms > 0:
        raise StorageError(f"recording {recording_id} has no media any more that could be transcribed")
    return _Source(recording, tuple(shown_in), languages, expected, stretches)


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


async def _begin(job: JobRun, source: _Source, model: ModelInfo, stage: RunStage) -> Run:
    """A new run, or the unfinished one that was begun alike; the glossary may have changed since."""
    wanted = {"languages": list(source.languages), "beam_size": OPTIONS.beam_size}
    told = source.expected if "prompts" in model.capabilities and stage is RunStage.FINAL else {}
    settings = {**wanted, "expected": {code: _as_json(one) for code, one in told.items()}}
    async with job.services.database.write() as tx:
        await jobs.require_held(tx, job.job)
        for run in await transcripts.runs(tx, source.recording.id):
            if run.stage is stage and run.finished_at is None and wanted.items() <= run.settings.items():
                settings = {"expected": {}, **run.settings}
        return await transcripts.begin_run(
            tx,
            source.recording.id,
            stage,
            engine=job.services.settings.engine,
            model=model.name,
            model_identity=model.identity,
            note=model.note,
            settings=settings,
            track=ENGLISH if stage is RunStage.TRANSLATION else "",
        )


def _as_json(told: Expectation) -> dict[str, Any]:
    return {"opening": told.opening, "words": list(told.words)}


def _recording_of(job: JobRun) -> RecordingId:
    return job.job.recording_id if job.job.recording_id is not None else RecordingId(int(job.job.key))
