"""A source that tells the time is recorded: what its finished file shows and plays is on the media clock."""

from __future__ import annotations

import pytest

from streamarchive.media.segments import whole_packets
from streamarchive.media.verification import TOLERANCE_MS
from streamarchive.models import AssetKind, JobState
from tests import clockwork
from tests.clockwork import WRAP_SECONDS
from tests.integration.test_finaliser import assets_of, finalise, record_takes


async def clocks_of(services, recording_id):
    """The media clock, and that of the finished file."""
    assert (await finalise(services)).state is JobState.DONE
    assets, _ = await assets_of(services, recording_id)
    async with services.store.local(assets[AssetKind.MP4].key) as file:
        return await clockwork.media_clock(services, recording_id), clockwork.file_clock(file)


def check(expected, read, *, sound=True):
    """Nothing is lost, and everything is where it should be."""
    pictures = clockwork.errors(read.picture, expected.picture)
    sounds = clockwork.errors(read.sound, expected.sound)
    assert len(pictures) >= 0.98 * len(expected.picture) > 0
    assert max(map(abs, pictures)) <= TOLERANCE_MS
    assert bool(expected.sound) is sound
    if sound:
        assert len(sounds) >= 0.95 * len(expected.sound)
        assert max(map(abs, sounds)) <= TOLERANCE_MS


def make(folder, number, seconds, *, keep=1.0, starts_s=0.0, **more):
    """A take's source, of which only the beginning has come."""
    source = folder / f"source{number}.ts"
    more = {"first_ms": 60_000 * number} | more
    clockwork.encode(seconds, "-output_ts_offset", f"{starts_s:.3f}", source, **more)
    data = source.read_bytes()
    source.write_bytes(data[: whole_packets(int(len(data) * keep))])
    return source


B_FRAMES = ("-preset", "medium", "-bf", "3")
LATE_SOUND = ("-af", "asetpts=PTS+0.7/TB")
SOURCES = {
    "torn takes": [{"keep": keep, "starts_s": 400 * keep} for keep in (0.63, 0.47, 0.81)],
    "torn takes with B-frames": [{"keep": keep, "options": B_FRAMES} for keep in (0.63, 0.47, 0.33)],
    "across the wrap": [{"keep": 0.6}, {"starts_s": WRAP_SECONDS - 5, "options": B_FRAMES}, {"keep": 0.4}],
    "sound that begins later": [{"options": LATE_SOUND}, {"options": LATE_SOUND, "keep": 0.5}, {}],
    "a take without sound": [{}, {"sound": False, "keep": 0.7}, {}],
    "no sound at first": [{"sound": False, "keep": 0.7, "options": B_FRAMES}, {}, {"keep": 0.5}],
}


@pytest.mark.parametrize("takes", SOURCES.values(), ids=SOURCES.keys())
async def test_the_file_shows_and_plays_what_the_media_clock_says(services, tmp_path, takes):
    sources = [make(tmp_path, number, 9, **take) for number, take in enumerate(takes)]
    recording_id = await record_takes(services, *sources)
    check(*await clocks_of(services, recording_id))


async def test_without_any_sound(services, tmp_path):
    sources = [make(tmp_path, number, 9, sound=False, keep=0.7, options=B_FRAMES) for number in range(2)]
    check(*await clocks_of(services, await record_takes(services, *sources)), sound=False)
