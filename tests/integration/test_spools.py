"""The sound that recorders leave for live transcribers goes again, without the recorder being started anew."""

from __future__ import annotations

import os
import time

from streamarchive.catalogue import streams
from tests import factories
from tests.recording import recording_worker
from tests.waiting import until_async
from workers import spools
from workers.folders import Folders

LONG_AGO = 3_600


def leave_sound(folders, number, *, seconds_ago=LONG_AGO):
    """As a take does that ended so long ago."""
    _, spool = folders.prepare(number)
    (spool / "a00000000.ts").write_bytes(bytes(188))
    when = time.time() - seconds_ago
    for path in (spool / "a00000000.ts", spool, spool.parent):
        os.utime(path, (when, when))
    return spool


async def on_air(services):
    """A stream that somebody else records, and its folders."""
    air = await factories.on_air(services.database)
    folders = Folders(services.settings.data_dir.absolute(), air.stream.id)
    return air, folders


async def test_a_recorder_that_goes_on_forgets_the_sound_of_streams_that_have_ended(services):
    air, folders = await on_air(services)
    async with recording_worker(services):
        leave_sound(folders, 0)
        folders.publish_spool(air.recording_id)
        async with services.database.write() as tx:
            await streams.end(tx, air.stream)

        async def gone():
            return not folders.spool(0).exists()

        await until_async(gone, "the sound to go")


async def test_of_a_stream_that_goes_on_only_the_newest_takes_keep_their_sound(services):
    _, folders = await on_air(services)
    left = [leave_sound(folders, number) for number in range(12)]
    await spools.tidy(services)
    assert [spool.exists() for spool in left] == [False] * 10 + [True] * 2


async def test_what_somebody_may_still_listen_to_stays(services):
    air, folders = await on_air(services)
    recent = leave_sound(folders, 0, seconds_ago=60)
    leave_sound(folders, 1), leave_sound(folders, 2)
    await spools.tidy(services)
    assert recent.exists()
    async with services.database.write() as tx:
        await streams.end(tx, air.stream)
    await spools.tidy(services)
    assert recent.exists()
    assert not folders.spool(2).exists()
