"""Captions while it is on air: follows every open recording, take by take.

Each take has a live run of its own. A run's lines, their place in the search outbox, what open pages learn of
them and how far the run has come are written in one transaction: after a kill the run continues behind its last
line, and no line is lost or doubled. When a take turns out shorter than the sound that was heard of it, the
lines beyond its end are withdrawn.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import interviews, recordings, transcripts
from streamarchive.catalogue.transcripts import Run
from streamarchive.catalogue.watch import watch
from streamarchive.clock import to_ms
from streamarchive.errors import FencedError, StreamArchiveError
from streamarchive.models import Recording, RecordingId, RecordingState, RunStage, Take
from streamarchive.services import Services
from streamarchive.transcription import audio
from streamarchive.transcription.live import LIVE_OPTIONS, LivePolicy, PausePolicy
from streamarchive.transcription.passes import Step

from .listening import Sound, sound_of
from .runner import pause, until

if TYPE_CHECKING:
    from streamarchive.protocols import Samples

logger = logging.getLogger(__name__)

_IDLE_SECONDS = 5.0
_RETRY_SECONDS = (2.0, 5.0, 15.0, 30.0)
_ELSEWHERE_SECONDS = 30.0
"""How long a recording that another process transcribes is left alone."""
_NOTE_MS = 15_000
"""So much silence is worth a note of how far the run has come."""
_STALL_SECONDS = 12.0
"""When no sound has come for so long, what has been said so far becomes a caption."""
_AHEAD_SAMPLES = 10 * audio.SAMPLE_RATE


async def run(services: Services, stop: asyncio.Event) -> None:
    """Until `stop`. One task for each recording that is on air."""
    following: dict[RecordingId, asyncio.Task[None]] = {}
    async with watch(services.database) as changed:
        try:
            while not stop.is_set():
                async with services.database.read() as connection:
                    opened = await recordings.open_recordings(connection)
                following = {key: task for key, task in following.items() if not task.done()}
                for recording in opened:
                    if recording.id not in following:
                        name = f"live {recording.id}"
                        following[recording.id] = asyncio.create_task(_follow(services, recording.id), name=name)
                await pause(stop, 0.4)
                await until(stop, changed.wait(_IDLE_SECONDS))
        finally:
            for task in following.values():
                task.cancel()
            await asyncio.gather(*following.values(), return_exceptions=True)


async def _follow(services: Services, recording_id: RecordingId) -> None:
    """One recording to its end; whatever goes wrong is tried again, ever less often while nothing comes of it."""
    failures = 0
    while True:
        follower = Follower(services, recording_id)
        try:
            await follower.run()
        except FencedError as error:
            logger.info("recording %s: %s", recording_id, error)
            await asyncio.sleep(_ELSEWHERE_SECONDS)
            continue
        except StreamArchiveError as error:
            logger.warning("recording %s: no live captions: %s", recording_id, error)
        except Exception:
            logger.exception("recording %s: the live captions failed and begin again", recording_id)
        else:
            return
        failures = 0 if follower.has_heard else failures + 1
        await asyncio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])


class Follower:
    """Transcribes the takes of one recording, in order, as they come."""

    def __init__(self, services: Services, recording_id: RecordingId) -> None:
        self._services = services
        self._recording_id = recording_id
        self._looked_at = 0.0
        self._over = False
        self.has_heard = False
        """Whether the engine has been at work."""

    async def run(self) -> None:
        """Until the recording is finished and heard to its end.

        Raises `FencedError` if another process transcribes it, `TranscriptionError`, `MediaError`,
        `DatabaseError`.
        """
        done = -1
        while True:
            recording, takes = await self._look()
            take = next((take for take in takes if take.number > done), None)
            if take is not None:
                await self._take(take)
                done = take.number
            elif recording.state is RecordingState.FINISHED:
                return
            else:
                await asyncio.sleep(1.0)

    async def _look(self) -> tuple[Recording, list[Take]]:
        async with self._services.database.read() as connection:
            recording = await recordings.get(connection, self._recording_id)
            return recording, await recordings.takes(connection, self._recording_id)

    async def _take(self, take: Take) -> None:
        live = await self._begin(take)
        if live is None:
            return
        writer = _Writer(self._services, live)
        self._over = False
        sound = await self._sound(take, writer)
        if sound is not None:
            self.has_heard = True
            policy = PausePolicy(
                self._services.engines.live,
                await self._languages(),
                max(sound.starts_at_ms, writer.covered_ms),
            )
            skip = max(writer.covered_ms - sound.starts_at_ms, 0) * audio.SAMPLE_RATE // 1000
            await _listen(sound, skip, policy, writer)
        recording, takes = await self._look()
        following = next((later for later in takes if later.number > take.number), None)
        end_ms = to_ms(following.base_ticks) if following else recording.duration_ms
        await writer.finish(end_ms)

    async def _begin(self, take: Take) -> Run | None:
        """The take's live run, new or continued; None if it is done."""
        model = await self._services.engines.live.load()
        settings = {"take": take.number, "beam_size": LIVE_OPTIONS.beam_size}
        async with self._services.database.write() as tx:
            await transcripts.hold(tx, await transcripts.ensure(tx, self._recording_id))
            runs = await transcripts.runs(tx, self._recording_id)
            earlier = [r for r in runs if r.stage is RunStage.LIVE and r.settings.get("take") == take.number]
            if any(run.finished_at is not None for run in earlier) or _superseded(runs):
                return None
            live = await transcripts.begin_run(
                tx,
                self._recording_id,
                RunStage.LIVE,
                engine=self._services.settings.engine,
                model=model.name,
                model_identity=model.identity,
                note=model.note,
                settings=settings,
            )
            # Another model may have begun the take: go on where it stopped.
            covered_ms = max([to_ms(take.base_ticks), *(run.covered_ms for run in earlier)])
            if covered_ms > live.covered_ms:
                await transcripts.append(tx, live, (), covered_ms)
            return next(r for r in await transcripts.runs(tx, self._recording_id) if r.id == live.id)

    async def _languages(self) -> tuple[str, ...]:
        async with self._services.database.read() as connection:
            shown_in = await interviews.of_recording(connection, self._recording_id)
        wanted = dict.fromkeys(code for interview in shown_in for code in interview.languages)
        return tuple(wanted) or self._services.settings.languages

    async def _sound(self, take: Take, writer: _Writer) -> Sound | None:
        """The take's sound as soon as there is any; None if the take is over before."""

        async def ended() -> bool:
            return await self._ended(take)

        while True:
            over = await ended()
            _, takes = await self._look()
            current = next(other for other in takes if other.id == take.id)
            sound = await sound_of(self._services, current, writer.covered_ms, ended)
            if sound is not None or over:
                return sound
            await asyncio.sleep(0.5)

    async def _ended(self, take: Take) -> bool:
        """Whether nothing more will be added to the take; asks the catalogue once a second at most."""
        if not self._over and time.monotonic() - self._looked_at >= 1.0:
            recording, takes = await self._look()
            later = any(other.number > take.number for other in takes)
            self._over = later or recording.state is RecordingState.FINISHED
            self._looked_at = time.monotonic()
        return self._over


async def _listen(sound: Sound, skip: int, policy: LivePolicy, writer: _Writer) -> None:
    """Feed the policy until the sound ends, without its first `skip` samples, which have been heard before."""
    arriving = _Arriving(sound)
    try:
        while (samples := await arriving.next(_STALL_SECONDS)) is not None:
            dropped = min(skip, len(samples))
            skip -= dropped
            if len(samples) == 0:
                await writer.write(await policy.flush())
            elif dropped < len(samples):
                await writer.write(await policy.feed(samples[dropped:]))
        await writer.write(await policy.finish())
    finally:
        await arriving.close()


class _Arriving:
    """Decodes beside the recogniser, so that what comes while it works is taken in one piece."""

    def __init__(self, sound: Sound) -> None:
        self._waiting: list[Samples] = []
        self._news = asyncio.Condition()
        self._ended = False
        self._task = asyncio.create_task(self._decode(sound), name="live sound")

    async def next(self, seconds: float) -> Samples | None:
        """What has come since the last call, at most `_AHEAD_SAMPLES` or so; empty if nothing has for so long,
        None at the end. Raises what the decoding raised.
        """
        import numpy as np

        async with self._news:
            try:
                ready = self._news.wait_for(lambda: self._waiting or self._ended)
                await asyncio.wait_for(ready, seconds)
            except TimeoutError:
                return np.zeros(0, np.float32)
            taken, self._waiting = self._waiting, []
            self._news.notify_all()
        if not taken:
            await self._task
            return None
        return np.concatenate(taken)

    async def close(self) -> None:
        """Stop decoding."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _decode(self, sound: Sound) -> None:
        try:
            async with (
                aclosing(sound.data),
                aclosing(audio.decode_transport_stream(sound.data, live=True)) as decoded,
            ):
                async for samples in decoded:
                    async with self._news:
                        self._waiting.append(samples)
                        self._news.notify_all()
                        await self._news.wait_for(self._has_room)
        finally:
            async with self._news:
                self._ended = True
                self._news.notify_all()

    def _has_room(self) -> bool:
        return sum(len(samples) for samples in self._waiting) < _AHEAD_SAMPLES


class _Writer:
    """Writes the steps of a live run, as long as nobody else does."""

    def __init__(self, services: Services, live: Run) -> None:
        self._services = services
        self._live = live
        self.covered_ms = live.covered_ms

    async def write(self, steps: list[Step]) -> None:
        """Steps with lines, and from time to time those without."""
        for step in steps:
            if step.covered_ms <= self.covered_ms and not step.cues:
                continue
            if not step.cues and step.covered_ms < self.covered_ms + _NOTE_MS:
                continue
            async with self._services.database.write() as tx:
                await self._require_ours(tx)
                await transcripts.append(tx, self._live, step.cues, step.covered_ms)
            self.covered_ms = step.covered_ms

    async def finish(self, end_ms: int) -> None:
        """The take has ended here: withdraw what was heard beyond, and close the run."""
        async with self._services.database.write() as tx:
            await self._require_ours(tx)
            await transcripts.withdraw(tx, self._live.recording_id, end_ms)
            await transcripts.finish_run(tx, self._live)

    async def _require_ours(self, tx: AsyncConnection) -> None:
        """Raise `FencedError` if another process has gone on with the run, or a final pass has replaced it."""
        await transcripts.hold(tx, self._live.transcript_id)
        runs = await transcripts.runs(tx, self._live.recording_id)
        current = next(run for run in runs if run.id == self._live.id)
        if current.covered_ms != self.covered_ms or current.finished_at is not None or _superseded(runs):
            raise FencedError("it is transcribed by another process, or has been by now")


def _superseded(runs: list[Run]) -> bool:
    """Whether a final pass is complete: then live lines would only double it."""
    return any(run.stage is not RunStage.LIVE and run.finished_at is not None for run in runs)
