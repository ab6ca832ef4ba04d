"""The files of recordings: what was handed in, and what the finaliser has made.

Keys of the media store stand in two tables, this one and that of media segments, and one may stand in several
rows: the file for which segments have been let go is the original from then on as well.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import changes, interviews, recordings, tables
from streamarchive.catalogue.database import now
from streamarchive.models import Asset, AssetKind, RecordingId, Stretch
from streamarchive.protocols import StoredObject


async def put(
    tx: AsyncConnection,
    recording_id: RecordingId,
    kind: AssetKind,
    stored: StoredObject,
    media_type: str,
    made_from: str,
    shows: Sequence[Stretch] | None = None,
    *,
    details: Mapping[str, Any] | None = None,
    verified: bool = False,
) -> str | None:
    """Make this the recording's file of its kind; the key of the one it replaces, to be deleted afterwards.

    None if there was none, or if its key goes on being used. `shows` is what of the recording is in it; all of it
    if that is not said.
    """
    table = tables.asset
    moment = await now(tx)
    if shows is None:
        shows = (Stretch(0, (await recordings.get(tx, recording_id)).duration_ms),)
    row = (
        await tx.execute(
            delete(table).where(table.c.recording_id == recording_id, table.c.kind == kind).returning(table.c.key)
        )
    ).one_or_none()
    await tx.execute(
        insert(table).values(
            recording_id=recording_id,
            kind=kind,
            key=stored.key,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            media_type=media_type,
            made_from=made_from,
            created_at=moment,
            details=dict(details or {}),
            verified_at=moment if verified else None,
            shows=[[stretch.start_ms, stretch.end_ms] for stretch in shows],
        )
    )
    for interview_id in await interviews.ids_of_recording(tx, recording_id):
        await changes.publish(tx, "asset", interview_id, {"kind": kind})
    return row.key if row is not None and not await known(tx, [row.key]) else None


async def of_recording(connection: AsyncConnection, recording_id: RecordingId) -> dict[AssetKind, Asset]:
    """The files made from it."""
    return (await of_recordings(connection, [recording_id])).get(recording_id, {})


async def of_recordings(
    connection: AsyncConnection, ids: Collection[RecordingId]
) -> dict[RecordingId, dict[AssetKind, Asset]]:
    """The files made from each of these recordings that has any."""
    table = tables.asset
    found: dict[RecordingId, dict[AssetKind, Asset]] = {}
    for row in await connection.execute(select(table).where(table.c.recording_id.in_(ids))):
        kind = AssetKind(row.kind)
        found.setdefault(row.recording_id, {})[kind] = Asset(
            recording_id=row.recording_id,
            kind=kind,
            key=row.key,
            size_bytes=row.size_bytes,
            media_type=row.media_type,
            shows=tuple(Stretch(*pair) for pair in row.shows),
            sha256=row.sha256,
            details=row.details or {},
            verified=row.verified_at is not None,
        )
    return found


async def made_from(connection: AsyncConnection, recording_id: RecordingId) -> dict[AssetKind, str]:
    """What each of its files was made from: the same source need not be used again."""
    table = tables.asset
    rows = await connection.execute(
        select(table.c.kind, table.c.made_from).where(table.c.recording_id == recording_id)
    )
    return {AssetKind(row.kind): row.made_from for row in rows}


async def known(connection: AsyncConnection, keys: Collection[str]) -> set[str]:
    """Those of these keys of the media store that belong to an asset or a kept media segment."""
    segment, asset = tables.media_segment.c, tables.asset.c
    kept = select(segment.key).where(segment.key.in_(keys), segment.deleted_at.is_(None))
    rows = await connection.execute(kept.union(select(asset.key).where(asset.key.in_(keys))))
    return set(rows.scalars())


async def size_bytes(connection: AsyncConnection) -> int:
    """How much the media store should hold."""
    segment, asset = tables.media_segment.c, tables.asset.c
    segments = select(func.coalesce(func.sum(segment.size_bytes), 0)).where(segment.deleted_at.is_(None))
    files = select(func.coalesce(func.sum(asset.size_bytes), 0))
    return sum([int((await connection.execute(each)).scalar_one()) for each in (segments, files)])


async def forget(tx: AsyncConnection, recording_id: RecordingId, keys: Collection[str]) -> None:
    """These files that were made are lost. The others count as made of something else from now on.

    So the finaliser makes them all again, and what is there of them is used until then.
    """
    table = tables.asset
    mine = (table.c.recording_id == recording_id, table.c.kind != AssetKind.ORIGINAL)
    await tx.execute(delete(table).where(*mine, table.c.key.in_(keys)))
    await tx.execute(update(table).where(*mine).values(made_from=""))
