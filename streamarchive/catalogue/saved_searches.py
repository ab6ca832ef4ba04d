"""Searches that people have watched, the cues still to be compared with them, and what was found.

`note` runs in the transaction that makes or changes cues, so no cue is missed whatever dies; a row of `new_cue`
goes in the transaction that writes what was found. A hit is unique by search and cue.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import tables
from streamarchive.catalogue.database import now
from streamarchive.catalogue.watch import wake
from streamarchive.errors import NotFoundError, UsageError
from streamarchive.models import CueId, InterviewId, RecordingId, Role

MOST, MOST_OF_ONE = 1_000, 50
"""How many searches are watched at most: of everybody together, of one person."""
SECRET_PREFIX = "whsec_"  # noqa: S105 - how Standard Webhooks writes secrets, not one
_SECRET_BYTES = 32
_SAME_MOMENT_MS = 3_000
"""A later pass moves a line by no more than this."""

_t, _hit, _new = tables.saved_search, tables.saved_search_hit, tables.new_cue


@dataclass(frozen=True, slots=True)
class SavedSearch:
    """A query that `user_id` has watched. `role` is what its owner is now."""

    id: int
    user_id: int
    role: Role
    query: str
    webhook_url: str | None
    secret: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewHit:
    """A search was met from `start_ms` to `end_ms` of a recording, in an interview that its owner may find."""

    saved_search_id: int
    cue_id: CueId
    interview_id: InterviewId
    recording_id: RecordingId
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Hit(NewHit):
    """What is kept of it. Its words are read again whenever they are shown."""

    id: int
    at: datetime
    sent_at: datetime | None
    seen_at: datetime | None


async def add(tx: AsyncConnection, user_id: int, query: str, webhook_url: str | None) -> int:
    """Watch a query from now on. Raises `UsageError` where there are too many, or the same one twice."""
    if tx.dialect.name != "sqlite":  # or two at once could both be the last that fits
        await tx.execute(select(tables.user.c.id).where(tables.user.c.id == user_id).with_for_update())
    rows = (await tx.execute(select(_t.c.user_id, _t.c.query, _t.c.webhook_url).where(_current()))).all()
    own = [row for row in rows if row.user_id == user_id]
    if (query, webhook_url) in {(row.query, row.webhook_url) for row in own}:
        raise UsageError("you have this search watched already")
    if len(own) >= MOST_OF_ONE or len(rows) >= MOST:
        raise UsageError(
            f"no more than {MOST_OF_ONE} searches of one person and {MOST} of all are watched; remove one first"
        )
    values = {
        "user_id": user_id,
        "query": query,
        "webhook_url": webhook_url,
        "secret": SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode(),
        "created_at": await now(tx),
    }
    return int((await tx.execute(insert(_t).values(**values).returning(_t.c.id))).scalar_one())


async def remove(tx: AsyncConnection, user_id: int, saved_search_id: int) -> None:
    """Watch it no longer. Raises `NotFoundError`, also for somebody else's."""
    mine = (_t.c.id == saved_search_id) & (_t.c.user_id == user_id) & _current()
    done = await tx.execute(update(_t).where(mine).values(deleted_at=await now(tx)))
    if done.rowcount == 0:
        raise NotFoundError(f"there is no saved search {saved_search_id}")


async def of_user(connection: AsyncConnection, user_id: int) -> list[SavedSearch]:
    """What this person has watched, the newest first."""
    rows = await connection.execute(_select().where(_t.c.user_id == user_id).order_by(_t.c.id.desc()))
    return [_saved_search(row) for row in rows]


async def watched(connection: AsyncConnection) -> list[SavedSearch]:
    """What is watched for anybody who may still sign in."""
    return [_saved_search(row) for row in await connection.execute(_select().order_by(_t.c.id))]


async def get(connection: AsyncConnection, saved_search_id: int) -> SavedSearch:
    """Raises `NotFoundError` when it is removed, or its owner is."""
    row = (await connection.execute(_select().where(_t.c.id == saved_search_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no saved search {saved_search_id} any more")
    return _saved_search(row)


# --- what is still to be compared ---------------------------------------------------------------------------


async def note(tx: AsyncConnection, cue_ids: Collection[CueId]) -> None:
    """These cues are new, or say something new."""
    if not cue_ids or (await tx.execute(select(_t.c.id).where(_current()).limit(1))).first() is None:
        return
    moment = await now(tx)
    await tx.execute(insert(_new), [{"cue_id": cue_id, "at": moment} for cue_id in cue_ids])
    await wake(tx)


@dataclass(frozen=True, slots=True)
class Batch:
    """The oldest cues not yet compared: delete exactly these rows with what was found."""

    row_ids: tuple[int, ...]
    cue_ids: tuple[CueId, ...]


async def oldest(connection: AsyncConnection, limit: int = 500) -> Batch:
    """The cues that have waited longest."""
    rows = (await connection.execute(select(_new).order_by(_new.c.id).limit(limit))).all()
    return Batch(tuple(row.id for row in rows), tuple(dict.fromkeys(CueId(row.cue_id) for row in rows)))


async def compared(tx: AsyncConnection, batch: Batch) -> None:
    """This batch is done."""
    await tx.execute(delete(_new).where(_new.c.id.in_(batch.row_ids)))


# --- what was found -----------------------------------------------------------------------------------------


async def tell(tx: AsyncConnection, found: Sequence[NewHit]) -> list[Hit]:
    """Keep what nobody was told yet, and only that: once for a cue, and once for what a later pass says again."""
    if not found:
        return []
    if tx.dialect.name != "sqlite":  # one writer at a time, or a hit would come to light below one that was seen
        await tx.execute(text(f"LOCK TABLE {_hit.name} IN SHARE ROW EXCLUSIVE MODE"))
    known = await _told(tx, found)
    moment, kept = await now(tx), []
    make = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    for hit in found:
        if any(_same_moment(hit, row) for row in known):
            continue
        values = {name: getattr(hit, name) for name in NewHit.__slots__}
        statement = make(_hit).values(at=moment, **values).on_conflict_do_nothing().returning(_hit)
        row = (await tx.execute(statement)).one_or_none()
        if row is not None:
            kept.append(_as_hit(row))
    return kept


async def _told(tx: AsyncConnection, found: Iterable[NewHit]) -> Sequence[Any]:
    """Hits in the same recordings whose cues are gone: what a later pass has replaced."""
    statement = (
        select(_hit.c.saved_search_id, _hit.c.recording_id, _hit.c.start_ms, _hit.c.end_ms)
        .join(tables.cue, tables.cue.c.id == _hit.c.cue_id)
        .where(_hit.c.recording_id.in_({hit.recording_id for hit in found}), tables.cue.c.deleted_at.is_not(None))
    )
    return (await tx.execute(statement)).all()


def _same_moment(hit: NewHit, told: Any) -> bool:  # noqa: ANN401 - a result row
    return (
        (hit.saved_search_id, hit.recording_id) == (told.saved_search_id, told.recording_id)
        and hit.start_ms < told.end_ms + _SAME_MOMENT_MS
        and hit.end_ms > told.start_ms - _SAME_MOMENT_MS
    )


async def hit(connection: AsyncConnection, hit_id: int) -> Hit:
    """Raises `NotFoundError`."""
    row = (await connection.execute(select(_hit).where(_hit.c.id == hit_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no hit {hit_id}")
    return _as_hit(row)


async def hits(
    connection: AsyncConnection, user_id: int, *, unseen_within: timedelta | None = None, limit: int = 50
) -> list[Hit]:
    """What was found for this person, newest first; of the last `unseen_within` only what they have not seen."""
    statement = select(_hit).join(_t).where(_t.c.user_id == user_id, _current())
    if unseen_within is not None:
        since = await now(connection) - unseen_within
        statement = statement.where(_hit.c.seen_at.is_(None), _hit.c.at > since)
    return [_as_hit(row) for row in await connection.execute(statement.order_by(_hit.c.id.desc()).limit(limit))]


async def see(tx: AsyncConnection, user_id: int, up_to: int) -> None:
    """The person has seen their hits up to this one."""
    own = select(_t.c.id).where(_t.c.user_id == user_id)
    mine = _hit.c.saved_search_id.in_(own) & (_hit.c.id <= up_to) & _hit.c.seen_at.is_(None)
    await tx.execute(update(_hit).where(mine).values(seen_at=await now(tx)))


async def sent(tx: AsyncConnection, hit_id: int) -> None:
    """The webhook has taken it."""
    await tx.execute(update(_hit).where(_hit.c.id == hit_id).values(sent_at=await now(tx)))


def _current() -> Any:  # noqa: ANN401 - SQL
    return _t.c.deleted_at.is_(None)


def _select() -> Select[Any]:
    user = tables.user
    owner = (user.c.id == _t.c.user_id) & user.c.deleted_at.is_(None)
    return select(_t, user.c.role).join(user, owner).where(_current())


def _saved_search(row: Any) -> SavedSearch:  # noqa: ANN401 - a result row
    return SavedSearch(
        row.id, row.user_id, Role(row.role), row.query, row.webhook_url, row.secret, row.created_at
    )


def _as_hit(row: Any) -> Hit:  # noqa: ANN401 - a result row
    return Hit(
        id=row.id,
        saved_search_id=row.saved_search_id,
        cue_id=row.cue_id,
        interview_id=row.interview_id,
        recording_id=row.recording_id,
        start_ms=row.start_ms,
        end_ms=row.end_ms,
        at=row.at,
        sent_at=row.sent_at,
        seen_at=row.seen_at,
    )
