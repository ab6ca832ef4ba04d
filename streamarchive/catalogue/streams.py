"""Streams: sources to record, and the lease by which one recorder at a time owns each.

The epoch rises with every claim. What a recorder writes carries its epoch and is refused once somebody else
has claimed the stream (`require_epoch`), however late the loser notices.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import changes, tables
from streamarchive.catalogue.database import Database, now
from streamarchive.catalogue.watch import wake
from streamarchive.errors import FencedError, NotFoundError
from streamarchive.models import InterviewId, Stream, StreamId, StreamState

LEAD_IN = timedelta(seconds=60)
"""So long before its start a stream on a schedule is recorded."""
_LONGEST_LEASE = timedelta(minutes=1)
"""No recorder takes a stream for longer without renewing."""
_t = tables.stream
_UNENDED = (StreamState.SCHEDULED, StreamState.RECORDING)


async def create(
    tx: AsyncConnection,
    interview_id: InterviewId,
    url: str,
    *,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    lead_in: timedelta = timedelta(0),
    overruns: bool = False,
    exact_host_allowed: bool = False,
    token: str | None = None,
) -> StreamId:
    """Have this address recorded for the interview, from `starts_at` (default: now) to `ends_at` (or a stop).

    Recording begins `lead_in` earlier. One that `overruns` goes on past its end while the source delivers.
    `token` lets an encoder send to it (`may_send`); only its hash is kept.
    """
    starts_at = starts_at or await now(tx)
    statement = (
        insert(_t)
        .values(
            interview_id=interview_id,
            url=url,
            state=StreamState.SCHEDULED,
            begins_at=starts_at - lead_in,
            starts_at=starts_at,
            ends_at=ends_at,
            overruns=overruns,
            stop_requested=False,
            offered=False,
            exact_host_allowed=exact_host_allowed,
            token_sha256=_digest(token) if token else None,
            epoch=0,
        )
        .returning(_t.c.id)
    )
    stream_id = StreamId((await tx.execute(statement)).scalar_one())
    await changes.publish(tx, "interview", interview_id)
    return stream_id


async def get(connection: AsyncConnection, stream_id: StreamId) -> Stream:
    """Raises `NotFoundError`."""
    return await _one(connection, select(_t).where(_t.c.id == stream_id))


async def may_send(connection: AsyncConnection, stream_id: int, url: str, token: str) -> Stream:
    """The stream of this address that an encoder with this token may send to now.

    Raises `NotFoundError`: the same for a wrong token, and for a stream that has ended or never was.
    """
    statement = select(_t).where(
        _t.c.id == stream_id, _t.c.url == url, _t.c.state.in_(_UNENDED), _t.c.deleted_at.is_(None)
    )
    row = (await connection.execute(statement)).one_or_none()
    expected = (row.token_sha256 or "") if row else ""
    if row is None or not hmac.compare_digest(expected, _digest(token)):
        raise NotFoundError("there is no stream with this token; a stream that has ended takes no more")
    return _stream(row)


def _digest(token: str) -> str:
    """A token has more entropy than anybody can try out, so a plain hash will do."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


async def of_interview(connection: AsyncConnection, interview_id: InterviewId) -> list[Stream]:
    """The streams of an interview, newest first."""
    statement = select(_t).where(_t.c.interview_id == interview_id, _t.c.deleted_at.is_(None))
    return [_stream(row) for row in await connection.execute(statement.order_by(_t.c.id.desc()))]


async def of_recording(connection: AsyncConnection, recording_id: int) -> Stream | None:
    """The stream that this recording comes from; None for an upload."""
    row = (await connection.execute(select(_t).where(_t.c.recording_id == recording_id))).one_or_none()
    return _stream(row) if row else None


async def like(connection: AsyncConnection, pattern: str) -> list[Stream]:
    """The streams whose address matches an SQL pattern, newest first."""
    statement = select(_t).where(_t.c.url.like(pattern), _t.c.deleted_at.is_(None))
    return [_stream(row) for row in await connection.execute(statement.order_by(_t.c.id.desc()))]


async def move(tx: AsyncConnection, stream_id: StreamId, url: str) -> None:
    """The same source can be reached at another address now."""
    await tx.execute(update(_t).where(_t.c.id == stream_id).values(url=url))
    await wake(tx)


async def due(connection: AsyncConnection) -> list[Stream]:
    """Streams that somebody should be recording now and nobody is, longest waiting first."""
    moment = await now(connection)
    statement = select(_t).where(
        _t.c.state.in_(_UNENDED),
        _t.c.deleted_at.is_(None),
        or_(_t.c.begins_at <= moment, _t.c.state == StreamState.RECORDING),  # the clock may have been set back
        or_(_t.c.lease_until.is_(None), _t.c.lease_until < moment),
    )
    return [_stream(row) for row in await connection.execute(statement.order_by(_t.c.begins_at))]


async def leased(connection: AsyncConnection) -> list[Stream]:
    """Streams that a recorder holds."""
    statement = select(_t).where(_t.c.state.in_(_UNENDED), _t.c.owner.is_not(None))
    return [_stream(row) for row in await connection.execute(statement)]


async def next_start(connection: AsyncConnection) -> datetime | None:
    """When the next stream is to begin; None if none is scheduled."""
    statement = select(_t.c.begins_at).where(
        _t.c.state == StreamState.SCHEDULED, _t.c.deleted_at.is_(None), _t.c.begins_at > await now(connection)
    )
    found: datetime | None = (
        await connection.execute(statement.order_by(_t.c.begins_at).limit(1))
    ).scalar_one_or_none()
    return found


async def claim(database: Database, stream_id: StreamId, owner: str, lease: timedelta) -> Stream | None:
    """Become the only recorder of this stream until `lease` has passed; None if somebody else is."""
    async with database.write() as tx:
        moment = await now(tx)
        row = (
            await tx.execute(
                update(_t)
                .where(
                    _t.c.id == stream_id,
                    _t.c.state != StreamState.ENDED,
                    or_(_t.c.lease_until.is_(None), _t.c.lease_until < moment),
                )
                .values(
                    owner=owner,
                    epoch=_t.c.epoch + 1,
                    lease_until=moment + lease,
                    offered=False,
                    successor=None,
                )
                .returning(_t)
            )
        ).one_or_none()
    return _stream(row) if row else None


async def renew(database: Database, stream_id: StreamId, epoch: int, lease: timedelta) -> Stream:
    """Stay its recorder, and learn whether a stop was asked for. Raises `FencedError`."""
    async with database.write() as tx:
        row = (
            await tx.execute(
                update(_t)
                .where(_t.c.id == stream_id, _t.c.epoch == epoch)
                .values(lease_until=await now(tx) + lease)
                .returning(_t)
            )
        ).one_or_none()
    if row is None:
        raise FencedError(f"stream {stream_id} is recorded by another process now")
    return _stream(row)


async def release(database: Database, stream_id: StreamId, epoch: int) -> None:
    """Let somebody else claim it at once; nothing happens if somebody already has."""
    async with database.write() as tx:
        await tx.execute(
            update(_t).where(_t.c.id == stream_id, _t.c.epoch == epoch).values(lease_until=None, owner=None)
        )
        await wake(tx)


async def clock_set_back(tx: AsyncConnection) -> int:
    """Let no lease last for hours because the clock has been set back by hours; how many that concerned.

    A recorder that lives renews its lease long before the one that it gets here is over.
    """
    moment = await now(tx)
    ahead = _t.c.lease_until > moment + 2 * _LONGEST_LEASE
    done = await tx.execute(update(_t).where(ahead).values(lease_until=moment + _LONGEST_LEASE))
    if done.rowcount:
        await wake(tx)
    return done.rowcount


async def offer(database: Database, stream_id: StreamId, epoch: int, lease: timedelta) -> None:
    """Its recorder is about to stop: another one may get ready. Raises `FencedError`."""
    await _change(database, stream_id, epoch, {"offered": True}, lease)


async def stand_by(database: Database, stream_id: StreamId, owner: str) -> bool:
    """Be the one to whom an offered stream is given; False if it is not on offer any more."""
    async with database.write() as tx:
        done = await tx.execute(
            update(_t).where(_t.c.id == stream_id, _t.c.offered, _t.c.successor.is_(None)).values(successor=owner)
        )
        await wake(tx)
    return done.rowcount > 0


async def hand_over(database: Database, stream: Stream, lease: timedelta) -> None:
    """Give a stream to the recorder that stands by, at once. Raises `FencedError`."""
    given = {"owner": stream.successor, "epoch": _t.c.epoch + 1, "offered": False, "successor": None}
    await _change(database, stream.id, stream.epoch, given, lease)


async def _change(
    database: Database, stream_id: StreamId, epoch: int, values: Mapping[str, object], lease: timedelta
) -> None:
    """Change a stream of ours, renew its lease and wake whoever waits for it. Raises `FencedError`."""
    async with database.write() as tx:
        done = await tx.execute(
            update(_t)
            .where(_t.c.id == stream_id, _t.c.epoch == epoch)
            .values(lease_until=await now(tx) + lease, **values)
        )
        if done.rowcount == 0:
            raise FencedError(f"stream {stream_id} is recorded by another process now")
        await wake(tx)


async def before(connection: AsyncConnection, stream: Stream) -> Stream | None:
    """Who has the same source and no later end: `stream` continues that recording."""
    statement = select(_t).where(
        _t.c.url == stream.url,
        _t.c.token_sha256.is_(None),  # each encoder is a source of its own
        _t.c.id != stream.id,
        or_(
            _t.c.state == StreamState.RECORDING,
            and_(_t.c.state == StreamState.SCHEDULED, _t.c.owner.is_not(None)),
        ),
        _t.c.deleted_at.is_(None),
        _t.c.stop_requested.is_(False),
        or_(_t.c.ends_at.is_(None), and_(_t.c.overruns, _t.c.ends_at <= stream.starts_at)),
    )
    row = (await connection.execute(statement.order_by(_t.c.id.desc()).limit(1))).one_or_none()
    return _stream(row) if row else None


async def require_epoch(tx: AsyncConnection, stream_id: StreamId, epoch: int) -> Stream:
    """The stream, if this epoch still owns it; nobody can claim it before `tx` ends. Raises `FencedError`."""
    statement = select(_t).where(_t.c.id == stream_id, _t.c.epoch == epoch)
    if tx.dialect.name != "sqlite":
        # The lock that an update of the row takes: a weaker one, raised later, is what deadlocks are made of.
        statement = statement.with_for_update(key_share=True)
    row = (await tx.execute(statement)).one_or_none()
    if row is None:
        raise FencedError(f"stream {stream_id} is recorded by another process now")
    return _stream(row)


async def set_error(tx: AsyncConnection, stream: Stream, error: str | None) -> None:
    """Why nothing comes at the moment, in a sentence; None once it does."""
    await tx.execute(update(_t).where(_t.c.id == stream.id, _t.c.epoch == stream.epoch).values(last_error=error))
    await changes.publish(tx, "interview", stream.interview_id)


async def request_stop(tx: AsyncConnection, stream_id: StreamId) -> None:
    """End the recording as soon as its recorder sees this (or never begin it)."""
    row = (
        await tx.execute(
            update(_t).where(_t.c.id == stream_id).values(stop_requested=True).returning(_t.c.interview_id)
        )
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no stream {stream_id}")
    await changes.publish(tx, "interview", row.interview_id)


async def end(tx: AsyncConnection, stream: Stream) -> None:
    """Nothing more will be recorded from it."""
    done = await tx.execute(
        update(_t)
        .where(and_(_t.c.id == stream.id, _t.c.epoch == stream.epoch))
        .values(state=StreamState.ENDED, owner=None, lease_until=None, offered=False, successor=None)
    )
    if done.rowcount == 0:
        raise FencedError(f"stream {stream.id} is recorded by another process now")
    await changes.publish(tx, "interview", stream.interview_id)


async def _one(connection: AsyncConnection, statement: Select[Any]) -> Stream:
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        raise NotFoundError("there is no such stream")
    return _stream(row)


def _stream(row: Any) -> Stream:  # noqa: ANN401 - a result row
    return Stream(
        id=row.id,
        interview_id=row.interview_id,
        url=row.url,
        state=StreamState(row.state),
        begins_at=row.begins_at,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        overruns=row.overruns,
        stop_requested=row.stop_requested,
        recording_id=row.recording_id,
        owner=row.owner,
        epoch=row.epoch,
        lease_until=row.lease_until,
        last_error=row.last_error,
        exact_host_allowed=row.exact_host_allowed,
        token_sha256=row.token_sha256,
        offered=row.offered,
        successor=row.successor,
    )
