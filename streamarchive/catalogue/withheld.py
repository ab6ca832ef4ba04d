"""What may be shown of an interview: its recording between its in and out point, without what is withheld.

A withheld range is a stretch of the media clock that nobody gets until it is lifted: no picture, no sound, no
words, in none of the interviews that show the recording. Every interview carries its ranges
(`Interview.withheld`), and whoever gives something out asks `Interview.shows` for a line or a media segment,
`given` for a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import captioning, changes, interviews, media_segments, outbox, recordings, tables
from streamarchive.catalogue.database import now
from streamarchive.clock import TICKS_PER_MS
from streamarchive.errors import NotFoundError, UsageError
from streamarchive.models import (
    Asset,
    AssetKind,
    Interview,
    InterviewId,
    MediaSegment,
    RecordingId,
    RecordingState,
    Stretch,
)

_t = tables.withheld_range
_BEYOND_MS = 60_000


@dataclass(frozen=True, slots=True)
class WithheldRange:
    """A stretch of a recording that somebody has withheld, and what became of it."""

    id: int
    recording_id: RecordingId
    stretch: Stretch
    reason: str
    user: str | None
    """Who withheld it."""
    created_at: datetime
    lifted_at: datetime | None
    purge_asked_at: datetime | None
    purged_at: datetime | None
    doomed: tuple[str, ...]
    """Keys of files of the store that its purge has replaced and has yet to delete."""

    @property
    def holds(self) -> bool:
        """Whether there is something that nobody gets: not lifted, and not purged."""
        return self.lifted_at is None and self.purged_at is None

    @property
    def is_hole(self) -> bool:
        """Whether nobody gets this stretch, withheld or gone for good."""
        return self.lifted_at is None


def spans(interview: Interview, duration_ms: int) -> list[Stretch]:
    """What may be shown of an interview whose recording is so long, by time."""
    begin = max(interview.in_ms or 0, 0)
    end = duration_ms if interview.out_ms is None else min(interview.out_ms, duration_ms)
    found = []
    for hole in merged(interview.withheld):
        if hole.start_ms > begin:
            found.append(Stretch(begin, min(hole.start_ms, end)))
        begin = max(begin, hole.end_ms)
    found.append(Stretch(begin, end))
    return [span for span in found if span.start_ms < span.end_ms]


def merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """The same, by time, each moment once."""
    found: list[Stretch] = []
    for one in sorted(stretches, key=lambda stretch: stretch.start_ms):
        if found and one.start_ms <= found[-1].end_ms:
            found[-1] = Stretch(found[-1].start_ms, max(found[-1].end_ms, one.end_ms))
        else:
            found.append(one)
    return found


def holes(shown: list[Stretch], duration_ms: int) -> list[Stretch]:
    """What lies between and around these spans of a recording of this length."""
    borders = [0, *(edge for span in shown for edge in (span.start_ms, span.end_ms)), duration_ms]
    pairs = zip(borders[::2], borders[1::2], strict=True)
    return [Stretch(start, end) for start, end in pairs if start < end]


def in_media(hole: Stretch, duration_ms: int) -> Stretch:
    """A hole as it has to be cut out of files: their sound may go on for a moment after the end of the clock."""
    return hole if hole.end_ms < duration_ms else Stretch(hole.start_ms, hole.end_ms + _BEYOND_MS)


def without(shown: Iterable[Stretch], hole: Stretch) -> list[Stretch]:
    """What is left of these stretches."""
    sides = [
        side
        for span in shown
        for side in (
            Stretch(span.start_ms, min(span.end_ms, hole.start_ms)),
            Stretch(max(span.start_ms, hole.end_ms), span.end_ms),
        )
    ]
    return [side for side in sides if side.start_ms < side.end_ms]


def may_give(interview: Interview, asset: Asset) -> bool:
    """Whether all that can be seen or heard in this file may be shown."""
    if not asset.shows:
        return not interview.withheld and interview.in_ms is None and interview.out_ms is None
    return all(
        shown.start_ms >= (interview.in_ms or 0)
        and (interview.out_ms is None or shown.end_ms <= interview.out_ms)
        and not interview.withholds(shown.start_ms, shown.end_ms)
        for shown in asset.shows
    )


def given(interview: Interview, assets: Mapping[AssetKind, Asset]) -> dict[AssetKind, Asset]:
    """Those of a recording's files that this interview may give out."""
    return {kind: asset for kind, asset in assets.items() if may_give(interview, asset)}


def is_whole(interview: Interview, asset: Asset, duration_ms: int) -> bool:
    """Whether nothing that may be shown is missing in this file."""
    inside = merged(asset.shows)
    return all(
        any(part.start_ms <= span.start_ms and span.end_ms <= part.end_ms for part in inside)
        for span in spans(interview, duration_ms)
    )


async def of_recording(connection: AsyncConnection, recording_id: RecordingId) -> list[WithheldRange]:
    """All that has ever been withheld of it, by time."""
    return await _load(connection, _t.c.recording_id == recording_id)


async def get(connection: AsyncConnection, range_id: int) -> WithheldRange:
    """Raises `NotFoundError`."""
    found = await _load(connection, _t.c.id == range_id)
    if not found:
        raise NotFoundError(f"there is no withheld range {range_id}")
    return found[0]


async def purged_segments(connection: AsyncConnection, recording_id: RecordingId) -> list[MediaSegment]:
    """Media segments that are gone because of a purge, in order: there is a hole on the media clock."""
    table = tables.media_segment
    inside = exists(
        select(_t.c.id).where(
            _t.c.recording_id == recording_id,
            _t.c.purge_asked_at.is_not(None),
            _t.c.start_ms * TICKS_PER_MS < table.c.start_ticks + table.c.duration_ticks,
            _t.c.end_ms * TICKS_PER_MS > table.c.start_ticks,
        )
    )
    gone = select(table).where(table.c.recording_id == recording_id, table.c.deleted_at.is_not(None), inside)
    return await media_segments.load(connection, gone)


async def deleted(connection: AsyncConnection, recording_id: RecordingId, since: datetime) -> list[Stretch]:
    """What is to be deleted for good of a recording, or has been since this moment, by time."""
    found = await of_recording(connection, recording_id)
    return [
        one.stretch
        for one in found
        if one.purge_asked_at is not None and (one.purged_at is None or one.purged_at > since)
    ]


async def shown_by_all(connection: AsyncConnection, recording_id: RecordingId) -> list[Stretch]:
    """What any interview shows of a recording: what its files are made of."""
    recording = await recordings.get(connection, recording_id)
    known = await interviews.of_recording(connection, recording_id)
    return merged([span for one in known for span in spans(one, recording.duration_ms)])


async def withhold(
    tx: AsyncConnection,
    recording_id: RecordingId,
    start_ms: int,
    end_ms: int,
    *,
    reason: str = "",
    user_id: int | None = None,
) -> WithheldRange:
    """From the end of `tx` on nobody gets this stretch. Raises `UsageError` if there is nothing in it."""
    if not 0 <= start_ms < end_ms:
        raise UsageError("what is withheld has to end after it begins")
    await hold(tx, recording_id)
    values = {"recording_id": recording_id, "start_ms": start_ms, "end_ms": end_ms, "reason": reason}
    statement = insert(_t).values(
        **values,
        user_id=user_id,
        created_at=await now(tx),
        outbox_id=await outbox.put_stretch(tx, recording_id, start_ms, end_ms),
    )
    range_id = (await tx.execute(statement.returning(_t.c.id))).scalar_one()
    await announce(tx, recording_id)
    return await get(tx, range_id)


async def lift(tx: AsyncConnection, range_id: int) -> WithheldRange:
    """Everybody gets it again. Raises `UsageError` if it is lifted already, or is to be deleted for good."""
    found = await _held(tx, range_id)
    if found.purge_asked_at is not None:
        raise UsageError("this part is deleted for good; it cannot be shown again")
    if found.lifted_at is not None:
        raise UsageError("this part is shown again already")
    await tx.execute(update(_t).where(_t.c.id == range_id).values(lifted_at=await now(tx)))
    await outbox.put_stretch(tx, found.recording_id, found.stretch.start_ms, found.stretch.end_ms)
    await announce(tx, found.recording_id)
    return await get(tx, range_id)


async def ask_purge(tx: AsyncConnection, range_id: int) -> WithheldRange:
    """From now on it cannot be lifted: a job deletes it. Raises `UsageError` if it is lifted or still on air."""
    found = await _held(tx, range_id)
    if found.lifted_at is not None:
        raise UsageError("this part is shown again; withhold it first, then delete it for good")
    if (await recordings.get(tx, found.recording_id)).state is not RecordingState.FINISHED:
        raise UsageError("wait for the end of the broadcast; until then nobody gets this part anyway")
    if found.purge_asked_at is None:
        await tx.execute(update(_t).where(_t.c.id == range_id).values(purge_asked_at=await now(tx)))
    return await get(tx, range_id)


async def _held(tx: AsyncConnection, range_id: int) -> WithheldRange:
    """As it is and stays until `tx` ends. Raises `NotFoundError`."""
    await hold(tx, (await get(tx, range_id)).recording_id)
    return await get(tx, range_id)


async def hold(tx: AsyncConnection, recording_id: RecordingId) -> None:
    """Be the only one to change what may be shown of a recording, and which files it has, until `tx` ends."""
    if tx.dialect.name != "sqlite":
        table = tables.recording
        await tx.execute(select(table.c.id).where(table.c.id == recording_id).with_for_update(key_share=True))


async def announce(tx: AsyncConnection, recording_id: RecordingId) -> None:
    """Open pages read their lines anew, forget what is being said, and play something else."""
    await captioning.say(tx, recording_id, {"text": "", "lang": "", "certain": 0, "start_ms": 0})
    for interview_id in await interviews.ids_of_recording(tx, recording_id):
        await changes.publish(tx, "withheld", interview_id)


async def unsettled(connection: AsyncConnection) -> set[InterviewId]:
    """Interviews of which the search index may still hold words that are withheld by now."""
    outgoing, interview = tables.outbox, tables.interview
    waits = exists(select(outgoing.c.id).where(outgoing.c.id <= _t.c.outbox_id))
    statement = (
        select(interview.c.id)
        .join(_t, _t.c.recording_id == interview.c.recording_id)
        .where(tables.withholds, waits)
    )
    return {row.id for row in await connection.execute(statement)}


async def state(connection: AsyncConnection) -> tuple[int, int]:
    """Differs whenever something has been withheld or lifted: how many ranges there are, and were lifted."""
    row = (await connection.execute(select(func.count(), func.count(_t.c.lifted_at)).select_from(_t))).one()
    return row[0], row[1]


async def _load(connection: AsyncConnection, condition: Any) -> list[WithheldRange]:  # noqa: ANN401 - SQL
    user = tables.user
    statement = select(_t, user.c.name.label("user_name")).outerjoin(user, user.c.id == _t.c.user_id)
    rows = await connection.execute(statement.where(condition).order_by(_t.c.start_ms, _t.c.id))
    return [
        WithheldRange(
            id=row.id,
            recording_id=row.recording_id,
            stretch=Stretch(row.start_ms, row.end_ms),
            reason=row.reason,
            user=row.user_name,
            created_at=row.created_at,
            lifted_at=row.lifted_at,
            purge_asked_at=row.purge_asked_at,
            purged_at=row.purged_at,
            doomed=tuple(row.doomed),
        )
        for row in rows
    ]
