"""Files that people hand in, from their first byte to the recording they become.

The bytes lie in a folder of their own until then, under a name that is made from the row's id: what the owner
calls the file is only shown.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import changes, tables
from streamarchive.catalogue.database import now
from streamarchive.errors import ConflictError, NotFoundError
from streamarchive.models import InterviewId, RecordingId, Upload, UploadId, UploadState

_t = tables.upload
ABANDONED = timedelta(minutes=5)
"""A file of which nothing has arrived for so long does not arrive any more."""


async def begin(
    tx: AsyncConnection, interview_id: InterviewId, user_id: int | None, file_name: str, size_bytes: int | None
) -> UploadId:
    """The first bytes of a file are here; `size_bytes` is what was announced."""
    moment = await now(tx)
    statement = insert(_t).values(
        interview_id=interview_id,
        user_id=user_id,
        file_name=file_name,
        size_bytes=size_bytes,
        offset_bytes=0,
        state=UploadState.RECEIVING,
        created_at=moment,
        updated_at=moment,
    )
    upload_id = UploadId((await tx.execute(statement.returning(_t.c.id))).scalar_one())
    await changes.publish(tx, "upload", interview_id)
    return upload_id


async def imported(
    tx: AsyncConnection, interview_id: InterviewId, file_name: str, size_bytes: int, recording_id: RecordingId
) -> None:
    """A file that came by the command line, so that its recording stays known as one of this interview."""
    upload_id = await begin(tx, interview_id, None, file_name, size_bytes)
    await complete(tx, upload_id, size_bytes)
    await take(tx, upload_id, recording_id)


async def arrived(tx: AsyncConnection, upload_id: UploadId, offset_bytes: int) -> None:
    """So much of it is here; also a sign of life. Raises `ConflictError` if it was taken for abandoned."""
    await _move(tx, upload_id, UploadState.RECEIVING, quietly=True, offset_bytes=offset_bytes)


async def complete(tx: AsyncConnection, upload_id: UploadId, size_bytes: int) -> None:
    """All of it is durable on our disk. Raises `ConflictError` if it was taken for abandoned meanwhile."""
    await _move(
        tx,
        upload_id,
        UploadState.RECEIVING,
        state=UploadState.RECEIVED,
        size_bytes=size_bytes,
        offset_bytes=size_bytes,
    )


async def take(tx: AsyncConnection, upload_id: UploadId, recording_id: RecordingId) -> None:
    """It is this recording now. Raises `ConflictError` if somebody has cancelled it."""
    await _move(
        tx, upload_id, UploadState.RECEIVED, state=UploadState.TAKEN, recording_id=recording_id, error=None
    )


async def refuse(tx: AsyncConnection, upload_id: UploadId, error: str) -> None:
    """It cannot be used; `error` says why in a sentence. Raises `ConflictError` like `take`."""
    await _move(tx, upload_id, UploadState.RECEIVED, state=UploadState.REFUSED, error=error)


async def cancel(tx: AsyncConnection, upload_id: UploadId) -> None:
    """Its owner does not want it any more. Raises `ConflictError` if it is a recording by now."""
    await _move(tx, upload_id, UploadState.RECEIVED, state=UploadState.CANCELLED)


async def forget(tx: AsyncConnection, upload_id: UploadId) -> None:
    """It never became complete."""
    statement = delete(_t).where(_t.c.id == upload_id, _t.c.state == UploadState.RECEIVING)
    interview_id = (await tx.execute(statement.returning(_t.c.interview_id))).scalar_one_or_none()
    if interview_id is not None:
        await changes.publish(tx, "upload", interview_id)


async def silent(connection: AsyncConnection) -> dict[UploadId, datetime]:
    """Those of which nothing has arrived for long, as the clock has it, and when something did last."""
    statement = select(_t.c.id, _t.c.updated_at).where(await _is_silent(connection))
    return {UploadId(row.id): row.updated_at for row in await connection.execute(statement)}


async def forget_abandoned(tx: AsyncConnection, before: Mapping[UploadId, datetime]) -> list[UploadId]:
    """Forget those that are still as `silent` said a while ago: whoever took them in is gone. Their ids.

    One look is not enough: a clock that is set forward makes what arrives just now seem old.
    """
    same = [upload_id for upload_id, at in (await silent(tx)).items() if before.get(upload_id) == at]
    statement = delete(_t).where(_t.c.id.in_(same), await _is_silent(tx))
    rows = (await tx.execute(statement.returning(_t.c.id, _t.c.interview_id))).all()
    for row in rows:
        await changes.publish(tx, "upload", row.interview_id)
    return [UploadId(row.id) for row in rows]


async def _is_silent(connection: AsyncConnection) -> ColumnElement[bool]:
    long_ago = await now(connection) - ABANDONED
    return (_t.c.state == UploadState.RECEIVING) & (_t.c.updated_at < long_ago)


async def get(connection: AsyncConnection, upload_id: UploadId) -> Upload:
    """Raises `NotFoundError`."""
    row = (await connection.execute(select(_t).where(_t.c.id == upload_id))).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no upload {upload_id}")
    return _upload(row)


async def of_interview(connection: AsyncConnection, interview_id: InterviewId) -> list[Upload]:
    """The uploads of an interview, newest first."""
    rows = await connection.execute(select(_t).where(_t.c.interview_id == interview_id).order_by(_t.c.id.desc()))
    return [_upload(row) for row in rows]


async def refused(connection: AsyncConnection, interview_ids: Collection[InterviewId]) -> set[InterviewId]:
    """Those of these interviews whose newest upload was refused."""
    newest = select(func.max(_t.c.id)).where(_t.c.interview_id.in_(interview_ids)).group_by(_t.c.interview_id)
    statement = select(_t.c.interview_id).where(_t.c.id.in_(newest), _t.c.state == UploadState.REFUSED)
    return {InterviewId(row.interview_id) for row in await connection.execute(statement)}


async def wanted(connection: AsyncConnection, ids: Collection[UploadId]) -> set[UploadId]:
    """Those of them whose bytes are still needed."""
    open_states = (UploadState.RECEIVING, UploadState.RECEIVED)
    rows = await connection.execute(select(_t.c.id).where(_t.c.id.in_(ids), _t.c.state.in_(open_states)))
    return {UploadId(row.id) for row in rows}


async def _move(
    tx: AsyncConnection,
    upload_id: UploadId,
    origin: UploadState,
    *,
    quietly: bool = False,
    **values: Any,  # noqa: ANN401
) -> None:
    statement = (
        update(_t)
        .where(_t.c.id == upload_id, _t.c.state == origin)
        .values(updated_at=await now(tx), **values)
        .returning(_t.c.interview_id)
    )
    row = (await tx.execute(statement)).one_or_none()
    if row is None:
        raise ConflictError(f"the upload {upload_id} is not there any more: it was cancelled or is done")
    if not quietly:
        await changes.publish(tx, "upload", row.interview_id)


def _upload(row: Any) -> Upload:  # noqa: ANN401 - a result row
    return Upload(
        id=UploadId(row.id),
        interview_id=row.interview_id,
        user_id=row.user_id,
        file_name=row.file_name,
        size_bytes=row.size_bytes,
        offset_bytes=row.offset_bytes,
        state=UploadState(row.state),
        error=row.error,
        recording_id=row.recording_id,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
