"""When a recording begins and ends, and who goes on with it."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from streamarchive.catalogue import cuts, interviews, recordings, streams, workers
from streamarchive.catalogue import database as clock
from streamarchive.models import GapReason, Stage, StreamState
from streamarchive.services import open_services
from streamarchive.settings import Settings
from tests import factories
from tests.crashes import Crashes, children
from tests.factories import commit, segment
from tests.recording import (
    QUICK,
    check_books,
    recording_worker,
    request_stop,
    state,
    until_ended,
    until_segments,
)
from tests.truth import broadcast
from tests.waiting import until_async
from workers import recorder, stream_recorder
from workers.capture import Patience


@pytest.fixture
async def truth(pieces):
    async with broadcast(pieces) as on_air:
        yield on_air


async def plan(services, url, *, starts=0.0, ends=None, lead_in=0.0):
    """A stream that overruns; times in seconds from now."""
    async with services.database.write() as tx:
        interview_id = await interviews.create(tx, titles={"en": "Planned"}, languages=("en",))
        moment = await clock.now(tx)
        return await streams.create(
            tx,
            interview_id,
            url,
            starts_at=moment + timedelta(seconds=starts),
            ends_at=None if ends is None else moment + timedelta(seconds=ends),
            lead_in=timedelta(seconds=lead_in),
            overruns=True,
            exact_host_allowed=True,
        )


async def test_recording_begins_a_lead_in_before_the_start(services, truth):
    stream_id = await plan(services, truth.hls, starts=600, lead_in=598)
    async with recording_worker(services):
        await until_segments(services, stream_id, 1)
    stream, segments, _, _ = await state(services, stream_id)
    assert stream.begins_at <= segments[0].arrived_at < stream.starts_at


async def test_recording_goes_on_past_its_end_until_nothing_comes(services, truth):
    quick = Patience(stall=6.0, stop=0.3, first_retry=0.1, longest_retry=0.3, renew=0.3, quiet=15.0)
    stream_id = await plan(services, truth.endless, ends=1)
    async with recording_worker(services, quick):
        await until_segments(services, stream_id, 2)
        stream, segments, _, _ = await state(services, stream_id)
        assert stream.overrun(segments[-1].arrived_at)
        assert stream.state is StreamState.RECORDING
        truth.set_mood("hang")
        await until_ended(services, stream_id)
    stream, segments, _, gaps = await state(services, stream_id)
    assert stream.ends_at < segments[-1].arrived_at
    assert gaps == [], "what is missing after the end is no gap"


class AnHourLater(datetime):
    """The clock on the wall after it was set, or the machine was suspended."""

    @classmethod
    def now(cls, tz=None):
        """An hour after the media that came last."""
        return datetime.now(tz) + timedelta(hours=1)


async def test_a_clock_that_leaps_ahead_does_not_end_what_still_comes(services, truth, monkeypatch):
    quick = Patience(stall=6.0, stop=0.3, first_retry=0.1, longest_retry=0.3, renew=0.3, quiet=60.0)
    stream_id = await plan(services, truth.endless, ends=1)
    async with recording_worker(services, quick):
        await until_segments(services, stream_id, 2)
        _, before, _, _ = await state(services, stream_id)
        monkeypatch.setattr(stream_recorder, "datetime", AnHourLater)

        async def goes_on_or_has_ended():
            stream, segments, _, _ = await state(services, stream_id)
            return stream.state is StreamState.ENDED or len(segments) >= len(before) + 3

        await until_async(goes_on_or_has_ended, "what becomes of it", seconds=60)
        stream, _, takes, _ = await state(services, stream_id)
        assert (stream.state, len(takes)) == (StreamState.RECORDING, 1)


async def test_the_next_interview_of_the_source_goes_on_without_a_break(services, truth):
    first = await plan(services, truth.hls, ends=1)
    second = await plan(services, truth.hls, starts=12, ends=600, lead_in=11)
    async with recording_worker(services):

        async def taken_up():
            return (await state(services, second))[0].state is StreamState.ENDED

        await until_segments(services, first, 1)
        await until_async(taken_up, "the next interview", seconds=60)
        _, before, _, _ = await state(services, first)
        await until_segments(services, first, len(before) + 2)
        await request_stop(services, first)
        await until_ended(services, first)
    stream, _, takes, gaps = await state(services, first)
    await check_books(services, first)
    assert (len(takes), gaps) == (1, [])
    async with services.database.read() as connection:
        one, other = await interviews.of_recording(connection, stream.recording_id)
    assert {one.id, other.id} > {stream.interview_id}
    assert {one.in_ms, one.out_ms} == {other.in_ms, other.out_ms}
    assert {one.stage, other.stage} == {Stage.PROCESSING}


async def test_one_that_cannot_go_on_with_a_recording_keeps_nobody_from_beginning(services, truth):
    """Its interview was given a recording meanwhile; the source goes on being recorded for the one before."""
    async with recording_worker(services):
        first = await plan(services, truth.hls)
        await until_segments(services, first, 1)
        async with services.database.write() as tx:  # in one step: the recorder would take it up before
            interview_id = await interviews.create(tx, titles={"en": "Given"}, languages=("en",))
            about = {"duration_ms": 1000, "has_video": False, "damage": None}
            await recordings.create_uploaded(tx, interview_id, **about)
            await streams.create(tx, interview_id, truth.hls, overruns=True, exact_host_allowed=True)
        third = await plan(services, truth.endless)
        await until_segments(services, third, 1)
        await request_stop(services, first)
        await until_ended(services, first)


async def followed(services, interview_id, *, by_hand=False):
    """A stream of this interview that is due, and whose source is being recorded for another one."""
    air = await factories.on_air(services.database)
    await commit(services.database, air, *(segment(air.take, number) for number in range(3)))
    async with services.database.write() as tx:
        if by_hand:
            await cuts.next_interview(tx, air.stream.id, interview_id)
        ends_at = await clock.now(tx) + timedelta(hours=1)
        return await streams.create(tx, interview_id, air.stream.url, ends_at=ends_at, overruns=True)


async def test_an_interview_that_was_begun_by_hand_does_not_stop_the_recorder(services):
    """Its stream comes due all the same, and those behind it wait to be recorded."""
    interview_id = await factories.interview(services.database)
    stream_id = await followed(services, interview_id, by_hand=True)
    await recorder._look(services, {}, QUICK)
    assert (await state(services, stream_id))[0].state is StreamState.ENDED


async def test_an_interview_with_a_recording_of_its_own_is_not_gone_on_with(services):
    """It gets another one, beside that of the source."""
    interview_id, _ = await factories.uploaded(services.database)
    stream, *_ = await state(services, await followed(services, interview_id))
    assert not await recorder._continues(services, stream)
    assert (await state(services, stream.id))[0].state is StreamState.SCHEDULED


async def test_a_hand_over_to_another_recorder_loses_and_doubles_nothing(services, truth):
    """The first is told to stop; it goes on until the second has the source."""
    crashes = Crashes(services, truth)
    try:
        await crashes.begin(truth.endless)
        await until_segments(services, crashes.stream_id, 2)
        first = crashes.worker
        await crashes.start_worker()
        await until_async(lambda: two_recorders(services), "the second recorder")
        first.terminate()
        await first.wait()
        assert first.returncode == 0
        await until_segments(services, crashes.stream_id, 5, takes=2)
        await crashes.finish()
    finally:
        await crashes.close()
    await crashes.check()
    _, segments, takes, gaps = await state(services, crashes.stream_id)
    assert (len(takes), gaps) == (2, [])
    content = [b"".join([chunk async for chunk in services.store.read(one.key)]) for one in segments]
    places = truth.places(content)
    assert places == list(range(places[0], places[0] + len(places))), "every picture once"


async def two_recorders(services):
    async with services.database.read() as connection:
        return len(await workers.alive(connection)) == 2


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_a_recorder_that_slept_past_its_lease_adds_nothing(tmp_path, pieces, database, request):
    """Stopped, taken over and continued: zero rows, and no file of the two mixes."""
    settings = Settings(data_dir=tmp_path / "archive")
    if database == "postgresql":
        url = request.getfixturevalue("postgresql_database")
        settings = Settings(data_dir=tmp_path / "archive", database=url)
    elsewhere = settings.model_copy(update={"data_dir": tmp_path / "elsewhere"})
    async with open_services(settings) as services, broadcast(pieces) as truth:
        crashes = Crashes(services, truth)
        try:
            await crashes.begin(truth.endless)
            await until_segments(services, crashes.stream_id, 1)
            sleeper = crashes.worker
            await suspend(sleeper, services.database)
            slept = (await state(services, crashes.stream_id))[0]
            async with recorder_elsewhere(services, elsewhere):
                await until_segments(services, crashes.stream_id, 3, takes=2)
                sleeper.send_signal(signal.SIGCONT)
                await until_async(lambda: let_go(sleeper), "the first recorder to let go")
                _, before, _, _ = await state(services, crashes.stream_id)
                await until_segments(services, crashes.stream_id, len(before) + 1, takes=2)
                stream, segments, takes, gaps = await state(services, crashes.stream_id)
        finally:
            await crashes.close()
        assert stream.epoch == slept.epoch + 1
        assert [take.epoch for take in takes] == [slept.epoch, stream.epoch]
        order = [one.take_id for one in segments]
        assert order == sorted(order), "a row of the first behind one of the second"
        assert [gap.reason for gap in gaps] == [GapReason.FENCED]
        await crashes.check()


def recorder_elsewhere(services, settings):
    """A recorder with a folder of its own, over the same catalogue and store."""
    return recording_worker(replace(services, settings=settings), replace(QUICK, lease=60.0))


async def suspend(process, database):
    """SIGSTOP, but not while it writes: its locks would stay with it."""

    async def between_two_writes():
        process.send_signal(signal.SIGSTOP)
        await until_async(lambda: stands_still(process), "it to stand still")
        if await nobody_writes(database):
            return True
        process.send_signal(signal.SIGCONT)
        return False

    await until_async(between_two_writes, "a moment between two of its transactions")


async def stands_still(process):
    tasks = Path(f"/proc/{process.pid}/task").glob("*/stat")
    return all(task.read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)


async def nobody_writes(database):
    if database.path is None:
        writers = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND backend_xid IS NOT NULL"
        async with database.read() as connection:
            return (await connection.execute(text(writers))).first() is None
    with closing(sqlite3.connect(database.path, timeout=0, isolation_level=None)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        other.execute("ROLLBACK")
    return True


async def let_go(process):
    """Whether it has no ffmpeg any more."""
    return not children(process.pid)
