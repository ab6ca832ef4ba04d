"""What is made of a broadcast's file besides it: thumbnails, peaks, loudness; and files that are refused."""

from __future__ import annotations

import asyncio
import struct
from itertools import groupby

import numpy as np
import pytest

from streamarchive import jobs
from streamarchive.catalogue import recordings
from streamarchive.media import assembly, commands, loudness, thumbnails
from streamarchive.media.verification import TOLERANCE_MS
from streamarchive.models import AssetKind, JobState
from tests.integration.test_purging import heard_and_seen
from tests.media import make, run_ffmpeg
from tests.takes import assets_of, finalise, record_takes


def scene(file, colour, volume, seconds=6):
    run_ffmpeg(
        "-f", "lavfi", "-i", f"color={colour}:size=320x180:rate=25",
        "-f", "lavfi", "-i", "sine=440:sample_rate=48000", "-t", seconds, "-af", f"volume={volume}",
        "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p", "-c:a", "aac", file,
    )  # fmt: skip
    return file


async def colour_of_tile(file, strip, number):
    """The mean colour in the middle of a picture of the strip: red, green or blue."""
    row, column = divmod(number, strip.columns)
    x, y = column * strip.width + strip.width // 4, row * strip.height + strip.height // 4
    process = await asyncio.create_subprocess_exec(
        commands.ffmpeg_path(), "-v", "error", "-i", file,
        "-vf", f"crop={strip.width // 2}:{strip.height // 2}:{x}:{y},scale=1:1", "-f", "rawvideo",
        "-pix_fmt", "rgb24", "-", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    pixel, _ = await process.communicate()
    return ("red", "green", "blue")[pixel.index(max(pixel))]


async def test_thumbnails_peaks_and_loudness_are_those_of_the_moments_on_the_media_clock(services, tmp_path):
    quiet, loud = scene(tmp_path / "a.ts", "red", 0.4), scene(tmp_path / "b.ts", "blue", 4)
    recording_id = await record_takes(services, quiet, loud)
    assert (await finalise(services)).last_error is None
    files, segments = await assets_of(services, recording_id)
    border_ms = next(s.start_ticks for s in segments if s.take_id != segments[0].take_id) // 90

    strip = thumbnails.of_details(files[AssetKind.THUMBNAILS].details)
    async with services.store.local(files[AssetKind.THUMBNAILS].key) as file:
        for number in range(strip.count):
            at_ms = number * strip.interval_ms
            if abs(at_ms - border_ms) > 1_000:  # key frames are a second apart
                expected = "red" if at_ms < border_ms else "blue"
                assert await colour_of_tile(file, strip, number) == expected, at_ms
    assert (strip.interval_ms, strip.width, strip.height) == (2_000, 160, 90)

    async with services.store.local(files[AssetKind.PEAKS].key) as file:
        data = file.read_bytes()
    _, _, rate, samples, length, _ = struct.unpack("<iIiiIi", data[:24])
    highest = np.frombuffer(data[24:], dtype=np.int8)[1::2].astype(float)
    assert abs(length * samples / rate - segments[-1].end_ticks / 90_000) < 0.2
    border = border_ms * rate // samples // 1000
    assert highest[border + 5 : -5].min() > 5 * highest[5 : border - 5].max() > 0

    measured = loudness.of_details(files[AssetKind.PEAKS].details)
    # The sine is at -21 dBFS (ffmpeg's is an eighth of full scale, and 0.707 of that); four times is 12 dB more.
    assert -14 < measured.integrated_lufs < -7
    assert -8 < measured.true_peak_dbtp < -4


async def test_a_picture_without_sound_and_sound_without_a_picture(services, tmp_path):
    mute = await record_takes(services, make(tmp_path / "mute.ts", 5, audio=False))
    await finalise(services)
    files, _ = await assets_of(services, mute)
    assert AssetKind.PEAKS not in files
    assert files[AssetKind.MP4].verified
    radio = await record_takes(services, make(tmp_path / "radio.ts", 5, video=False))
    await finalise(services)
    files, _ = await assets_of(services, radio)
    assert set(files) == {AssetKind.M4A, AssetKind.PEAKS}
    assert loudness.of_details(files[AssetKind.PEAKS].details) is not None


async def test_sound_that_begins_with_a_later_take_is_in_the_files(services, tmp_path):
    mute, whole = make(tmp_path / "mute.ts", 5, audio=False), scene(tmp_path / "whole.ts", "blue", 1)
    recording_id = await record_takes(services, mute, whole)
    assert (await finalise(services)).last_error is None
    files, segments = await assets_of(services, recording_id)
    assert files[AssetKind.MP4].verified
    async with services.store.local(files[AssetKind.PEAKS].key) as file:
        highest = np.frombuffer(file.read_bytes()[24:], dtype=np.int8)[1::2]
    border = next(s.start_ticks for s in segments if s.take_id != segments[0].take_id) // 9_000
    assert highest[: border - 5].max() == 0
    assert highest[border + 5 : -5].min() > 5


@pytest.mark.parametrize("pictured", [(False, True), (True, False), (False, True, False, True)])
async def test_takes_that_have_only_sound_keep_their_place_beside_those_with_a_picture(
    services, tmp_path, pictured
):
    sources = []
    for number, video in enumerate(pictured):  # what is alike would be taken for what a source sends again
        other = ["-af", f"volume={1 + number / 10}", *(("-vf", f"hue=h={30 * number}") if video else ())]
        sources.append(make(tmp_path / f"{number}.ts", 4, *other, video=video))
    recording_id = await record_takes(services, *sources)
    assert (await finalise(services)).last_error is None
    files, segments = await assets_of(services, recording_id)
    assert files[AssetKind.MP4].verified
    async with services.store.local(files[AssetKind.MP4].key) as file:
        times, loud = await heard_and_seen(file)
    takes = [list(take) for _, take in groupby(segments, key=lambda segment: segment.take_id)]
    seen = []
    for take, has_picture in zip(takes, pictured, strict=True):
        start_ms, end_ms = take[0].start_ticks // 90, take[-1].end_ticks // 90
        inside = [at for at in times if start_ms <= at < end_ms]
        seen += inside
        assert len(inside) == (100 if has_picture else 0)
        assert not has_picture or inside[0] - start_ms <= TOLERANCE_MS
        assert all(loud(at, at + 200) for at in range(start_ms + 100, end_ms - 300, 200))
    assert seen == times
    async with services.database.read() as connection:
        assert (await recordings.get(connection, recording_id)).has_video


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (("-t", "8.9"), "shorter than its media clock"),
        (("-bsf:v", "noise=drop=gt(mod(n\\,50)\\,44)"), "packets of picture instead of"),
        (("-bsf:a", "noise=drop=gt(mod(n\\,50)\\,44)"), "packets of sound instead of"),
        (("-bsf:a", "noise=amount=3"), "sound that cannot be decoded"),
    ],
)
async def test_a_file_that_lost_something_on_the_way_is_refused(services, tmp_path, monkeypatch, damage, fault):
    """The remux is real; what it wrote is damaged before anybody looks at it."""
    join = assembly.join

    async def join_badly(parts, tracks, target, *more):
        await join(parts, tracks, target, *more)
        run_ffmpeg("-i", target, "-c", "copy", *damage, "-f", "mp4", tmp_path / "damaged.mp4")
        (tmp_path / "damaged.mp4").replace(target)

    recording_id = await record_takes(services, make(tmp_path / "a.ts", 10))
    monkeypatch.setattr(assembly, "join", join_badly)
    job = await finalise(services)
    assert job.state is JobState.PARKED
    assert fault in job.last_error
    files, segments = await assets_of(services, recording_id)
    assert files == {}
    assert segments
    monkeypatch.undo()
    async with services.database.write() as tx:
        await jobs.retry(tx, job.id)
    assert (await finalise(services)).last_error is None, "the next attempt does not take up the bad file"
    assert (await assets_of(services, recording_id))[0][AssetKind.MP4].verified
