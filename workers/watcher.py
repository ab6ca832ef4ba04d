"""Saved searches: every new cue is compared with them, and what is found is told.

Comparing and telling are two steps with the catalogue between them: what was found is written, with a job for
the call, in the transaction that forgets the cues compared. Whatever dies in between, nothing is missed, and
nothing is told twice for a cue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive import jobs, webhooks
from streamarchive.catalogue import glossary, interviews, recordings, saved_searches, transcripts
from streamarchive.catalogue.database import now
from streamarchive.catalogue.saved_searches import NewHit, SavedSearch
from streamarchive.catalogue.watch import watch
from streamarchive.errors import NotFoundError
from streamarchive.models import Cue, Gap, Interview, Recording, RecordingId
from streamarchive.search import narrowing, query, telling
from streamarchive.search.expansion import expanded
from streamarchive.search.watching import Lookup, Match, Spoken
from streamarchive.services import Services

from .runner import JobRun, serve_jobs, until

_ATTEMPTS = 14
"""The last comes more than an hour after the first."""
_CALLS_AT_ONCE = 4
"""One slow address does not keep the others waiting."""
_IDLE_SECONDS = 5.0
_LATELY = 1_000
"""So many cues tell which terms are rare."""


async def run(services: Services, stop: asyncio.Event) -> None:
    """Until `stop`."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_compare(services, stop))
        for _ in range(_CALLS_AT_ONCE):
            group.create_task(serve_jobs(services, {webhooks.JOB: call}, stop))


async def _compare(services: Services, stop: asyncio.Event) -> None:
    watcher = Watcher(services)
    async with watch(services.database) as changed:
        while not stop.is_set():
            if not await watcher.compare():
                await until(stop, changed.wait(_IDLE_SECONDS))


_Matched = tuple[Spoken, tuple[Interview, ...], Match]


class Watcher:
    """Compares cues with the saved searches, which it keeps looked up as long as they stay the same."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._known: object = None
        self._lookup = Lookup({})

    async def compare(self) -> bool:
        """Compare one batch of new cues; False if there was none."""
        database = self._services.database
        async with database.read() as connection:
            batch = await saved_searches.oldest(connection)
            if not batch.row_ids:
                return False
            searches = {search.id: search for search in await saved_searches.watched(connection)}
            await self._look_up(connection, searches)
            cues = await transcripts.by_ids(connection, batch.cue_ids)
            spoken = await _between_neighbours(connection, list(cues.values()))
            matched = await asyncio.to_thread(self._match, spoken)
            found = await _to_tell(connection, searches, matched)
        async with database.write() as tx:
            for hit in await saved_searches.tell(tx, found):
                if searches[hit.saved_search_id].webhook_url:
                    await jobs.enqueue(tx, webhooks.JOB, str(hit.id), priority=jobs.LIVE, max_attempts=_ATTEMPTS)
            await saved_searches.compared(tx, batch)
        return True

    async def _look_up(self, connection: AsyncConnection, searches: Mapping[int, SavedSearch]) -> None:
        pairs = await glossary.pairs(connection)
        known = ({search.id: search.query for search in searches.values()}, pairs)
        if known != self._known:
            lately = await transcripts.newest(connection, _LATELY)
            parsed = {search_id: expanded(query.parse(typed), pairs) for search_id, typed in known[0].items()}
            self._lookup = await asyncio.to_thread(Lookup, parsed, [cue.text for cue in lately])
            self._known = known

    def _match(self, spoken: Iterable[tuple[Spoken, tuple[Interview, ...]]]) -> list[_Matched]:
        return [(one, shown, match) for one, shown in spoken for match in self._lookup.matches(one)]


async def _between_neighbours(
    connection: AsyncConnection, cues: Sequence[Cue]
) -> list[tuple[Spoken, tuple[Interview, ...]]]:
    """Each cue with the lines around it and the interviews that show it."""
    found = []
    for recording_id in dict.fromkeys(cue.recording_id for cue in cues):
        mine = [cue for cue in cues if cue.recording_id == recording_id]
        new = {cue.id for cue in mine}
        shown = await interviews.of_recording(connection, recording_id)
        start_ms, end_ms = min(cue.start_ms for cue in mine), max(cue.end_ms for cue in mine)
        row = await transcripts.around(connection, recording_id, start_ms, end_ms)
        for at, cue in enumerate(row):
            if cue.id in new:
                by = tuple(interview for interview in shown if interview.shows(cue.start_ms, cue.end_ms))
                beside = (row[near] if 0 <= near < len(row) else None for near in (at - 1, at + 1))
                before, after = (one if one and _is_shown(one, by) else None for one in beside)
                found.append((Spoken(cue, before, after), by))
    return found


def _is_shown(cue: Cue, by: Iterable[Interview]) -> bool:
    return all(interview.shows(cue.start_ms, cue.end_ms) for interview in by)


async def _to_tell(
    connection: AsyncConnection, searches: Mapping[int, SavedSearch], matched: Sequence[_Matched]
) -> list[NewHit]:
    """Without what was said too early or elsewhere for a search, and what its owner may not find."""
    found, clocks = [], _Clocks(connection)
    for spoken, shown, match in matched:
        search = searches[match.query_id]
        cue = spoken.before if match.in_before and spoken.before else spoken.cue
        parsed = query.parse(search.query)
        meant = (one for one in shown if interviews.may_find(one, search.role) and narrowing.admits(parsed, one))
        interview = next(meant, None)
        if interview is None or await clocks.said_at(cue) < search.created_at:
            continue
        found.append(NewHit(search.id, cue.id, interview.id, cue.recording_id, cue.start_ms, cue.end_ms))
    return found


class _Clocks:
    """When a cue was said, by the clock on the wall: a later pass may make new cues of what is long past."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._known: dict[RecordingId, tuple[Recording, list[Gap]]] = {}

    async def said_at(self, cue: Cue) -> datetime:
        if cue.recording_id not in self._known:
            recording = await recordings.get(self._connection, cue.recording_id)
            self._known[cue.recording_id] = (recording, await recordings.gaps(self._connection, cue.recording_id))
        recording, gaps = self._known[cue.recording_id]
        missing = [
            gap.ended_at - gap.began_at for gap in gaps if gap.ended_at is not None and gap.at_ms < cue.end_ms
        ]
        return recording.started_at + timedelta(milliseconds=cue.end_ms) + sum(missing, timedelta(0))


async def call(job: JobRun) -> None:
    """Job `webhook`: tell one hit. Raises `DeliveryError`, `FencedError`."""
    services = job.services
    async with services.database.read() as connection:
        try:
            hit = await saved_searches.hit(connection, int(job.job.key))
            search = await saved_searches.get(connection, hit.saved_search_id)
        except NotFoundError:
            return
        told = await telling.read(connection, [search], [hit])
        moment = await now(connection)
    if not told or search.webhook_url is None or hit.sent_at is not None:
        return
    values = telling.as_json(told[0], services.settings.site)
    await webhooks.call(
        search.webhook_url, search.secret, f"hit_{hit.id}", moment, values, services.settings.networks
    )
    async with services.database.write() as tx:
        await saved_searches.sent(tx, hit.id)
        await job.finish(tx)
