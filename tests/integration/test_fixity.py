"""Whether the media store holds what the catalogue says is found out, told, and mended where it can be."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from streamarchive import fixity, jobs, withholding
from streamarchive.catalogue import media_segments
from streamarchive.cli import verifying
from streamarchive.cli.parser import build_parser
from streamarchive.errors import ConflictError, StorageError, UsageError
from streamarchive.fixity import Fault
from streamarchive.models import AssetKind, JobState
from streamarchive.services import open_services
from streamarchive.settings import Settings
from tests.integration.test_purging import purge
from tests.media import make
from tests.services import S3Server
from tests.stepping import kill_before
from tests.takes import assets_of, finalise, record_takes


@pytest.fixture(params=["file", "s3"])
async def archive(request, tmp_path):
    """A finished broadcast; services, its recording, and the folder in which the store has its files."""
    media, folder = "", tmp_path / "archive" / "media"
    if request.param == "s3":
        server = request.getfixturevalue("s3_server")
        media, folder = f"s3://{S3Server.BUCKET}?endpoint={server.endpoint}", server.objects
    async with open_services(Settings(data_dir=tmp_path / "archive", media=media)) as services:
        recording_id = await record_takes(services, make(tmp_path / "a.ts", 9))
        assert (await finalise(services)).state is JobState.DONE
        yield services, recording_id, folder


def damage(file):
    """One bit of it is another."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def spoil(file, fault):
    if fault is Fault.MISSING:
        file.unlink()
    elif fault is Fault.CUT:
        os.truncate(file, 100)
    else:
        damage(file)


async def examine(services, *, read=True, mend=True):
    faulty = []
    found = await fixity.examine(services.database, services.store, read=read, mend=mend, faulty=faulty.append)
    return found, {each.file.key: each for each in faulty}


async def unknown(services, *, delete=False):
    pages = fixity.unknown(services.database, services.store, delete=delete)
    return [each.key async for page in pages for each in page]


async def test_what_is_as_it_was_written_is_sound(archive):
    services, recording_id, _ = archive
    files, segments = await assets_of(services, recording_id)
    found, faulty = await examine(services)
    assert faulty == {}
    assert found.files == len(files) + len(segments)
    assert found.size_bytes == sum(each.size_bytes for each in [*files.values(), *segments])
    assert found.lost == 0


@pytest.mark.parametrize("fault", [Fault.MISSING, Fault.CUT, Fault.DAMAGED])
@pytest.mark.parametrize("kind", [AssetKind.MP4, AssetKind.POSTER])
async def test_a_file_that_was_made_is_made_again(archive, kind, fault):
    services, recording_id, folder = archive
    before, _ = await assets_of(services, recording_id)
    file = folder / before[kind].key
    spoil(file, fault)
    found, faulty = await examine(services)
    assert {key: (each.fault, each.replaceable) for key, each in faulty.items()} == {
        before[kind].key: (fault, True)
    }
    assert found.lost == 0
    there, _ = await assets_of(services, recording_id)
    assert set(there) == set(before) - {kind}, "the others are used until then"
    assert (await finalise(services)).last_error is None
    after, _ = await assets_of(services, recording_id)
    assert set(after) == set(before)
    assert (await examine(services))[1] == {}
    assert (await examine(services))[0].files == found.files


async def test_a_parked_finaliser_is_asked_again(archive):
    services, recording_id, folder = archive
    files, _ = await assets_of(services, recording_id)
    async with services.database.write() as tx:
        job_id = await jobs.enqueue(tx, jobs.FINALISE, str(recording_id), recording_id=recording_id)
    job = await jobs.claim(services.database, (jobs.FINALISE,), "test")
    assert await jobs.fail(services.database, job, "it was no good", retryable=False) is JobState.PARKED
    (folder / files[AssetKind.MP4].key).unlink()
    assert (await examine(services))[0].replaceable == 1
    assert (await finalise(services)).id == job_id
    assert set((await assets_of(services, recording_id))[0]) == set(files)


async def test_only_who_reads_finds_other_bytes_of_the_same_length(archive):
    services, recording_id, folder = archive
    files, _ = await assets_of(services, recording_id)
    damage(folder / files[AssetKind.M4A].key)
    assert (await examine(services, read=False))[1] == {}
    _, faulty = await examine(services, mend=False)
    assert [(each.fault, each.replaceable) for each in faulty.values()] == [(Fault.DAMAGED, True)]
    assert (await assets_of(services, recording_id))[0] == files, "nothing was to be mended"
    assert await jobs.claim(services.database, (jobs.FINALISE,), "test") is None


async def test_nothing_is_made_of_a_source_that_is_damaged(archive):
    services, recording_id, folder = archive
    files, segments = await assets_of(services, recording_id)
    damage(folder / segments[1].key)
    damage(folder / files[AssetKind.MP4].key)
    found, faulty = await examine(services)
    assert {key: each.replaceable for key, each in faulty.items()} == {
        segments[1].key: False,
        files[AssetKind.MP4].key: False,
    }
    assert found.lost == 2
    assert await assets_of(services, recording_id) == (files, segments)
    assert (folder / files[AssetKind.MP4].key).exists(), "what there is left of it may be of use"


async def test_what_has_been_let_go_of_meanwhile_is_not_missing(archive, monkeypatch):
    services, recording_id, _ = archive
    _, before = await assets_of(services, recording_id)
    async with services.database.write() as tx:
        await withholding.purge(tx, (await withholding.withhold(tx, recording_id, 0, 3_000)).id)
    assert (await purge(services)).state is JobState.DONE
    _, after = await assets_of(services, recording_id)
    assert after != before

    async def as_it_was(_connection, _recording_id):
        return before

    monkeypatch.setattr(media_segments, "of_recording", as_it_was)
    assert (await examine(services))[1] == {}


class Broken:
    """A store on a disk with a bad spot, or one that is away altogether."""

    def __init__(self, store, key, *, away):
        self._store, self._key, self._away = store, key, away
        self._read = False

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def size(self, key):
        if self._away and self._read:
            raise StorageError("it cannot be reached")
        return await self._store.size(key)

    async def read(self, key):
        if key == self._key:
            self._read = True
            raise StorageError("Input/output error")
        async for chunk in self._store.read(key):
            yield chunk


async def test_a_file_on_a_bad_spot_is_unreadable_and_the_others_are_looked_at(services, tmp_path):
    recording_id = await record_takes(services, make(tmp_path / "a.ts", 9))
    _, segments = await assets_of(services, recording_id)
    broken = replace(services, store=Broken(services.store, segments[0].key, away=False))
    found, faulty = await examine(broken)
    assert {key: each.fault for key, each in faulty.items()} == {segments[0].key: Fault.UNREADABLE}
    assert found.files == len(segments)


async def test_a_store_that_goes_away_is_no_damage(services, tmp_path):
    recording_id = await record_takes(services, make(tmp_path / "a.ts", 9))
    _, segments = await assets_of(services, recording_id)
    with pytest.raises(StorageError, match="cannot be reached"):
        await examine(replace(services, store=Broken(services.store, segments[0].key, away=True)))


async def test_what_the_catalogue_does_not_know_is_told_after_a_day(archive, tmp_path, monkeypatch):
    services, *_ = archive
    stray = tmp_path / "stray"
    stray.write_bytes(b"nobody's")
    key = (await services.store.adopt(stray, "original/", ".mp4")).key
    assert await unknown(services) == []
    monkeypatch.setattr(fixity, "UNKNOWN_AFTER", -fixity.UNKNOWN_AFTER)
    assert await unknown(services) == [key]


async def test_unknown_files_are_deleted_only_while_nothing_is_at_work(archive, tmp_path, monkeypatch):
    services, recording_id, _ = archive
    monkeypatch.setattr(fixity, "UNKNOWN_AFTER", -fixity.UNKNOWN_AFTER)
    stray = tmp_path / "stray"
    stray.write_bytes(b"nobody's, or about to be somebody's")
    key = (await services.store.adopt(stray, "original/", ".mp4")).key
    async with services.database.write() as tx:
        await jobs.enqueue(tx, jobs.FINALISE, str(recording_id), recording_id=recording_id)
    job = await jobs.claim(services.database, (jobs.FINALISE,), "test")
    with pytest.raises(ConflictError, match="1 jobs at work"):
        await unknown(services, delete=True)
    assert await services.store.size(key) is not None
    await jobs.release(services.database, job)
    assert await unknown(services, delete=True) == [key]
    assert await services.store.size(key) is None


async def verify(services, *arguments):
    options = build_parser().parse_args(["verify", "--media", *arguments])
    return await verifying.verify(services.settings, options)


async def test_the_command_tells_and_deletes(archive, tmp_path, monkeypatch, capsys):
    services, recording_id, folder = archive
    monkeypatch.setattr(fixity, "UNKNOWN_AFTER", -fixity.UNKNOWN_AFTER)
    stray = tmp_path / "stray"
    stray.write_bytes(b"x" * 1234)
    kept = await services.store.adopt(stray, "original/", ".mp4")
    assert await verify(services, "--read") == 0
    told = capsys.readouterr().out
    assert "every byte as it was written" in told
    assert "1 files (1 kB) that the catalogue does not know take up room" in told
    assert await services.store.size(kept.key) is not None

    files, segments = await assets_of(services, recording_id)
    (folder / segments[0].key).rename(tmp_path / "aside")
    with pytest.raises(ConflictError, match="1 files are missing or damaged, so nothing is deleted"):
        await verify(services, "--delete-unknown")
    assert await services.store.size(kept.key) is not None
    assert await verify(services) == 1
    told = capsys.readouterr().out
    assert f"missing: {segments[0].key}, segment of recording {recording_id}" in told
    assert "1 missing; 1 to be put back from a backup" in told

    (tmp_path / "aside").rename(folder / segments[0].key)
    (folder / files[AssetKind.POSTER].key).unlink()
    assert await verify(services, "--dry-run") == 1
    assert "1 missing; 1 can be made again, without --dry-run." in capsys.readouterr().out
    assert await verify(services, "--delete-unknown", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["unknown"] == {"files": 1, "bytes": 1234, "deleted": True}
    assert (said["made_again"], said["lost"]) == (1, 0)
    assert [each["kind"] for each in said["faults"]] == ["poster"]
    assert await services.store.size(kept.key) is None


@pytest.mark.parametrize("flags", [("--search", "--read"), ("--media", "--dry-run", "--delete-unknown")])
async def test_flags_that_make_no_sense_together_are_refused(services, flags):
    with pytest.raises(UsageError):
        await verifying.verify(services.settings, build_parser().parse_args(["verify", *flags]))


async def test_what_a_killed_finaliser_has_stored_goes_with_the_next(tmp_path):
    """The range was in that file, and nobody knew of it: deleted for good has to mean it."""
    async with open_services(Settings(data_dir=tmp_path / "archive")) as services:
        recording_id = await record_takes(services, make(tmp_path / "a.ts", 9))
        folder = services.settings.data_dir / "media" / "recordings" / str(recording_id)
        step = 1
        while not folder.exists() or len(list(folder.iterdir())) < 2:
            assert await kill_before(services, jobs.FINALISE, step) is not None, "it was done before"
            step += 1
        stored = set(folder.iterdir())
        async with services.database.write() as tx:
            await withholding.withhold(tx, recording_id, 2_000, 4_000)
        assert (await finalise(services)).last_error is None
        files, _ = await assets_of(services, recording_id)
        assert {file.name for file in folder.iterdir()} == {
            each.key.rpartition("/")[2] for each in files.values()
        }
        assert stored - set(folder.iterdir())
