"""What a media store on S3 promises besides: servers go away, secrets are wrong, files are long."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from streamarchive.errors import NotFoundError, SettingsError, StorageError
from streamarchive.media import buckets, objects
from streamarchive.media.fetched import Fetched
from streamarchive.media.objects import PART_BYTES
from streamarchive.media.stores import hash_file, open_store
from streamarchive.media.trial import try_store
from tests.services import S3Server
from tests.waiting import until_async

MEBIBYTE = 1 << 20


def url_of(server: S3Server, bucket: str = S3Server.BUCKET) -> str:
    return f"s3://{bucket}/archive?endpoint={server.endpoint}"


@pytest.fixture
def own(s3_server: S3Server, tmp_path: Path):
    """A store on a server of this test's own."""
    return open_store(url_of(s3_server), tmp_path / "fetched")


def long_file(folder: Path, mebibytes: int) -> Path:
    """No two parts of it are alike."""
    file = folder / "long"
    with file.open("wb") as stream:
        for _ in range(mebibytes):
            stream.write(os.urandom(MEBIBYTE))
    return file


async def read(store, key, *bounds):
    return b"".join([chunk async for chunk in store.read(key, *bounds)])


def present(server: S3Server) -> list[str]:
    """The keys of the objects on a server."""
    files = server.objects.rglob("*")
    return [file.name for file in files if file.is_file() and ".sgwtmp" not in file.parts]


async def until_half_sent(server: S3Server) -> None:
    def has_come() -> int:
        length = 0
        for file in (server.objects / ".sgwtmp").rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                length += file.stat().st_size if file.is_file() else 0
        return length

    async def half() -> bool:
        return has_come() > 3 * PART_BYTES

    await until_async(half, "parts of the upload")


async def test_a_file_outlives_a_server_that_is_killed_in_the_middle(own, s3_server, tmp_path):
    file = long_file(tmp_path, 400)
    digest = hash_file(file)
    sending = asyncio.create_task(own.adopt(file, "a/", ".mp4"))
    await until_half_sent(s3_server)
    s3_server.kill()
    with pytest.raises(StorageError, match="cannot be reached"):
        await sending
    assert hash_file(file) == digest
    assert present(s3_server) == []
    s3_server.start()
    stored = await own.adopt(file, "a/", ".mp4")
    assert stored.sha256 == digest
    assert not file.exists()
    async with own.local(stored.key) as copy:
        assert hash_file(copy) == digest


async def test_whoever_is_cancelled_while_a_file_is_sent_keeps_it(own, s3_server, tmp_path):
    file = long_file(tmp_path, 400)
    sending = asyncio.create_task(own.adopt(file, "a/", ".mp4"))
    await until_half_sent(s3_server)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert file.stat().st_size == 400 * MEBIBYTE
    stored = await own.adopt(file, "b/", ".mp4")
    assert await own.size(stored.key) == 400 * MEBIBYTE
    # What was on its way to the other key has had as long as a whole upload takes.
    assert present(s3_server) == [stored.key.removeprefix("b/")]
    assert await own.size(stored.key.replace("b/", "a/")) is None


async def test_what_is_there_is_not_sent_again(own, s3_server, tmp_path):
    """A process that died before it had written down what it stored finds its file again."""
    for _ in range(2):
        file = tmp_path / "a"
        file.write_bytes(b"the same")
        await own.adopt(file, "a/", ".ts")
        assert not file.exists()
    assert s3_server.log.count("| PUT |") == 1


async def test_what_is_there_in_another_length_is_sent(own, s3_server, tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"the whole")
    stored = await own.adopt(file, "a/", ".ts")
    (s3_server.objects / "archive" / stored.key).write_bytes(b"half")
    file.write_bytes(b"the whole")
    assert await own.adopt(file, "a/", ".ts") == stored
    assert await read(own, stored.key) == b"the whole"


async def every_method_fails(store, folder: Path, sentence: str) -> list[str]:
    file = folder / "kept"
    file.write_bytes(b"kept")

    async def fetch():
        async with store.local("a/b"):
            pass

    said = []
    for asked in (
        store.adopt(file, "a/", ".ts"),
        store.size("a/b"),
        read(store, "a/b"),
        fetch(),
        store.delete("a/b"),
        try_store(store, folder / "data"),
    ):
        with pytest.raises(StorageError, match=sentence) as caught:
            await asked
        assert caught.value.retryable
        said.append(str(caught.value))
    assert file.read_bytes() == b"kept"
    assert all("\n" not in sentence and S3Server.SECRET_KEY not in sentence for sentence in said)
    return said


async def test_a_server_that_is_away_is_named(own, s3_server, tmp_path):
    s3_server.stop()
    said = await every_method_fails(own, tmp_path, "cannot be reached or does not answer; check that it runs")
    assert all(s3_server.endpoint in sentence for sentence in said)
    s3_server.start()
    assert await own.size("a/b") is None


async def test_a_server_that_only_accepts_connections_is_given_up(s3_server, tmp_path, monkeypatch):
    monkeypatch.setattr(objects, "_ANSWER_SECONDS", 0.2)
    store = open_store(url_of(s3_server), tmp_path / "fetched")
    s3_server.suspend()
    await every_method_fails(store, tmp_path, "does not answer")


async def test_a_wrong_secret_is_refused(s3_server, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    store = open_store(url_of(s3_server), tmp_path / "fetched")
    await every_method_fails(store, tmp_path, "refuses access to the bucket archive; check AWS_ACCESS_KEY_ID")


async def test_who_says_nothing_of_credentials_is_told_where_they_belong(s3_server, tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    store = open_store(url_of(s3_server), tmp_path / "fetched")
    await every_method_fails(store, tmp_path, "nothing says who we are .* set AWS_ACCESS_KEY_ID")


async def test_a_missing_bucket_is_no_missing_file(s3_server, tmp_path):
    store = open_store(url_of(s3_server, "nowhere"), tmp_path / "fetched")
    await every_method_fails(store, tmp_path, "has no bucket nowhere; make it")


async def test_an_answer_that_breaks_off_is_an_error(own, s3_server, tmp_path):
    stored = await own.adopt(long_file(tmp_path, 100), "a/", ".mp4")
    chunks = own.read(stored.key)
    got = len(await anext(chunks))
    s3_server.kill()
    with pytest.raises(StorageError, match="cannot be reached"):
        got += sum([len(chunk) async for chunk in chunks])
    assert got < 100 * MEBIBYTE


FLAT = """
    import asyncio, re, sys
    from pathlib import Path
    from streamarchive.media.stores import open_store

    def peak():
        return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

    async def main(url, folder, short, long):
        store = open_store(url, Path(folder))
        await store.delete((await store.adopt(Path(short), "a/", "")).key)
        before = peak()
        stored = await store.adopt(Path(long), "a/", "")
        sent = peak()
        async for chunk in store.read(stored.key):
            pass
        async with store.local(stored.key):
            pass
        print(sent - before, peak() - sent)

    asyncio.run(main(*sys.argv[1:]))
"""


def test_memory_does_not_grow_with_the_file(s3_url, tmp_path):
    (tmp_path / "short").write_bytes(b"short")
    file = long_file(tmp_path, 500)
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(FLAT),
        s3_url,
        tmp_path / "fetched",
        tmp_path / "short",
        file,
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    sending, receiving = map(int, answer.stdout.split())
    assert sending + receiving < 100 * 1024, f"{sending} kB to send 500 MiB, {receiving} kB more to fetch them"


# --- local copies -------------------------------------------------------------------------------------------


async def test_a_copy_is_gone_once_it_is_not_used(own, tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"content")
    stored = await own.adopt(file, "a/", ".ts")
    async with own.local(stored.key) as first, own.local(stored.key) as second:
        assert first != second
        assert first.suffix == ".ts"
        assert first.parent == tmp_path / "fetched"
    assert list((tmp_path / "fetched").iterdir()) == []
    with pytest.raises(NotFoundError):
        async with own.local("a/missing"):
            pass
    assert list((tmp_path / "fetched").iterdir()) == []


KILLED = """
    import asyncio, sys
    from pathlib import Path
    from streamarchive.media.fetched import Fetched

    async def main():
        async with Fetched(Path(sys.argv[1])).file("copy.ts") as (path, stream):
            stream.write(b"content")
            print(path, flush=True)
            await asyncio.Event().wait()

    asyncio.run(main())
"""


async def test_copies_of_processes_that_were_killed_are_forgotten(tmp_path):
    """But not those that are used."""
    command = [sys.executable, "-c", textwrap.dedent(KILLED), tmp_path / "fetched"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        left = Path(process.stdout.readline().strip())
        async with Fetched(tmp_path / "fetched").file("first") as (first, _):
            assert left.exists()
            process.send_signal(signal.SIGKILL)
            process.wait()
            async with Fetched(tmp_path / "fetched").file("second") as (second, _):
                assert sorted((tmp_path / "fetched").iterdir()) == sorted([first, second])


# --- addresses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "bucket"),
    [
        ("s3://media", buckets.Bucket("media")),
        ("s3://media/", buckets.Bucket("media")),
        ("s3://media/a/b/", buckets.Bucket("media", "a/b")),
        (
            "s3://media/a?endpoint=http://127.0.0.1:9000/&region=cn-north-1",
            buckets.Bucket("media", "a", "http://127.0.0.1:9000", "cn-north-1"),
        ),
        ("s3://my.bucket-1?region=eu-central-1", buckets.Bucket("my.bucket-1", region="eu-central-1")),
    ],
)
def test_an_address_names_bucket_prefix_server_and_region(url, bucket):
    assert buckets.Bucket.of_url(url) == bucket


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///prefix",
        "s3://AKIAEXAMPLE:secret@bucket/prefix",
        "s3://AKIAEXAMPLE@bucket",
        "s3://bucket:9000/prefix",
        "s3://Bucket",
        "s3://bucket/a//b",
        "s3://bucket/../b",
        "s3://bucket/访谈",
        "s3://bucket#part",
        "s3://bucket?secret_access_key=secret",
        "s3://bucket?region=a&region=b",
        "s3://bucket?endpoint=ftp://host",
        "s3://bucket?endpoint=http://me:secret@host",
        "s3://bucket?endpoint=http://host:port",
        "s3://bucket?endpoint=host:9000",
    ],
)
def test_other_addresses_are_refused_without_repeating_a_secret(url):
    with pytest.raises(SettingsError) as caught:
        buckets.Bucket.of_url(url)
    assert "secret" not in str(caught.value)
    assert "AKIAEXAMPLE" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_obstore_one_is_told_how_to_have_it(tmp_path, monkeypatch):
    monkeypatch.setattr(buckets, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="pip install obstore"):
        open_store("s3://bucket", tmp_path)
