"""Interviews, and who may see them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    exists,
    func,
    insert,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import changes, outbox, people, tables
from streamarchive.catalogue.database import now
from streamarchive.clock import TICKS_PER_MS
from streamarchive.errors import NotFoundError, UsageError
from streamarchive.models import (
    Event,
    Interview,
    InterviewId,
    Person,
    RecordingId,
    RecordingState,
    Role,
    Script,
    Stage,
    Stretch,
    Visibility,
    new_interview_id,
)

_t = tables.interview


async def create(
    tx: AsyncConnection,
    *,
    titles: Mapping[str, str],
    descriptions: Mapping[str, str] | None = None,
    languages: Sequence[str] = (),
    visibility: Visibility = Visibility.DRAFT,
    held_at: datetime | None = None,
    event: Mapping[str, str] | None = None,
    guests: Sequence[people.Guest] = (),
) -> InterviewId:
    """A new interview without media. Titles are per language; the slug comes from the first."""
    interview_id, moment = new_interview_id(), await now(tx)
    await tx.execute(
        insert(_t).values(
            id=interview_id,
            slug=slugify(titles),
            titles=dict(titles),
            descriptions=dict(descriptions or {}),
            languages=list(languages),
            visibility=visibility,
            held_at=held_at or moment,
            event_id=await people.event_id(tx, event) if event else None,
            version=1,
            created_at=moment,
            updated_at=moment,
        )
    )
    await people.set_guests(tx, interview_id, guests)
    await outbox.put_interview(tx, interview_id)
    await changes.publish(tx, "interview", interview_id)
    return interview_id


async def describe(
    tx: AsyncConnection,
    interview_id: InterviewId,
    *,
    titles: Mapping[str, str],
    descriptions: Mapping[str, str],
    languages: Sequence[str],
    held_at: datetime,
    event: Mapping[str, str] | None,
    guests: Sequence[people.Guest],
) -> None:
    """Say everything anew that people say about an interview. Old addresses go on working."""
    await hold(tx, interview_id)
    await people.set_guests(tx, interview_id, guests)
    await _update(
        tx,
        interview_id,
        titles=dict(titles),
        slug=slugify(titles),
        descriptions=dict(descriptions),
        languages=list(languages),
        held_at=held_at,
        event_id=await people.event_id(tx, event) if event else None,
    )
    recording_id = (await get(tx, interview_id)).recording_id
    if recording_id is not None:
        await outbox.put_recording(tx, recording_id)  # its cues' documents carry the date


async def hold(tx: AsyncConnection, interview_id: str) -> None:
    """Be the only one to change this interview until `tx` ends. Whoever decides by what it is calls it first."""
    if tx.dialect.name != "sqlite":
        await tx.execute(select(_t.c.id).where(_t.c.id == interview_id).with_for_update(key_share=True))


async def cut(tx: AsyncConnection, interview_id: InterviewId, in_ms: int | None, out_ms: int | None) -> None:
    """Show the recording from `in_ms` to `out_ms` of the media clock, which the cut never shifts."""
    if in_ms is not None and out_ms is not None and out_ms <= in_ms:
        raise UsageError("the out point has to come after the in point")
    await _update(tx, interview_id, in_ms=in_ms, out_ms=out_ms)
    await changes.publish(tx, "cues", interview_id, {"whole": True})
    recording_id = (await get(tx, interview_id)).recording_id
    if recording_id is not None:
        await outbox.put_recording(tx, recording_id)


async def attach(tx: AsyncConnection, interview_id: InterviewId, recording_id: RecordingId) -> None:
    """Make this the recording that the interview shows, instead of another if it has one."""
    await hold(tx, interview_id)
    before = (await get(tx, interview_id)).recording_id
    await _update(tx, interview_id, recording_id=recording_id)
    # By id: two who exchange theirs would deadlock.
    for touched in sorted({recording_id, before or recording_id}):
        await outbox.put_recording(tx, touched)
    if before is not None and before != recording_id:
        await outbox.put_left(tx, interview_id, before)
        await changes.publish(tx, "cues", interview_id, {"whole": True})


async def set_visibility(tx: AsyncConnection, interview_id: InterviewId, visibility: Visibility) -> None:
    """Show or hide; effective everywhere as soon as `tx` is committed."""
    await _update(tx, interview_id, visibility=visibility)


async def set_transcribing(
    tx: AsyncConnection, interview_id: InterviewId, script: Script, *, person_per_channel: bool
) -> None:
    """How its recording is to be transcribed from now on."""
    await _update(tx, interview_id, script=script, person_per_channel=person_per_channel)


async def set_titles(tx: AsyncConnection, interview_id: InterviewId, titles: Mapping[str, str]) -> None:
    """Rename; the old address goes on working."""
    await _update(tx, interview_id, titles=dict(titles), slug=slugify(titles))


async def _update(tx: AsyncConnection, interview_id: InterviewId, **values: Any) -> None:  # noqa: ANN401
    done = await tx.execute(
        update(_t)
        .where(_t.c.id == interview_id)
        .values(version=_t.c.version + 1, updated_at=await now(tx), **values)
    )
    if done.rowcount == 0:
        raise NotFoundError(f"there is no interview {interview_id}")
    await outbox.put_interview(tx, interview_id)
    await changes.publish(tx, "interview", interview_id)


async def get(connection: AsyncConnection, interview_id: str) -> Interview:
    """The interview, whatever its visibility. Raises `NotFoundError`."""
    found = await _load(connection, select(_t).where(_t.c.id == interview_id))
    if not found:
        raise NotFoundError(f"there is no interview {interview_id}")
    return found[0]


async def by_ids(connection: AsyncConnection, ids: Collection[InterviewId]) -> dict[InterviewId, Interview]:
    """Those of them that exist, whatever their visibility."""
    found = await _load(connection, select(_t).where(_t.c.id.in_(ids)))
    return {interview.id: interview for interview in found}


async def find(connection: AsyncConnection, reference: str) -> Interview:
    """By id, by `id-slug`, by address or by slug; the newest of that slug. Raises `NotFoundError`."""
    reference = re.split("[?#]", reference, maxsplit=1)[0].rstrip("/").rsplit("/", 1)[-1]
    named = _t.c.id == reference.split("-", 1)[0]
    statement = select(_t).where(named | (_t.c.slug == reference))
    found = await _load(connection, statement.order_by(named.desc(), _t.c.created_at.desc()).limit(1))
    if not found:
        raise NotFoundError(f"there is no interview {reference!r}; `streamarchive search` shows what there is")
    return found[0]


async def latest(
    connection: AsyncConnection, role: Role = Role.VIEWER, limit: int = 50, offset: int = 0
) -> list[Interview]:
    """What this role finds in lists, newest first."""
    statement = select(_t).where(_listed(role)).order_by(_t.c.held_at.desc(), _t.c.id)
    return await _load(connection, statement.limit(limit).offset(offset))


async def on_air(connection: AsyncConnection, role: Role = Role.VIEWER) -> list[Interview]:
    """What is being recorded, of what this role finds in lists; the newest first."""
    statement = select(_t).where(_listed(role), tables.recording.c.state == RecordingState.OPEN, ~_is_past())
    return await _load(connection, statement.order_by(_t.c.held_at.desc(), _t.c.id))


async def upcoming(
    connection: AsyncConnection, since: datetime, role: Role = Role.VIEWER, limit: int = 50
) -> list[Interview]:
    """What has no recording yet and begins after `since`, the soonest first."""
    statement = select(_t).where(_listed(role), _t.c.recording_id.is_(None), _t.c.held_at > since)
    return await _load(connection, statement.order_by(_t.c.held_at, _t.c.id).limit(limit))


async def unrecorded(connection: AsyncConnection, role: Role, limit: int = 50) -> list[Interview]:
    """What has no recording, the one to be held last first."""
    statement = select(_t).where(_listed(role), _t.c.recording_id.is_(None))
    return await _load(connection, statement.order_by(_t.c.held_at.desc(), _t.c.id).limit(limit))


async def archived(
    connection: AsyncConnection, role: Role = Role.VIEWER, limit: int = 50, offset: int = 0
) -> list[Interview]:
    """What has been recorded to its end, the newest first."""
    recorded = or_(tables.recording.c.state == RecordingState.FINISHED, _is_past())
    statement = select(_t).where(_listed(role), recorded)
    ordered = statement.order_by(_t.c.held_at.desc(), _t.c.id)
    return await _load(connection, ordered.limit(limit).offset(offset))


async def trashed(connection: AsyncConnection, limit: int = 50, offset: int = 0) -> list[Interview]:
    """What is in the trash, latest first."""
    statement = select(_t).where(_t.c.visibility == Visibility.TRASHED).order_by(_t.c.updated_at.desc(), _t.c.id)
    return await _load(connection, statement.limit(limit).offset(offset))


async def of_recording(connection: AsyncConnection, recording_id: RecordingId) -> list[Interview]:
    """The interviews that show this recording."""
    return await _load(connection, select(_t).where(_t.c.recording_id == recording_id))


async def ids_of_recording(connection: AsyncConnection, recording_id: RecordingId) -> list[InterviewId]:
    """Their ids alone: whom a change of this recording concerns."""
    rows = await connection.execute(select(_t.c.id).where(_t.c.recording_id == recording_id).order_by(_t.c.id))
    return [row.id for row in rows]


async def all_ids(connection: AsyncConnection) -> list[InterviewId]:
    """Every interview there is, for rebuilding the index."""
    return [row.id for row in await connection.execute(select(_t.c.id).order_by(_t.c.id))]


async def hidden_from(connection: AsyncConnection, role: Role) -> set[InterviewId]:
    """The interviews that search must not show this role."""
    rows = await connection.execute(select(_t.c.id).where(~_listed(role)))
    return {row.id for row in rows}


async def held(
    connection: AsyncConnection,
    *,
    event_ids: Collection[int] | None = None,
    years: Collection[int] = (),
    after: date | None = None,
    before: date | None = None,
) -> set[InterviewId]:
    """The interviews of these events (None: of any or none) held in these years (UTC) and between these days."""
    conditions: list[ColumnElement[bool]] = []
    if event_ids is not None:
        conditions.append(_t.c.event_id.in_(event_ids))
    if years:
        conditions.append(or_(*(_between(date(year, 1, 1), _next_year(year)) for year in years)))
    conditions.append(_between(after, before))
    return {row.id for row in await connection.execute(select(_t.c.id).where(*conditions))}


def _next_year(year: int) -> date | None:
    return date(year + 1, 1, 1) if year < date.max.year else None


def _between(first: date | None, end: date | None) -> ColumnElement[bool]:
    bounds: list[ColumnElement[bool]] = [true()]
    if first is not None:
        bounds.append(_t.c.held_at >= datetime.combine(first, time(), UTC))
    if end is not None:
        bounds.append(_t.c.held_at < datetime.combine(end, time(), UTC))
    return and_(*bounds)


async def event_and_date(
    connection: AsyncConnection, ids: Collection[InterviewId]
) -> dict[InterviewId, tuple[int | None, datetime]]:
    """The event's id, if there is one, and when each is held."""
    rows = await connection.execute(select(_t.c.id, _t.c.event_id, _t.c.held_at).where(_t.c.id.in_(ids)))
    return {row.id: (row.event_id, row.held_at) for row in rows}


async def guest_names(connection: AsyncConnection, role: Role) -> set[str]:
    """The names, in every language, of the guests of the interviews that this role may find."""
    guest, person = tables.interview_guest, tables.person
    rows = await connection.execute(
        select(person.c.names)
        .join(guest, guest.c.person_id == person.c.id)
        .join(_t, _t.c.id == guest.c.interview_id)
        .where(_listed(role))
    )
    return {name for row in rows for name in row.names.values() if name}


async def state(connection: AsyncConnection) -> tuple[int, int]:
    """Differs whenever an interview is new or has changed: how many there are, and their versions in sum."""
    row = (await connection.execute(select(func.count(), func.sum(_t.c.version)).select_from(_t))).one()
    return row[0], int(row[1] or 0)


def may_see(interview: Interview, role: Role) -> bool:
    """Whether somebody of this role who knows the address may open it, with everything that belongs to it."""
    match interview.visibility:
        case Visibility.PUBLIC | Visibility.UNLISTED:
            return True
        case Visibility.DRAFT:
            return role is not Role.VIEWER
        case Visibility.TRASHED:
            return role in (Role.PRODUCER, Role.ADMIN)


def may_find(interview: Interview, role: Role) -> bool:
    """Whether it stands in lists and results for this role: the same as `_listed`, of one that is known."""
    if role is Role.VIEWER:
        return interview.visibility is Visibility.PUBLIC
    return interview.visibility is not Visibility.TRASHED


def _listed(role: Role) -> ColumnElement[bool]:
    if role is Role.VIEWER:
        return _t.c.visibility == Visibility.PUBLIC
    return _t.c.visibility != Visibility.TRASHED


def _is_past() -> ColumnElement[bool]:
    """Whether a recording has gone past the interview's out point: it goes on for another one."""
    return and_(_t.c.out_ms.is_not(None), _t.c.out_ms * TICKS_PER_MS <= tables.recording.c.duration_ticks)


async def versions(connection: AsyncConnection, ids: Collection[InterviewId]) -> dict[InterviewId, int]:
    """The versions of their documents."""
    rows = await connection.execute(select(_t.c.id, _t.c.version).where(_t.c.id.in_(ids)))
    return {row.id: row.version for row in rows}


def slugify(titles: Mapping[str, str]) -> str:
    """The readable part of an address: Latin letters and digits as they are, Han characters kept."""
    title = next((t for t in titles.values() if t.strip()), "")
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", title).casefold())
    return "-".join(words)[:80].rstrip("-")


# --- loading ------------------------------------------------------------------------------------------------


async def _load(connection: AsyncConnection, statement: Select[Any]) -> list[Interview]:
    event, recording = tables.event, tables.recording
    job = tables.job
    rows = (
        await connection.execute(
            statement.add_columns(
                event.c.names.label("event_names"),
                recording.c.state.label("recording_state"),
                _is_past().label("past"),
                exists(
                    select(job.c.id).where(
                        job.c.recording_id == _t.c.recording_id,
                        job.c.state.in_(["queued", "running"]),
                        job.c.kind != "translate",
                    )
                ).label("busy"),
            )
            .outerjoin(event, event.c.id == _t.c.event_id)
            .outerjoin(recording, recording.c.id == _t.c.recording_id)
        )
    ).all()
    guests = await people.guests_of(connection, [row.id for row in rows])
    withheld = await _withheld(connection, {row.recording_id for row in rows if row.recording_id is not None})
    return [_interview(row, guests.get(row.id, ()), withheld.get(row.recording_id, ())) for row in rows]


async def _withheld(
    connection: AsyncConnection, recording_ids: Collection[int]
) -> dict[int | None, tuple[Stretch, ...]]:
    """What is withheld of each of these recordings, and has been neither lifted nor purged."""
    table = tables.withheld_range
    if not recording_ids:
        return {}
    rows = await connection.execute(
        select(table).where(table.c.recording_id.in_(recording_ids), tables.withholds).order_by(table.c.start_ms)
    )
    found: dict[int | None, tuple[Stretch, ...]] = {}
    for row in rows:
        found[row.recording_id] = (*found.get(row.recording_id, ()), Stretch(row.start_ms, row.end_ms))
    return found


def _stage(row: Any) -> Stage:  # noqa: ANN401 - a result row
    if row.recording_state is None:
        return Stage.SCHEDULED
    if row.recording_state == RecordingState.OPEN and not row.past:
        return Stage.LIVE
    if row.recording_state == RecordingState.OPEN or row.busy:
        return Stage.PROCESSING
    return Stage.READY


def _interview(
    row: Any,  # noqa: ANN401 - a result row
    guests: tuple[Person, ...],
    withheld: tuple[Stretch, ...],
) -> Interview:
    return Interview(
        id=row.id,
        slug=row.slug,
        titles=row.titles,
        descriptions=row.descriptions,
        languages=tuple(row.languages),
        visibility=Visibility(row.visibility),
        stage=_stage(row),
        held_at=row.held_at,
        event=Event(row.event_id, row.event_names) if row.event_id is not None else None,
        guests=guests,
        recording_id=row.recording_id,
        in_ms=row.in_ms,
        out_ms=row.out_ms,
        created_at=row.created_at,
        updated_at=row.updated_at,
        script=Script(row.script),
        person_per_channel=row.person_per_channel,
        withheld=withheld,
    )
