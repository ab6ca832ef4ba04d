"""What every media store promises."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streamarchive.errors import NotFoundError, SettingsError, StorageError
from streamarchive.media import stores
from streamarchive.media.stores import CHUNK_BYTES, LISTED_AT_ONCE, FileStore, hash_file, open_store
from streamarchive.media.trial import try_store
from tests.services import S3Server

CONTENT = bytes(range(256)) * 4096


@pytest.fixture(params=["file", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path):
    url = f"file://{tmp_path}/media" if request.param == "file" else request.getfixturevalue("s3_url")
    opened = open_store(url, tmp_path / "fetched")
    yield opened
    await opened.close()


def write(folder: Path, content: bytes = CONTENT) -> Path:
    file = folder / "incoming file"
    file.write_bytes(content)
    return file


async def read(store, key, *bounds):
    return b"".join([chunk async for chunk in store.read(key, *bounds)])


async def test_an_adopted_file_is_read_back_and_gone_from_where_it_was(store, tmp_path):
    file = write(tmp_path)
    stored = await store.adopt(file, "recordings/7/", ".ts")
    assert not file.exists()
    assert stored.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert stored.size_bytes == len(CONTENT) == await store.size(stored.key)
    assert stored.key == f"recordings/7/{stored.sha256[:32]}.ts"
    assert await read(store, stored.key) == CONTENT


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, 1),
        (0, 0),
        (5, 5),
        (255, 1000),
        (CHUNK_BYTES - 1, CHUNK_BYTES + 1),
        (len(CONTENT) - 1, None),
        (len(CONTENT), None),
        (len(CONTENT), len(CONTENT) + 1),
        (len(CONTENT) + 1, None),
        (10, 1 << 30),
    ],
)
async def test_any_range_of_bytes_can_be_read(store, tmp_path, start, end):
    stored = await store.adopt(write(tmp_path), "a/", "")
    assert await read(store, stored.key, start, end) == CONTENT[start:end]


async def test_adopting_the_same_content_again_changes_nothing(store, tmp_path):
    first = await store.adopt(write(tmp_path), "a/", ".ts")
    second = await store.adopt(write(tmp_path), "a/", ".ts")
    assert first == second
    assert await read(store, first.key) == CONTENT


async def test_a_file_may_be_empty(store, tmp_path):
    stored = await store.adopt(write(tmp_path, b""), "a/", "")
    assert await store.size(stored.key) == 0
    assert await read(store, stored.key) == b""
    async with store.local(stored.key) as path:
        assert path.read_bytes() == b""


async def test_a_file_is_read_in_pieces(store, tmp_path):
    stored = await store.adopt(write(tmp_path, CONTENT * 8), "a/", "")
    assert max([len(chunk) async for chunk in store.read(stored.key)]) <= CHUNK_BYTES


async def test_a_missing_file_has_no_empty_range_either(store):
    with pytest.raises(NotFoundError):
        await read(store, "a/missing", 5, 5)


async def test_a_local_file_has_the_same_bytes(store, tmp_path):
    stored = await store.adopt(write(tmp_path), "a/", ".ts")
    async with store.local(stored.key) as path:
        assert path.read_bytes() == CONTENT


async def test_a_deleted_file_is_gone_and_can_be_deleted_again(store, tmp_path):
    stored = await store.adopt(write(tmp_path), "a/", ".ts")
    await store.delete(stored.key)
    await store.delete(stored.key)
    assert await store.size(stored.key) is None
    with pytest.raises(NotFoundError):
        await read(store, stored.key)
    with pytest.raises(NotFoundError):
        async with store.local(stored.key):
            pass


async def listed(store, folder=""):
    return {each.key: each async for page in store.listing(folder) for each in page}


async def test_what_is_below_a_folder_is_listed(store, tmp_path):
    assert await listed(store) == await listed(store, "recordings/7/") == {}
    before = datetime.now(UTC)
    stored = {
        folder: await store.adopt(write(tmp_path, folder.encode()), folder, ".ts")
        for folder in ("recordings/7/", "recordings/7/deep/", "recordings/70/", "recordings-7/", "trial-")
    }
    found = await listed(store)
    assert {each.key: each.size_bytes for each in found.values()} == {
        each.key: each.size_bytes for each in stored.values()
    }
    assert set(await listed(store, "recordings/7/")) == {
        stored["recordings/7/"].key,
        stored["recordings/7/deep/"].key,
    }
    second = timedelta(seconds=1)  # in which stores count
    assert all(before - second <= each.changed_at <= datetime.now(UTC) + second for each in found.values())
    await store.delete(stored["trial-"].key)
    assert stored["trial-"].key not in await listed(store)


async def test_a_long_list_comes_in_pages(store, tmp_path):
    keys = {(await store.adopt(write(tmp_path, b"%d" % number), "many/", "")).key for number in range(1, 1100)}
    pages = [page async for page in store.listing("many/")]
    assert {each.key for page in pages for each in page} == keys
    assert max(len(page) for page in pages) <= LISTED_AT_ONCE


async def test_a_file_that_was_moved_in_came_when_it_was_moved(tmp_path):
    store = FileStore(tmp_path / "media")
    file = write(tmp_path)
    os.utime(file, (0, 0))
    before = datetime.now(UTC)
    stored = await store.adopt(file, "a/", "")
    assert (await listed(store))[stored.key].changed_at >= before - timedelta(seconds=1)


async def test_what_others_keep_in_a_bucket_is_not_listed(s3_server, tmp_path):
    store = open_store(f"s3://{S3Server.BUCKET}?endpoint={s3_server.endpoint}", tmp_path / "fetched")
    stored = await store.adopt(write(tmp_path), "a/", "")
    (s3_server.objects / "a" / "of somebody else+").write_bytes(b"")
    assert set(await listed(store)) == {stored.key}


async def test_what_a_disk_holds_besides_is_not_listed(tmp_path):
    store = FileStore(tmp_path / "media")
    stored = await store.adopt(write(tmp_path), "a/", "")
    (tmp_path / "media" / "lost+found").mkdir()
    (tmp_path / "media" / "lost+found" / "x").write_bytes(b"")
    (tmp_path / "media" / ".incoming").mkdir()
    (tmp_path / "media" / ".incoming" / "x").write_bytes(b"")
    assert set(await listed(store)) == {stored.key}


@pytest.mark.parametrize(
    "key",
    [
        "../secret",
        "a/../../secret",
        "/etc/passwd",
        "a//b",
        "",
        ".",
        "..",
        "a/..",
        "a\\..\\b",
        "a\0b",
        "a/.hidden",
        "a/访谈",
    ],
)
async def test_no_key_leads_out_of_the_store(store, tmp_path, key):
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(NotFoundError):
        await store.size(key)
    with pytest.raises(NotFoundError):
        await read(store, key)
    with pytest.raises(NotFoundError):
        await store.delete(key)
    assert (tmp_path / "secret").exists()


async def test_what_cannot_be_adopted_is_a_storage_error_and_leaves_nothing(store, tmp_path):
    with pytest.raises(StorageError, match="cannot keep"):
        await store.adopt(tmp_path / "missing", "a/", ".ts")
    assert not list((tmp_path).rglob("*.ts"))


@pytest.fixture
def elsewhere(tmp_path):
    """A file on another file system."""
    folder = Path("/dev/shm")
    if not folder.is_dir() or folder.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    file = folder / f"streamarchive-test-{tmp_path.name}"
    file.write_bytes(CONTENT)
    yield file
    file.unlink(missing_ok=True)


async def test_a_file_from_another_file_system_is_copied_whole(tmp_path, elsewhere):
    stored = await FileStore(tmp_path / "media").adopt(elsewhere, "a/", ".ts")
    assert not elsewhere.exists()
    assert (tmp_path / "media" / stored.key).read_bytes() == CONTENT
    assert not list((tmp_path / "media" / ".incoming").iterdir())


async def test_copies_of_processes_that_were_killed_are_forgotten(tmp_path, elsewhere):
    """But not one that another process is making."""
    copies = tmp_path / "media" / ".incoming"
    copies.mkdir(parents=True)
    for name, hours in (("killed", 25), ("at work", 1)):
        (copies / name).write_bytes(b"half")
        os.utime(copies / name, (time.time() - hours * 3600,) * 2)
    await FileStore(tmp_path / "media").adopt(elsewhere, "a/", ".ts")
    assert [copy.name for copy in copies.iterdir()] == ["at work"]


def test_whoever_is_cancelled_while_a_file_is_adopted_keeps_it(tmp_path, monkeypatch):
    """Nobody would know what key it has."""
    file, reached, going_on = write(tmp_path), threading.Event(), threading.Event()

    def late(file):
        reached.set()
        going_on.wait(30)
        return hash_file(file)

    async def cancel():
        adopting = asyncio.create_task(FileStore(tmp_path / "media").adopt(file, "a/", ".ts"))
        await asyncio.to_thread(reached.wait, 30)
        adopting.cancel()
        await asyncio.wait([adopting])
        assert adopting.cancelled()
        going_on.set()

    monkeypatch.setattr(stores, "hash_file", late)
    asyncio.run(cancel())  # waits for its threads
    assert file.read_bytes() == CONTENT
    assert not list((tmp_path / "media").rglob("*.ts"))


async def test_a_trial_leaves_nothing(store, tmp_path):
    await try_store(store, tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []
    assert not list((tmp_path / "media").glob("*"))


async def test_free_space_is_a_fraction_of_the_disk_here(store, tmp_path):
    here = shutil.disk_usage(tmp_path)
    assert await store.free_fraction() == pytest.approx(here.free / here.total, abs=0.01)


@pytest.mark.parametrize("url", ["file://host/path", "file:relative", "http://x/"])
def test_other_stores_are_refused_in_a_sentence(url, tmp_path):
    with pytest.raises(SettingsError) as caught:
        open_store(url, tmp_path)
    assert "\n" not in str(caught.value)
