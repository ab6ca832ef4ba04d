"""Writing what a live run has heard, as long as nobody else does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import captioning, transcripts
from streamarchive.catalogue.transcripts import Run
from streamarchive.editing.rendition import AS_HEARD, Rendition
from streamarchive.errors import FencedError
from streamarchive.models import RunStage
from streamarchive.services import Services
from streamarchive.transcription.live import LiveStep, Said
from streamarchive.transcription.pace import Pace, Rung

_NOTE_MS = 15_000
"""So much silence is worth a note of how far the run has come."""
_REPORT_SECONDS = 5.0
"""How often it is told how the captions fare, though nothing has changed."""


class Captions:
    """A live run's lines, its place, its provisional text, and how it fares.

    Lines, their place in the search outbox, what open pages learn of them and how far the run has come are one
    transaction.
    """

    def __init__(self, services: Services, live: Run, pace: Pace, rendition: Rendition = AS_HEARD) -> None:
        """`pace` is only read."""
        self._services = services
        self._live = live
        self._pace = pace
        self._rendition = rendition
        self._said = Said()
        self._reported: tuple[int, Rung] | None = None
        self._reported_at = 0.0
        self.covered_ms = live.covered_ms

    async def write(self, steps: Sequence[LiveStep]) -> None:
        """Steps with lines, from time to time those without, and what is being said. Raises `FencedError`."""
        for step in steps:
            if step.cues or step.covered_ms >= self.covered_ms + _NOTE_MS:
                await self._append(step)
        said = next((step.said for step in reversed(steps) if step.said is not None), self._said)
        if said == self._said and not self._report_is_due:
            return
        async with self._services.database.write() as tx:
            await self._require_ours(tx)
            await self._say(tx, said)
            await self._report(tx)

    async def skip(self, to_ms: int) -> None:
        """Leave what has not been covered up to here to the final pass, and say so."""
        if to_ms <= self.covered_ms:
            return
        async with self._services.database.write() as tx:
            await self._require_ours(tx)
            await transcripts.append(tx, self._live, (), to_ms)
            await self._report(tx)
            await captioning.skip(tx, self._live.recording_id, self.covered_ms, to_ms)
            await self._say(tx, Said())
        self.covered_ms = to_ms

    async def finish(self, end_ms: int) -> None:
        """The take has ended here: withdraw what was heard beyond, and close the run."""
        async with self._services.database.write() as tx:
            await self._require_ours(tx)
            await transcripts.withdraw(tx, self._live.recording_id, end_ms)
            await captioning.forget_skips(tx, self._live.recording_id, end_ms)
            await self._say(tx, Said())
            await self._report(tx)
            await transcripts.finish_run(tx, self._live)

    async def _append(self, step: LiveStep) -> None:
        """Lines in place of the provisional text that they were, in one transaction."""
        covered_ms = max(step.covered_ms, self.covered_ms)
        async with self._services.database.write() as tx:
            await self._require_ours(tx)
            await transcripts.append(tx, self._live, step.cues, covered_ms, self._rendition)
            if step.said is not None:
                await self._say(tx, step.said)
        self.covered_ms = covered_ms

    async def _say(self, tx: AsyncConnection, said: Said) -> None:
        if said != self._said:
            written = replace(said, text=self._rendition.text(said.text, said.lang))
            await captioning.say(tx, self._live.recording_id, asdict(written))
        self._said = said

    async def _report(self, tx: AsyncConnection) -> None:
        await captioning.report(tx, self._live.recording_id, lag_ms=self._pace.lag_ms, rung=self._pace.rung.value)
        self._reported, self._reported_at = self._state, time.monotonic()

    @property
    def _state(self) -> tuple[int, Rung]:
        return self._pace.lag_ms // 1000, self._pace.rung

    @property
    def _report_is_due(self) -> bool:
        waited = time.monotonic() - self._reported_at
        return waited >= _REPORT_SECONDS or (self._state != self._reported and waited >= 1.0)

    async def _require_ours(self, tx: AsyncConnection) -> None:
        """Raise `FencedError` if another process has gone on with the run, or a final pass has replaced it."""
        await transcripts.hold(tx, self._live.transcript_id)
        current, runs = await transcripts.standing(tx, self._live)
        if current.covered_ms != self.covered_ms or current.finished_at is not None or is_superseded(runs):
            raise FencedError("it is transcribed by another process, or has been by now")


def is_superseded(runs: Sequence[Run]) -> bool:
    """Whether a final pass is complete: then live lines would only double it."""
    complete = (RunStage.FINAL, RunStage.IMPORTED)
    return any(run.stage in complete and run.finished_at is not None for run in runs)
