"""An upload's states on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from streamarchive.catalogue import changes, recordings, tables, uploads
from streamarchive.catalogue.database import Database, now
from streamarchive.errors import ConflictError, NotFoundError
from streamarchive.models import UploadState
from tests import factories


async def begun(database: Database):
    interview_id = await factories.interview(database)
    async with database.write() as tx:
        return interview_id, await uploads.begin(tx, interview_id, None, "talk.mp4", 1000)


async def received(database: Database):
    interview_id, upload_id = await begun(database)
    async with database.write() as tx:
        await uploads.complete(tx, upload_id, 1000)
    return interview_id, upload_id


async def test_an_upload_becomes_the_recording_of_its_interview(database: Database):
    interview_id, upload_id = await begun(database)
    async with database.write() as tx:
        await uploads.arrived(tx, upload_id, 400)
    async with database.read() as connection:
        assert (await uploads.get(connection, upload_id)).offset_bytes == 400
    async with database.write() as tx:
        await uploads.complete(tx, upload_id, 1000)
        recording_id = await recordings.create_uploaded(
            tx, interview_id, duration_ms=1000, has_video=False, damage=None
        )
        await uploads.take(tx, upload_id, recording_id)
    async with database.read() as connection:
        (upload,) = await uploads.of_interview(connection, interview_id)
    assert (upload.state, upload.recording_id, upload.offset_bytes) == (UploadState.TAKEN, recording_id, 1000)


async def test_what_was_cancelled_is_neither_taken_nor_refused(database: Database):
    interview_id, upload_id = await received(database)
    async with database.write() as tx:
        await uploads.cancel(tx, upload_id)
        recording_id = await recordings.create_uploaded(
            tx, interview_id, duration_ms=1000, has_video=False, damage=None
        )
        for late in (
            uploads.take(tx, upload_id, recording_id),
            uploads.refuse(tx, upload_id, "why"),
            uploads.cancel(tx, upload_id),
        ):
            with pytest.raises(ConflictError):
                await late


async def test_one_that_stopped_arriving_is_forgotten_and_cannot_go_on(database: Database):
    _, upload_id = await begun(database)
    _, complete = await received(database)
    _, fresh = await begun(database)
    async with database.write() as tx:
        long_ago = await now(tx) - uploads.ABANDONED - timedelta(seconds=1)
        old = tables.upload.c.id.in_([upload_id, complete])
        await tx.execute(update(tables.upload).where(old).values(updated_at=long_ago))
        assert await uploads.forget_abandoned(tx, await uploads.silent(tx)) == [upload_id]
        with pytest.raises(ConflictError):
            await uploads.arrived(tx, upload_id, 500)
    async with database.read() as connection:
        assert await uploads.wanted(connection, [upload_id, complete, fresh]) == {complete, fresh}
        with pytest.raises(NotFoundError):
            await uploads.get(connection, upload_id)


async def test_what_seems_old_because_the_clock_was_set_forward_goes_on(database: Database):
    _, upload_id = await begun(database)
    async with database.write() as tx:
        long_ago = await now(tx) - uploads.ABANDONED - timedelta(seconds=1)
        await tx.execute(update(tables.upload).where(tables.upload.c.id == upload_id).values(updated_at=long_ago))
        assert await uploads.forget_abandoned(tx, {}) == []
        before = await uploads.silent(tx)
        assert list(before) == [upload_id]
        await uploads.arrived(tx, upload_id, 500)
        assert await uploads.forget_abandoned(tx, before) == []
        assert await uploads.silent(tx) == {}


async def test_only_what_is_still_arriving_can_be_forgotten(database: Database):
    _, upload_id = await received(database)
    async with database.write() as tx:
        await uploads.forget(tx, upload_id)
    async with database.read() as connection:
        assert (await uploads.get(connection, upload_id)).state is UploadState.RECEIVED


async def test_open_pages_learn_of_every_step_but_not_of_every_byte(database: Database):
    _, upload_id = await begun(database)
    async with database.write() as tx:
        before = await changes.newest_id(tx)
        await uploads.arrived(tx, upload_id, 10)
    async with database.write() as tx:
        await uploads.complete(tx, upload_id, 20)
    async with database.write() as tx:
        await uploads.refuse(tx, upload_id, "it is empty")
    async with database.read() as connection:
        told = [change.kind for change in await changes.after(connection, before)]
    assert told == ["upload", "upload"]
