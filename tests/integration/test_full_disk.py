"""A disk that fills up while a stream is recorded: what is committed stays good, and recording goes on after."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from streamarchive.models import GapReason, StreamState
from streamarchive.services import open_services
from streamarchive.settings import Settings
from tests.recording import (
    check_books,
    recording_worker,
    request_stop,
    schedule,
    state,
    until_ended,
    until_segments,
)
from tests.truth import broadcast
from tests.waiting import until_async

SIZE = 6 << 20
libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of six megabytes; only root may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    if libc.mount(b"none", bytes(folder), b"tmpfs", 0, f"size={SIZE}".encode()):
        pytest.skip(f"tmpfs: cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    yield folder
    assert libc.umount2(bytes(folder), 2) == 0


def fill(folder: Path) -> Path:
    """Take all that is left but a little."""
    ballast = folder / "ballast"
    room = os.statvfs(folder)
    ballast.write_bytes(b"\0" * max(0, room.f_bavail * room.f_frsize - (64 << 10)))
    return ballast


async def test_a_recording_outlives_a_full_disk(tmp_path, small_disk, pieces):
    """Media and recorder share the small disk; the catalogue has one of its own."""
    settings = Settings(
        data_dir=small_disk / "archive",
        database=f"sqlite:///{tmp_path}/catalogue.sqlite",
        search=f"sqlite:///{tmp_path}/search.sqlite",
    )
    async with open_services(settings) as services, broadcast(pieces) as truth:
        stream_id = await schedule(services, truth.endless)
        async with recording_worker(services):
            await until_segments(services, stream_id, 1)
            ballast = fill(small_disk)

            async def full():
                _, _, _, gaps = await state(services, stream_id)
                return gaps

            [gap] = await until_async(full, "the gap", seconds=30)
            assert gap.reason is GapReason.DISK_FULL, gap
            _, before, _, _ = await state(services, stream_id)
            ballast.unlink()
            await until_segments(services, stream_id, len(before) + 1, takes=2)
            stream, _, _, gaps = await state(services, stream_id)
            assert stream.last_error is None
            assert all(one.ended_at is not None for one in gaps)
            await request_stop(services, stream_id)
            await until_ended(services, stream_id)
        segments = await check_books(services, stream_id)
    assert segments[: len(before)] == before
    assert all(segment.size_bytes > 0 for segment in segments)


async def test_nothing_new_begins_on_a_nearly_full_disk(small_disk, tmp_path, pieces):
    settings = Settings(
        data_dir=tmp_path / "archive", media=f"file://{small_disk}/media", search=f"sqlite:///{tmp_path}/s.sqlite"
    )
    fill(small_disk)
    async with open_services(settings) as services, broadcast(pieces) as truth:
        stream_id = await schedule(services, truth.endless)
        async with recording_worker(services):

            async def refused():
                return (await state(services, stream_id))[0].last_error

            sentence = await until_async(refused, "the refusal")
            assert "free some space" in sentence
            assert truth.asked == []
            (small_disk / "ballast").unlink()
            await until_segments(services, stream_id, 1)
        assert (await state(services, stream_id))[0].state is StreamState.RECORDING
