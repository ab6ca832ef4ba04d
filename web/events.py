"""Server-sent events: one tail of the catalogue's changes, fanned out to the open pages of each interview.

A page says which change it has seen last (`after` in its first request, `Last-Event-ID` when it comes back) and
gets everything since, or `reset` where that is not known any more. Messages carry current values, not what they
were when the change was written: a page that lags skips to the present.

    lines   {"added": [cue…], "removed": [key…]}      cues came, changed or went
    whole   {}                                        the transcript was replaced: read it anew
    state   see `state.state_json`                    stage, player, work, problems
    gaps    {"gaps": [gap…]}                          all that is missing: a gap came, ended or was filled
    media   {"duration_ms"}                           more can be played
    said    {"text", "lang", "certain", "start_ms"}   what is being said and may still change; "" when it does not
    skip    {"key", "start_ms", "end_ms", …}          captions have left something out to keep up
    reset   {}                                        too much was missed: read everything anew
    withheld {}                                       something is withheld, or shown again: play and read anew
    gone    {}                                        the interview is hidden now
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import accounts, captioning, changes, interviews, recordings, transcripts
from streamarchive.catalogue.database import Database
from streamarchive.catalogue.watch import watch
from streamarchive.errors import DatabaseError
from streamarchive.models import Change, CueId, Gap, Interview, InterviewId, Role

from .access import Visit
from .state import State, cues_json, gap_json, load_gaps, load_state, skip_json, state_json

log = logging.getLogger(__name__)

_QUEUE = 200
"""Messages a page may lag behind before it is cut off and comes back by itself."""
_LOOK_SECONDS = 20.0
_RETRY_SECONDS = 2.0
_CHECK_SECONDS = 60.0
_AHEAD_MS = 15_000
"""What has been heard before its media segment is committed, at most."""


@dataclass(frozen=True, slots=True)
class Message:
    """One event. States and gaps are worded for each page's language when they are sent.

    `id` is that of the change up to which a page knows everything once it has this; None: not yet.
    """

    id: int | None
    event: str
    data: dict[str, Any] = field(default_factory=dict)
    state: State | None = None
    gaps: Sequence[Gap] | None = None
    for_editors: dict[str, Any] | None = None
    """Its data for those who also see what is withheld, where that differs."""

    def text(self, visit: Visit) -> str:
        """Its data, as this visitor reads it."""
        data = self.data
        if self.for_editors is not None and visit.asker.has(Role.EDITOR):
            data = self.for_editors
        if self.state is not None:
            data = state_json(self.state, visit)
        elif self.gaps is not None:
            data = {"gaps": [gap_json(gap, visit) for gap in self.gaps]}
        return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


class Page:
    """An open page of one interview."""

    def __init__(self, interview_id: InterviewId, visit: Visit) -> None:
        self.interview_id = interview_id
        self.visit = visit
        self._messages: asyncio.Queue[Message | None] = asyncio.Queue(_QUEUE)
        self.closed = False

    def put(self, message: Message) -> None:
        """Queue it; a page whose queue is full is closed."""
        if self.closed:
            return
        if self._messages.qsize() >= _QUEUE - 1:
            self.close()
            return
        self._messages.put_nowait(message)

    def close(self) -> None:
        """No further messages."""
        if not self.closed:
            self.closed = True
            self._messages.put_nowait(None)

    async def messages(self) -> AsyncIterator[Message]:
        """Its messages, until it is gone or lags too far behind."""
        while (message := await self._messages.get()) is not None:
            yield message


class Hub:
    """Tails the changes while any page is open. `close` it with the site."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pages: dict[InterviewId, set[Page]] = defaultdict(set)
        self._position = 0
        self._turn = asyncio.Lock()
        self._tail: asyncio.Task[None] | None = None
        self._checked_at = time.monotonic()

    @asynccontextmanager
    async def open_page(self, interview_id: InterviewId, visit: Visit, seen: int | None) -> AsyncIterator[Page]:
        """Subscribe; first come the messages since `seen` (None: from now on)."""
        page = Page(interview_id, visit)
        async with self._turn:
            async with self._database.read() as connection:
                if self._tail is None:
                    self._position = await changes.newest_id(connection)
                if seen is not None:
                    await self._replay(connection, page, seen)
            self._pages[interview_id].add(page)
            if self._tail is None:
                self._tail = asyncio.create_task(self._follow(), name="event tail")
        try:
            yield page
        finally:
            page.close()
            self._pages[interview_id].discard(page)
            if not self._pages[interview_id]:
                del self._pages[interview_id]
            if not self._pages:
                await self._stop()

    @property
    def is_tailing(self) -> bool:
        """Whether the catalogue is being watched: only while a page is open."""
        return self._tail is not None

    async def close(self) -> None:
        """Close every page and stop the tail."""
        for page in [page for pages in self._pages.values() for page in pages]:
            page.close()
        await self._stop()

    async def _stop(self) -> None:
        tail, self._tail = self._tail, None
        if tail is not None:
            tail.cancel()
            await asyncio.gather(tail, return_exceptions=True)

    async def _replay(self, connection: AsyncConnection, page: Page, seen: int) -> None:
        if not await changes.knows(connection, seen):
            page.put(Message(self._position, "reset"))
            return
        missed = [
            change
            for change in await changes.after(connection, seen, changes.KEEP, interview_id=page.interview_id)
            if change.id <= self._position
        ]
        if missed:
            await self._tell(connection, page.interview_id, missed, [page])

    async def _follow(self) -> None:
        while True:
            try:
                async with watch(self._database) as catalogue:
                    while True:
                        await catalogue.wait(_LOOK_SECONDS)
                        await self._deliver()
                        await self._close_expired()
            except DatabaseError as error:
                log.warning("events pause: %s", error)
            except Exception:  # a tail that ends would leave every open page standing still, without a word
                log.exception("events pause")
            await asyncio.sleep(_RETRY_SECONDS)

    async def _deliver(self) -> None:
        async with self._turn:
            told = self._position
            try:
                async with self._database.read() as connection:
                    while batch := await changes.after(connection, self._position):
                        self._position = batch[-1].id
                        await self._tell_all(connection, batch)
                        told = self._position
            except DatabaseError:
                self._position = told  # the rest is told once it can be read
                raise

    async def _tell_all(self, connection: AsyncConnection, batch: Sequence[Change]) -> None:
        if any(change.kind == "session" for change in batch):
            await self._close_ended(connection)
        by_interview: dict[InterviewId, list[Change]] = defaultdict(list)
        for change in batch:
            if change.interview_id is not None and change.interview_id in self._pages:
                by_interview[change.interview_id].append(change)
        for interview_id, its in by_interview.items():
            await self._tell(connection, interview_id, its, list(self._pages[interview_id]))

    def _staff(self) -> list[Page]:
        return [page for pages in self._pages.values() for page in pages if page.visit.asker.user is not None]

    async def _close_expired(self) -> None:
        """Sessions also end by themselves."""
        if self._staff() and time.monotonic() - self._checked_at > _CHECK_SECONDS:
            self._checked_at = time.monotonic()
            async with self._turn, self._database.read() as connection:
                await self._close_ended(connection)

    async def _close_ended(self, connection: AsyncConnection) -> None:
        """A page whose session has ended comes back as whoever it is now."""
        staff = self._staff()
        if not staff:
            return
        roles = await accounts.standing(connection, {page.visit.asker.session_token for page in staff})
        for page in staff:
            if roles.get(page.visit.asker.session_token) != page.visit.asker.role:
                page.close()

    async def _tell(
        self,
        connection: AsyncConnection,
        interview_id: InterviewId,
        batch: Sequence[Change],
        pages: Sequence[Page],
    ) -> None:
        """Send what these changes come to, to those who may still see the interview."""
        interview = (await interviews.by_ids(connection, [interview_id])).get(interview_id)
        messages = await _messages(connection, interview, batch) if interview else []
        for page in pages:
            if interview is None or not interviews.may_see(interview, page.visit.asker.role):
                page.put(Message(batch[-1].id, "gone"))
                page.close()
                continue
            for message in messages:
                page.put(message)


async def _messages(connection: AsyncConnection, interview: Interview, batch: Sequence[Change]) -> list[Message]:
    """The changes of one interview, each kind once, with current values.

    The last bears the id: who is cut off between them gets them all once more.
    """
    last, kinds = batch[-1].id, {change.kind for change in batch}
    cue_changes = [change.payload for change in batch if change.kind == "cues"]
    found = [await _of_lines(connection, interview, last, cue_changes)] if cue_changes else []
    if "said" in kinds:
        said = [change.payload for change in batch if change.kind == "said"]
        if await _is_shown(connection, interview, said[-1]):
            found.append(Message(last, "said", dict(said[-1])))
    if "skip" in kinds and interview.recording_id is not None:
        skips = await captioning.skips(connection, interview.recording_id)
        found += [Message(last, "skip", skip_json(skip)) for skip in skips[-1:]]
    if "media" in kinds:
        media = [change.payload for change in batch if change.kind == "media"]
        found.append(Message(last, "media", {"duration_ms": media[-1]["duration_ms"]}))
    if "gap" in kinds:
        found.append(Message(last, "gaps", gaps=await load_gaps(connection, interview)))
    if kinds & {"interview", "asset", "job", "captioning"}:
        found.append(Message(last, "state", state=await load_state(connection, interview)))
    if "withheld" in kinds:
        found.append(Message(last, "withheld"))
    return [*(replace(message, id=None) for message in found[:-1]), *found[-1:]]


async def _of_lines(
    connection: AsyncConnection, interview: Interview, last: int, payloads: Sequence[Mapping[str, Any]]
) -> Message:
    if any(payload.get("whole") for payload in payloads):
        return Message(last, "whole")
    viewers = await _lines(connection, interview, payloads)
    if not interview.withheld:
        return Message(last, "lines", viewers)
    editors = await _lines(connection, interview, payloads, withheld_too=True)
    return Message(last, "lines", viewers, for_editors=editors)


async def _is_shown(connection: AsyncConnection, interview: Interview, said: Mapping[str, Any]) -> bool:
    """Whether the interview shows this part of its recording; that nothing is said can always be told."""
    if not said["text"]:
        return True
    begun = said["start_ms"] >= (interview.in_ms or 0)
    over = interview.out_ms is not None and said["start_ms"] >= interview.out_ms
    if not begun or over or not interview.withheld or interview.recording_id is None:
        return begun and not over
    # It goes on to what is heard now, and that may be ahead of what has been committed.
    recorded_ms = (await recordings.get(connection, interview.recording_id)).duration_ms
    return not interview.withholds(said["start_ms"], max(said["start_ms"], recorded_ms) + _AHEAD_MS)


async def _lines(
    connection: AsyncConnection,
    interview: Interview,
    payloads: Sequence[Mapping[str, Any]],
    *,
    withheld_too: bool = False,
) -> dict[str, Any]:
    shows = interview.cuts_in if withheld_too else interview.shows
    added = {CueId(cue_id): None for payload in payloads for cue_id in payload.get("added", ())}
    removed = {CueId(cue_id): None for payload in payloads for cue_id in payload.get("removed", ())}
    known = await transcripts.by_ids(connection, list(added))
    current = {cue_id: cue for cue_id, cue in known.items() if shows(cue.start_ms, cue.end_ms)}
    gone = [cue_id for cue_id in (*removed, *added) if cue_id not in current]
    return {
        "added": cues_json(sorted(current.values(), key=lambda cue: (cue.start_ms, cue.id)), interview),
        "removed": [f"c{cue_id}" for cue_id in dict.fromkeys(gone)],
    }
