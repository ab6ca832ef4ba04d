"""Uploads that are complete: judged by their content, taken or refused, and nothing left behind."""

from __future__ import annotations

import asyncio
import http.server
import os
import threading
from pathlib import Path

import pytest

from streamarchive import ingest, jobs
from streamarchive.catalogue import assets, interviews, recordings, transcripts, uploads
from streamarchive.errors import StorageError
from streamarchive.media.incoming import Incoming, display_name
from streamarchive.models import AssetKind, JobState, UploadState
from tests.media import make, run_ffmpeg
from tests.waiting import until_async
from workers import housekeeping, ingester
from workers.runner import JobRun, run_job

PIECE = b"x" * (1 << 20)
"""As much as is written at once."""


async def hand_in(services, data: bytes, name="talk.mp4", captions: str | None = None):
    """An upload that is complete, as the site leaves it."""
    async with services.database.write() as tx:
        interview_id = await interviews.create(tx, titles={"en": "Talk"}, languages=("zh", "en"))
        upload_id = await uploads.begin(tx, interview_id, None, name, len(data))
    incoming = Incoming(services.settings.incoming)
    async with await incoming.open(incoming.media(upload_id)) as file:
        await file.write(data)
        await file.finish()
    if captions is not None:
        await asyncio.to_thread(incoming.captions(upload_id).write_text, captions, "utf-8")
    async with services.database.write() as tx:
        await uploads.complete(tx, upload_id, len(data))
        await ingest.enqueue_upload(tx, upload_id)
    return interview_id, upload_id


async def look_at(services):
    """Do the next job; how it ended."""
    job = await jobs.claim(services.database, (ingest.JOB,), "test")
    await run_job(services, ingester.take, job, asyncio.Event())
    async with services.database.read() as connection:
        return await jobs.get(connection, job.id)


async def upload_of(services, upload_id):
    async with services.database.read() as connection:
        return await uploads.get(connection, upload_id)


def files_of(services):
    """Everything that lies in the archive but its databases."""
    return [
        path for folder in ("incoming", "media") for path in (services.settings.data_dir / folder).rglob("*.*")
    ] + [path for path in services.settings.incoming.glob("*") if path.suffix == ""]


async def test_an_upload_becomes_the_interviews_recording(services, tmp_path):
    data = make(tmp_path / "a.mp4", 3).read_bytes()
    interview_id, upload_id = await hand_in(services, data)
    assert (await look_at(services)).state is JobState.DONE
    async with services.database.read() as connection:
        upload = await uploads.get(connection, upload_id)
        interview = await interviews.get(connection, interview_id)
        recording = await recordings.get(connection, interview.recording_id)
        original = (await assets.of_recording(connection, recording.id))[AssetKind.ORIGINAL]
        queued = {job.kind for job in await jobs.of_recording(connection, recording.id)}
    assert (upload.state, upload.recording_id) == (UploadState.TAKEN, recording.id)
    assert abs(recording.duration_ms - 3000) < 100
    assert original.media_type == "video/mp4"
    assert original.key.endswith(".mp4")
    assert queued == {"finalise", "transcribe"}
    kept = b"".join([chunk async for chunk in services.store.read(original.key)])
    assert kept == data
    assert list(services.settings.incoming.iterdir()) == []


async def test_captions_that_came_along_are_the_text(services, tmp_path):
    data = make(tmp_path / "a.mp3", 3, video=False).read_bytes()
    text = "1\n00:00:00,500 --> 00:00:01,500\n智能座舱\n\n2\n00:00:01,600 --> 00:00:02,500\nThe smart cockpit\n"
    interview_id, _ = await hand_in(services, data, "a.mp3", captions=text)
    await look_at(services)
    async with services.database.read() as connection:
        recording_id = (await interviews.get(connection, interview_id)).recording_id
        cues = await transcripts.of_recording(connection, recording_id)
        queued = {job.kind for job in await jobs.of_recording(connection, recording_id)}
    assert [(cue.text, cue.lang) for cue in cues] == [("智能座舱", "zh"), ("The smart cockpit", "en")]
    assert queued == {"finalise"}


async def test_the_same_file_handed_in_twice_is_two_files(services, tmp_path):
    data = make(tmp_path / "a.mp3", 2, video=False).read_bytes()
    keys = set()
    for _ in range(2):
        interview_id, _ = await hand_in(services, data)
        await look_at(services)
        async with services.database.read() as connection:
            recording_id = (await interviews.get(connection, interview_id)).recording_id
            keys.add((await assets.of_recording(connection, recording_id))[AssetKind.ORIGINAL].key)
    assert len(keys) == 2


async def test_a_worker_that_is_killed_half_way_loses_nothing_and_leaves_nothing(services, tmp_path, monkeypatch):
    """Killed after the file was in the store and before anything was written down."""
    data = make(tmp_path / "a.mp4", 2).read_bytes()
    _, upload_id = await hand_in(services, data)
    incoming = Incoming(services.settings.incoming)
    job = await jobs.claim(services.database, (ingest.JOB,), "first")
    killed = await asyncio.to_thread(incoming.second_name, upload_id, job.epoch)
    await services.store.adopt(killed, f"original/u{upload_id}-{job.epoch}-", ".mp4")
    await jobs.release(services.database, job)

    assert (await look_at(services)).state is JobState.DONE
    assert (await upload_of(services, upload_id)).state is UploadState.TAKEN
    (left,) = files_of(services)
    assert f"u{upload_id}-{job.epoch + 1}-" in left.name


async def test_a_worker_that_comes_too_late_takes_nothing_away(services, tmp_path):
    data = make(tmp_path / "a.mp4", 2).read_bytes()
    interview_id, upload_id = await hand_in(services, data)
    late = JobRun(services, await jobs.claim(services.database, (ingest.JOB,), "late"))
    await jobs.release(services.database, late.job)
    on_time = JobRun(services, await jobs.claim(services.database, (ingest.JOB,), "on time"))
    upload = await upload_of(services, upload_id)
    incoming = Incoming(services.settings.incoming)
    both = [
        ingest.take_upload(services.database, services.store, incoming, upload, run.job.epoch, run.finish)
        for run in (late, on_time)
    ]
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    assert outcomes[1] is None
    assert isinstance(outcomes[0], Exception)
    async with services.database.read() as connection:
        recording_id = (await interviews.get(connection, interview_id)).recording_id
        original = (await assets.of_recording(connection, recording_id))[AssetKind.ORIGINAL]
    assert await services.store.size(original.key) == len(data)
    assert len(files_of(services)) == 1


async def test_cancelled_while_it_is_looked_at(services, tmp_path):
    _, upload_id = await hand_in(services, make(tmp_path / "a.mp4", 2).read_bytes())
    job = await jobs.claim(services.database, (ingest.JOB,), "test")
    async with services.database.write() as tx:
        await uploads.cancel(tx, upload_id)
    await run_job(services, ingester.take, job, asyncio.Event())
    assert (await upload_of(services, upload_id)).state is UploadState.CANCELLED
    await housekeeping.tidy_incoming(services, older_than_seconds=-1)
    assert files_of(services) == []


async def test_housekeeping_deletes_what_nobody_needs_and_nothing_else(services, tmp_path):
    _, wanted = await hand_in(services, b"wanted")
    incoming = Incoming(services.settings.incoming)
    for name in ("upload-999", "upload-999.captions", "upload-999.attempt2"):
        (services.settings.incoming / name).write_bytes(b"")
    (services.settings.incoming / "import-abc").write_bytes(b"")
    await housekeeping.tidy_incoming(services, older_than_seconds=-1)
    assert {path.name for path in services.settings.incoming.iterdir()} == {f"upload-{wanted}", "import-abc"}
    assert incoming.media(wanted).read_bytes() == b"wanted"


async def test_a_disk_that_is_nearly_full_refuses_and_leaves_nothing(tmp_path, monkeypatch):
    incoming = Incoming(tmp_path / "incoming")
    monkeypatch.setattr("streamarchive.media.incoming._SYNC_BYTES", 1000)
    monkeypatch.setattr("streamarchive.media.disk.FULL", 1.1)
    with pytest.raises(StorageError, match="nearly full"):
        async with await incoming.open(incoming.media(1)) as file:
            await file.write(b"x" * 2_000_000)
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_command_that_is_broken_off_while_it_copies_leaves_no_copy(tmp_path):
    """Ctrl-C cancels the command; Python waits for its threads."""
    film, incoming = tmp_path / "film.mp4", tmp_path / "incoming"
    with film.open("wb") as file:
        file.truncate(1 << 30)

    async def break_off():
        importing = asyncio.create_task(ingest._copy(film, incoming))

        async def begun():
            return incoming.is_dir() and list(incoming.iterdir())

        await until_async(begun, "the copy")
        importing.cancel()
        await asyncio.wait([importing])
        assert importing.cancelled()

    asyncio.run(break_off())
    assert list(incoming.iterdir()) == []


async def test_what_is_cut_off_while_it_is_written_goes_into_no_other_file(tmp_path, monkeypatch):
    """The thread that writes cannot be stopped, and numbers of closed files are given out again."""
    reached, going_on, write = threading.Event(), threading.Event(), os.write

    def late(descriptor, data):
        if len(data) == len(PIECE):
            reached.set()
            going_on.wait(30)
        return write(descriptor, data)

    async def receive():
        async with await incoming.open(incoming.media(1)) as file:
            await file.write(PIECE)

    monkeypatch.setattr(os, "write", late)
    incoming = Incoming(tmp_path / "incoming")
    receiving = asyncio.create_task(receive())
    await asyncio.to_thread(reached.wait, 30)
    receiving.cancel()
    await asyncio.wait([receiving], timeout=0.2)
    with (tmp_path / "another").open("wb") as another:
        going_on.set()
        await asyncio.wait([receiving])
        assert receiving.cancelled()
        assert os.fstat(another.fileno()).st_size == 0
    assert list((tmp_path / "incoming").iterdir()) == []


# --- hostile files -----------------------------------------------------------------------------------------


class Canary(http.server.BaseHTTPRequestHandler):
    """Must never be asked."""

    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def canary():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Canary)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def hls(target: str) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n".encode()


def concat(target: str) -> bytes:
    return f"ffconcat version 1.0\nfile '{target}'\n".encode()


def smuggled(head: bytes, playlist: bytes) -> bytes:
    """A playlist behind bytes that look like media."""
    return head + b"\n" + playlist


PLAYLISTS = {
    "hls": hls,
    "concat": concat,
    "hls behind an mp4's first box": lambda target: smuggled(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", hls(target)),
    "concat behind an ID3 tag": lambda target: smuggled(b"ID3\4\0\0\0\0\0\0", concat(target)),
    "hls behind blanks": lambda target: b" \r\n\t" + hls(target),
    "hls behind a byte order mark": lambda target: b"\xef\xbb\xbf" + hls(target),
}


@pytest.mark.parametrize("kind", PLAYLISTS)
async def test_a_playlist_named_mp4_reads_nobody_elses_files_and_asks_no_server(services, tmp_path, canary, kind):
    await hand_in(services, make(tmp_path / "secret.mp3", 2, video=False).read_bytes())
    await look_at(services)
    (secret,) = files_of(services)
    port = canary.server_address[1]
    for target in (str(secret), f"file:{secret}", f"http://127.0.0.1:{port}/x.ts", "../../etc/passwd"):
        interview_id, upload_id = await hand_in(services, PLAYLISTS[kind](target))
        assert (await look_at(services)).state is JobState.DONE
        upload = await upload_of(services, upload_id)
        assert upload.state is UploadState.REFUSED
        assert upload.error.startswith("talk.mp4")
        assert str(secret) not in upload.error
        async with services.database.read() as connection:
            assert (await interviews.get(connection, interview_id)).recording_id is None
    assert canary.asked == []
    assert files_of(services) == [secret]


async def _refused(services, data: bytes, about: str, name="talk.mp4"):
    _, upload_id = await hand_in(services, data, name)
    assert (await look_at(services)).state is JobState.DONE
    upload = await upload_of(services, upload_id)
    assert upload.state is UploadState.REFUSED
    assert about in upload.error
    assert "\n" not in upload.error
    assert files_of(services) == []


@pytest.mark.parametrize(
    ("data", "about"),
    [
        (b"just a letter to the editor " * 100, "not a media file"),
        (b"", "is empty"),
        (b"<html><script>alert(1)</script>", "web page"),
        (b"\0" * 5000, "not a media file"),
        (b"\0\0\0\x18ftypmp42" + b"\0" * 5000, "talk.mp4"),
    ],
)
async def test_what_is_no_media_is_refused_with_a_sentence(services, data, about):
    await _refused(services, data, about)


async def test_a_file_whose_index_is_missing_is_refused(services, tmp_path):
    whole = make(tmp_path / "a.mp4", 5).read_bytes()
    await _refused(services, whole[: len(whole) // 2], "incomplete")


async def test_a_silent_film_is_refused(services, tmp_path):
    await _refused(services, make(tmp_path / "a.mp4", 2, audio=False).read_bytes(), "no sound")


async def test_a_damaged_but_readable_file_is_taken_and_its_damage_is_known(services, tmp_path):
    whole = make(tmp_path / "a.mp4", 10, "-movflags", "+faststart").read_bytes()
    interview_id, _ = await hand_in(services, whole[: len(whole) * 2 // 3])
    await look_at(services)
    async with services.database.read() as connection:
        recording_id = (await interviews.get(connection, interview_id)).recording_id
        recording = await recordings.get(connection, recording_id)
    assert "ends after" in recording.damage
    assert recording.duration_ms < 8000


async def test_eight_hours_of_silence_are_taken_as_what_they_are(services, tmp_path):
    quarter, silence = tmp_path / "quarter.m4a", tmp_path / "silence.m4a"
    run_ffmpeg("-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", str(900), quarter)
    run_ffmpeg("-stream_loop", "31", "-i", quarter, "-c", "copy", silence)
    interview_id, _ = await hand_in(services, silence.read_bytes(), "silence.m4a")
    await look_at(services)
    async with services.database.read() as connection:
        recording_id = (await interviews.get(connection, interview_id)).recording_id
        assert (await recordings.get(connection, recording_id)).duration_ms == pytest.approx(
            8 * 3_600_000, abs=5_000
        )


async def test_a_file_full_of_errors_is_taken_if_its_sound_can_be_read(services, tmp_path):
    """Thousands of messages must not bury what the file is."""
    part, broken = tmp_path / "part.flac", tmp_path / "broken.flac"
    run_ffmpeg("-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "900", part)
    run_ffmpeg("-stream_loop", "15", "-i", part, "-c", "copy", broken)  # its time begins anew fifteen times
    interview_id, _ = await hand_in(services, broken.read_bytes(), "broken.flac")
    await look_at(services)
    async with services.database.read() as connection:
        recording_id = (await interviews.get(connection, interview_id)).recording_id
        assert (await recordings.get(connection, recording_id)).duration_ms > 800_000


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("talk.mp4", "talk.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\采访.mov", "采访.mov"),
        ("a\0b.mp4", "ab.mp4"),
        ("exe.\u202e4pm", "exe. 4pm"),
        ("line\nbreak\t.mp4", "line break .mp4"),
        ("..", "file"),
        ("", "file"),
        ("x" * 300 + ".mp4", "x" * 108 + "…" + "x" * 7 + ".mp4"),
    ],
)
def test_names_are_for_reading_only(given, shown):
    assert display_name(given) == shown


def test_no_name_becomes_a_path(tmp_path: Path):
    incoming = Incoming(tmp_path)
    assert incoming.media(7).parent == tmp_path
    assert incoming.captions(7).parent == tmp_path
