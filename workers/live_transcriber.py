"""Captions while it is on air: follows every open recording, take by take.

Each take has a live run of its own; after a kill it continues behind its last line, and no line is lost or
doubled. When a take turns out shorter than the sound that was heard of it, the lines beyond its end are
withdrawn. All broadcasts share one engine, in turns. One that falls behind goes down the ladder of
`streamarchive.transcription.pace`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress

from streamarchive.catalogue import captioning, interviews, recordings, transcripts
from streamarchive.catalogue.transcripts import Run
from streamarchive.catalogue.watch import watch
from streamarchive.clock import to_ms
from streamarchive.editing.rendition import Rendition
from streamarchive.errors import FencedError, StreamArchiveError
from streamarchive.models import Recording, RecordingId, RecordingState, RunStage, Script, Take
from streamarchive.protocols import Expectation
from streamarchive.services import Services
from streamarchive.transcription.live import AgreementPolicy, LivePolicy
from streamarchive.transcription.pace import Pace
from streamarchive.transcription.turns import Turns

from . import expectations
from .arriving import Arriving
from .captions import Captions, is_superseded
from .listening import Listening, Sound
from .runner import pause, until

logger = logging.getLogger(__name__)

_IDLE_SECONDS = 5.0
_RETRY_SECONDS = (2.0, 5.0, 15.0, 30.0)
_ELSEWHERE_SECONDS = 30.0
"""How long a recording that another process transcribes is left alone."""
_STALL_SECONDS = 12.0
"""When no sound has come for so long, what has been said so far becomes a caption."""


async def run(services: Services, stop: asyncio.Event) -> None:
    """Until `stop`. One task for each recording that is on air."""
    following: dict[RecordingId, asyncio.Task[None]] = {}
    turns = Turns()
    async with watch(services.database) as changed:
        try:
            while not stop.is_set():
                async with services.database.read() as connection:
                    opened = await recordings.open_recordings(connection)
                following = {key: task for key, task in following.items() if not task.done()}
                for recording in opened:
                    if recording.id not in following:
                        work = _follow(services, recording.id, turns)
                        following[recording.id] = asyncio.create_task(work, name=f"live {recording.id}")
                await pause(stop, 0.4)
                await until(stop, changed.wait(_IDLE_SECONDS))
        finally:
            for task in following.values():
                task.cancel()
            await asyncio.gather(*following.values(), return_exceptions=True)


async def _follow(services: Services, recording_id: RecordingId, turns: Turns) -> None:
    """One recording to its end; whatever goes wrong is tried again, ever less often while nothing comes of it."""
    failures = 0
    while True:
        follower = Follower(services, recording_id, turns)
        try:
            await follower.run()
        except FencedError as error:
            logger.info("recording %s: %s", recording_id, error)
            await asyncio.sleep(_ELSEWHERE_SECONDS)
            continue
        except StreamArchiveError as error:
            logger.warning("recording %s: no live captions: %s", recording_id, error)
            await _complain(services, recording_id, str(error))
        except Exception:
            logger.exception("recording %s: the live captions failed and begin again", recording_id)
        else:
            return
        failures = 0 if follower.has_heard else failures + 1
        await asyncio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])


async def _complain(services: Services, recording_id: RecordingId, problem: str) -> None:
    """Say on the page why there are no captions."""
    with suppress(StreamArchiveError):
        async with services.database.write() as tx:
            await captioning.report(tx, recording_id, problem=problem)


class Follower:
    """Transcribes the takes of one recording, in order, as they come."""

    def __init__(
        self, services: Services, recording_id: RecordingId, turns: Turns | None = None, pace: Pace | None = None
    ) -> None:
        self._services = services
        self._recording_id = recording_id
        self._turns = turns or Turns()
        self._pace = pace or Pace()
        self._languages: tuple[str, ...] = ()
        self._expected: Mapping[str, Expectation] = {}
        self._script = Script.SIMPLIFIED
        self._looked_at = 0.0
        self._over = False
        self._ends_at_ms: int | None = None
        """Where on the media clock the take ends that is followed, once another has begun."""
        self.has_heard = False
        """Whether the engine has been at work."""

    async def run(self) -> None:
        """Until the recording is finished and heard to its end.

        Raises `FencedError` if another process transcribes it, `TranscriptionError`, `MediaError`,
        `DatabaseError`.
        """
        done, heard = -1, await self._heard()
        while True:
            recording, takes = await self._look()
            take = next((take for take in takes if take.number > done and take.number not in heard), None)
            if take is not None:
                await self._take(take)
                done = take.number
            elif recording.state is RecordingState.FINISHED:
                return
            else:
                await asyncio.sleep(1.0)

    async def _heard(self) -> set[int]:
        """The takes that have been heard to their end: after a day of reconnects there may be a thousand."""
        async with self._services.database.read() as connection:
            runs = await transcripts.runs(connection, self._recording_id)
        live = (run for run in runs if run.stage is RunStage.LIVE and run.finished_at is not None)
        return {run.settings.get("take", -1) for run in live}

    async def _look(self) -> tuple[Recording, list[Take]]:
        async with self._services.database.read() as connection:
            recording = await recordings.get(connection, self._recording_id)
            takes = await recordings.takes(connection, self._recording_id)
        self._pace.arrived(recording.duration_ms)
        return recording, takes

    async def _take(self, take: Take) -> None:
        live = await self._begin(take)
        if live is None:
            return
        await self._find_expected()
        captions = Captions(self._services, live, self._pace, Rendition(self._script))
        self._over, self._ends_at_ms = False, None
        sound = await self._sound(take, captions)
        if sound is not None:
            self.has_heard = True
            await self._find_expected()
            await self._listen(take, sound, captions)
        recording, takes = await self._look()
        following = next((later for later in takes if later.number > take.number), None)
        end_ms = to_ms(following.base_ticks) if following else recording.duration_ms
        await captions.finish(end_ms)

    async def _listen(self, take: Take, sound: Sound, captions: Captions) -> None:
        """Feed a policy until the sound ends; a new one where sound has been left out."""
        arriving = Arriving(sound, captions.covered_ms)
        policy = self._policy(arriving.at_ms)
        try:
            while (samples := await arriving.next(_STALL_SECONDS)) is not None:
                await captions.write(await (policy.feed(samples) if len(samples) else policy.flush()))
                await self._ended(take)  # how far the recording has come is looked up with it
                self._pace.arrived(arriving.reached_ms)
                if self._pace.is_hopeless:
                    policy = await self._leave_out(arriving, captions)
            await captions.write(await policy.finish())
        finally:
            await arriving.close()

    async def _leave_out(self, arriving: Arriving, captions: Captions) -> LivePolicy:
        """Go on with the newest sound; what waits is left to the final pass."""
        newest_ms = min(self._pace.newest_ms, self._ends_at_ms or self._pace.newest_ms)
        logger.warning(
            "recording %s: live captions are %.0f s behind and go on with what is said now",
            self._recording_id,
            self._pace.lag_ms / 1000,
        )
        arriving.skip_to(newest_ms)
        self._pace.skipped_to(newest_ms)
        await captions.skip(newest_ms)
        return self._policy(arriving.at_ms)

    def _policy(self, at_ms: int) -> LivePolicy:
        self._pace.took(at_ms)
        engine = self._services.engines.live
        return AgreementPolicy(engine, self._languages, at_ms, self._pace, self._turns, self._expected)

    async def _begin(self, take: Take) -> Run | None:
        """The take's live run, new or continued; None if it is done."""
        model = await self._services.engines.load_live()
        settings = {"take": take.number}
        async with self._services.database.write() as tx:
            await transcripts.hold(tx, await transcripts.ensure(tx, self._recording_id))
            runs = await transcripts.runs(tx, self._recording_id)
            earlier = [r for r in runs if r.stage is RunStage.LIVE and r.settings.get("take") == take.number]
            if any(run.finished_at is not None for run in earlier) or is_superseded(runs):
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
            return (await transcripts.standing(tx, live))[0]

    async def _find_expected(self) -> None:
        """The languages that are spoken, which names and terms may be, and how Chinese is written."""
        settings = self._services.settings
        async with self._services.database.read() as connection:
            shown_in = await interviews.of_recording(connection, self._recording_id)
            self._expected = await expectations.expected(connection, shown_in, settings)
        self._languages = expectations.languages_of(shown_in, settings)
        self._script = expectations.script_of(shown_in)

    async def _sound(self, take: Take, captions: Captions) -> Sound | None:
        """The take's sound as soon as there is any; None if the take is over before."""

        async def ended() -> bool:
            return await self._ended(take)

        listening = Listening(self._services)
        while True:
            over = await ended()
            _, takes = await self._look()
            current = next(other for other in takes if other.id == take.id)
            sound = await listening.sound(current, captions.covered_ms, ended)
            if sound is not None or over:
                return sound
            await asyncio.sleep(0.5)

    async def _ended(self, take: Take) -> bool:
        """Whether nothing more will be added to the take; asks the catalogue once a second at most."""
        if not self._over and time.monotonic() - self._looked_at >= 1.0:
            recording, takes = await self._look()
            later = next((other for other in takes if other.number > take.number), None)
            self._ends_at_ms = to_ms(later.base_ticks) if later else None
            self._over = later is not None or recording.state is RecordingState.FINISHED
            self._looked_at = time.monotonic()
        return self._over
