"""The demo's director over a real catalogue: broadcasts become interviews, and old ones make room."""

import asyncio
import signal
import socket
from datetime import UTC, datetime, timedelta

import pytest

from streamarchive.catalogue import assets, interviews, recordings, streams
from streamarchive.demo import director
from streamarchive.demo.control import OnAir
from streamarchive.errors import ConflictError
from streamarchive.models import AssetKind, Visibility
from streamarchive.services import open_services
from streamarchive.settings import Settings

LEASE = timedelta(minutes=1)


@pytest.fixture
async def services(tmp_path):
    async with open_services(Settings(data_dir=tmp_path)) as opened:
        yield opened


def on_air(number, port=4000):
    name = f"20261123-0900{number:02}-0001"
    return OnAir(
        id=name,
        url=f"http://127.0.0.1:{port}/broadcasts/{name}/live.m3u8",
        titles={"en": f"Broadcast {number}", "zh": f"第{number}场"},
        descriptions={},
        guest_names={"en": "Doctor Wang", "zh": "王博士"},
        guest_affiliations={"en": "Sky Chip"},
        languages=("en", "zh"),
        started_at=datetime(2026, 11, 23, 9, 0, number, tzinfo=UTC),
        ends_at=datetime(2026, 11, 23, 9, 10, number, tzinfo=UTC),
    )


async def stream_of(services, broadcast):
    async with services.database.read() as connection:
        return (await streams.like(connection, f"%/{broadcast.id}/%"))[0]


async def record(services, broadcast, tmp_path):
    """What a recorder leaves behind: an ended stream with a recording and a file."""
    stream = await stream_of(services, broadcast)
    owned = await streams.claim(services.database, stream.id, "recorder@here:1", LEASE)
    file = tmp_path / f"{broadcast.id}.mp4"
    file.write_bytes(broadcast.id.encode())
    stored = await services.store.adopt(file, "mp4/", ".mp4")
    async with services.database.write() as tx:
        recording_id = await recordings.begin(tx, owned, has_video=True)
        await assets.put(tx, recording_id, AssetKind.MP4, stored, "video/mp4", "test")
        await recordings.finish(tx, owned, recording_id)
    return stored.key


async def test_a_broadcast_becomes_one_public_interview_with_a_stream(services):
    first = await director.put_on_air(services.database, on_air(1))
    assert await director.put_on_air(services.database, on_air(1)) == first
    stream = await stream_of(services, on_air(1))
    assert stream.interview_id == first
    assert stream.exact_host_allowed
    async with services.database.read() as connection:
        interview = await director.interview_on_air(connection, on_air(1))
        assert await director.interview_on_air(connection, on_air(2)) is None
    assert interview.id == first
    assert interview.visibility is Visibility.PUBLIC
    assert interview.titles["zh"] == "第1场"
    assert [guest.names["zh"] for guest in interview.guests] == ["王博士"]


async def test_a_broadcaster_that_comes_back_on_another_port_continues_the_same_interview(services):
    before = await director.put_on_air(services.database, on_air(1, port=4000))
    after = await director.put_on_air(services.database, on_air(1, port=5000))
    assert after == before
    assert ":5000/" in (await stream_of(services, on_air(1))).url


async def test_what_is_not_on_air_any_more_is_stopped_after_a_while_and_what_is_goes_on(services):
    for number in (1, 2):
        await director.put_on_air(services.database, on_air(number))
    await director.take_off_air(services.database, on_air(2), {}, 0.0)
    assert (await stream_of(services, on_air(1))).stop_requested
    assert not (await stream_of(services, on_air(2))).stop_requested


async def test_the_recorder_gets_time_to_fetch_the_end(services):
    for number in (1, 2):
        await director.put_on_air(services.database, on_air(number))
    await director.take_off_air(services.database, on_air(2), {}, director.TAIL_SECONDS)
    assert not (await stream_of(services, on_air(1))).stop_requested


async def test_the_newest_broadcasts_stay_and_older_ones_leave_no_media(services, tmp_path):
    keys, ids = [], []
    for number in range(director.KEPT + 2):
        ids.append(await director.put_on_air(services.database, on_air(number)))
        keys.append(await record(services, on_air(number), tmp_path))
    await director.forget_oldest(services.database, services.store)
    async with services.database.read() as connection:
        shown = [(await interviews.get(connection, one)).visibility for one in ids]
    assert shown == [Visibility.TRASHED] * 2 + [Visibility.PUBLIC] * director.KEPT
    there = [await services.store.size(key) is not None for key in keys]
    assert there == [False] * 2 + [True] * director.KEPT


async def test_the_process_that_records_is_killed_and_no_other(services):
    await director.put_on_air(services.database, on_air(1))
    stream = await stream_of(services, on_air(1))
    with pytest.raises(ConflictError):
        await director.kill_recorder(services.database)
    recorder = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        owner = f"recorder@{socket.gethostname()}:{recorder.pid}:1:2"
        await streams.claim(services.database, stream.id, owner, LEASE)
        assert await director.kill_recorder(services.database) == recorder.pid
        assert await recorder.wait() == -signal.SIGKILL
    finally:
        if recorder.returncode is None:
            recorder.kill()
            await recorder.wait()


async def test_a_recorder_of_another_machine_is_not_looked_for_here(services):
    await director.put_on_air(services.database, on_air(1))
    stream = await stream_of(services, on_air(1))
    await streams.claim(services.database, stream.id, "recorder@elsewhere:1:1:2", LEASE)
    with pytest.raises(ConflictError):
        await director.kill_recorder(services.database)
