from __future__ import annotations

import asyncio

import pytest

from streamarchive import ingest, jobs
from streamarchive.catalogue import recordings
from streamarchive.clock import to_ms
from streamarchive.ingest import Details
from streamarchive.media import commands
from streamarchive.media.probe import probe
from streamarchive.media.segments import whole_packets
from streamarchive.media.verification import TOLERANCE_MS
from streamarchive.models import AssetKind, JobState
from tests.media import make, run_ffmpeg
from tests.takes import assets_of, finalise, record_takes

SOUND = {"m4a", "peaks"}
PICTURE = SOUND | {"mp4", "poster", "thumbnails"}


def media_end_ms(segments):
    return to_ms(segments[-1].start_ticks + segments[-1].duration_ticks)


async def test_one_take_becomes_a_fast_start_mp4_with_sound_and_poster(services, tmp_path):
    source = make(tmp_path / "a.ts", 11)
    recording_id = await record_takes(services, source)
    job = await finalise(services)
    assert (job.state, job.last_error, job.progress) == (JobState.DONE, None, 1.0)
    assets, segments = await assets_of(services, recording_id)
    assert set(assets) == set(AssetKind) - {AssetKind.ORIGINAL}
    assert assets[AssetKind.MP4].verified
    async with services.store.local(assets[AssetKind.MP4].key) as file:
        info = await probe(file)
        head = file.read_bytes()[:64_000]
    assert abs(info.duration_ms - media_end_ms(segments)) <= TOLERANCE_MS
    assert head.index(b"moov") < head.index(b"mdat")
    async with services.store.local(assets[AssetKind.POSTER].key) as file:
        assert file.read_bytes().startswith(b"\xff\xd8\xff")
    async with services.store.local(assets[AssetKind.M4A].key) as file:
        sound = await probe(file)
    assert not sound.has_video
    assert abs(sound.duration_ms - info.duration_ms) <= TOLERANCE_MS
    assert not list((services.settings.data_dir / "finalise").iterdir())


@pytest.mark.parametrize("pictures", [(), ("-preset", "medium", "-bf", "3")])
async def test_takes_stand_end_to_end_in_the_file_as_on_the_media_clock(services, tmp_path, pictures):
    """Each take shows another colour and has another clock: the border has to be where the clock says."""
    colours, sources = ("red", "blue", "green"), []
    for number, colour in enumerate(colours):
        source = tmp_path / f"{colour}.ts"
        offset = 95_000 - 3 if number == 1 else 1000 * number  # the second crosses the wrap of the time stamps
        run_ffmpeg(
            "-f", "lavfi", "-i", f"color={colour}:size=160x90:rate=25", "-f", "lavfi", "-i", "sine=440:r=48000",
            "-t", 5.3 + number, "-c:v", "libx264", "-g", "25", *(pictures or ("-preset", "ultrafast")),
            "-pix_fmt", "yuv420p", "-c:a", "aac", "-output_ts_offset", offset, source,
        )  # fmt: skip
        sources.append(source)
    recording_id = await record_takes(services, *sources)
    assert (await finalise(services)).state is JobState.DONE
    assets, segments = await assets_of(services, recording_id)
    async with services.database.read() as connection:
        takes = await recordings.takes(connection, recording_id)
    assert len(takes) == 3
    async with services.store.local(assets[AssetKind.MP4].key) as file:
        info = await probe(file)
        assert abs(info.duration_ms - media_end_ms(segments)) <= TOLERANCE_MS
        for take, colour in zip(takes[1:], colours[1:], strict=True):
            border_ms = to_ms(take.base_ticks)
            after = await colour_at(file, border_ms + 2 * TOLERANCE_MS)
            before = await colour_at(file, border_ms - 2 * TOLERANCE_MS)
            assert after == colour
            assert before == colours[colours.index(colour) - 1]


async def test_takes_that_ended_anywhere_add_up_to_the_media_clock(services, tmp_path):
    """Killed recorders leave takes cut between pictures that are shown in another order than they come in."""
    whole = make(tmp_path / "whole.ts", 9, "-preset", "medium", "-bf", "3").read_bytes()
    sources = []
    for number in range(8):
        source = tmp_path / f"{number}.ts"
        source.write_bytes(whole[: whole_packets(len(whole) * (number + 2) // 10 - 1777 * number)])
        sources.append(source)
    recording_id = await record_takes(services, *sources)
    assert (await finalise(services)).state is JobState.DONE
    assets, segments = await assets_of(services, recording_id)
    async with services.store.local(assets[AssetKind.MP4].key) as file:
        assert abs((await probe(file)).duration_ms - media_end_ms(segments)) <= TOLERANCE_MS


async def colour_at(file, at_ms):
    process = await asyncio.create_subprocess_exec(
        commands.ffmpeg_path(), "-v", "error", "-ss", f"{at_ms}ms", "-i", file, "-frames:v", "1",
        "-vf", "scale=1:1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    pixel, _ = await process.communicate()
    return ("red", "green", "blue")[pixel.index(max(pixel))]


async def test_radio_becomes_an_m4a(services, tmp_path):
    source = make(tmp_path / "radio.mp3", 9, video=False)
    recording_id = await record_takes(services, source)
    assert (await finalise(services)).state is JobState.DONE
    assets, segments = await assets_of(services, recording_id)
    assert set(assets) == {AssetKind.M4A, AssetKind.PEAKS}
    async with services.store.local(assets[AssetKind.M4A].key) as file:
        info = await probe(file)
    assert info.tracks.audio == "aac"
    assert abs(info.duration_ms - media_end_ms(segments)) <= TOLERANCE_MS


async def test_a_stream_without_sound_becomes_an_mp4(services, tmp_path):
    recording_id = await record_takes(services, make(tmp_path / "mute.ts", 5, audio=False))
    assert (await finalise(services)).state is JobState.DONE
    assets, _ = await assets_of(services, recording_id)
    assert set(assets) == {AssetKind.MP4, AssetKind.POSTER, AssetKind.THUMBNAILS}


async def test_the_same_job_done_again_changes_nothing(services, tmp_path):
    recording_id = await record_takes(services, make(tmp_path / "a.ts", 5))
    await finalise(services)
    before, _ = await assets_of(services, recording_id)
    async with services.database.write() as tx:
        await jobs.enqueue(tx, "finalise", str(recording_id), recording_id=recording_id)
    assert (await finalise(services)).state is JobState.DONE
    after, _ = await assets_of(services, recording_id)
    assert after == before


async def test_a_missing_segment_is_an_error_on_the_job_and_leaves_no_file(services, tmp_path):
    recording_id = await record_takes(services, make(tmp_path / "a.ts", 9))
    _, segments = await assets_of(services, recording_id)
    await services.store.delete(segments[1].key)
    job = await finalise(services)
    assert job.state is JobState.PARKED
    assert segments[1].key in job.last_error
    assets, _ = await assets_of(services, recording_id)
    assert assets == {}
    assert not list((services.settings.data_dir / "finalise").iterdir())


@pytest.mark.parametrize(
    ("name", "options", "kinds", "tracks"),
    [
        ("a.mp4", (), PICTURE, ("h264", "aac")),
        ("a.mkv", (), PICTURE, ("h264", "aac")),
        ("a.webm", ("-c:v", "libvpx", "-deadline", "realtime", "-b:v", "200k", "-c:a", "libopus"),
         PICTURE, ("h264", "aac")),
        ("a.mp3", (), SOUND, (None, "aac")),
        ("a.m4a", (), SOUND, (None, "aac")),
        # Its last packet alone is a quarter of a second.
        ("a.flac", ("-ar", "16000", "-c:a", "flac", "-frame_size", "4096"), SOUND, (None, "aac")),
        ("odd.avi", ("-vf", "scale=161:91", "-c:v", "mjpeg", "-pix_fmt", "yuvj444p", "-c:a", "pcm_s16le"),
         PICTURE, ("h264", "aac")),
    ],
)  # fmt: skip
async def test_an_upload_becomes_what_browsers_play(services, tmp_path, name, options, kinds, tracks):
    source = make(tmp_path / name, 4, *options, video=not name.endswith(("mp3", "m4a", "flac")))
    content = source.read_bytes()
    await ingest.import_file(
        services.database, services.store, source, Details({"en": "Talk"}), incoming=tmp_path / "in"
    )
    job = await finalise(services)
    assert (job.state, job.last_error) == (JobState.DONE, None)
    assets, _ = await assets_of(services, job.recording_id)
    assert {kind.value for kind in assets} == kinds | {"original"}
    main = assets[AssetKind.MP4 if "mp4" in kinds else AssetKind.M4A]
    async with services.store.local(main.key) as file:
        info = await probe(file)
    assert (info.tracks.video, info.tracks.audio) == tracks
    async with services.database.read() as connection:
        recording = await recordings.get(connection, job.recording_id)
    assert abs(info.duration_ms - recording.duration_ms) <= TOLERANCE_MS
    assert source.read_bytes() == content, "the user's file stays as it was"
