"""Stretches are taken out of real segments, packet by packet."""

from __future__ import annotations

import subprocess

import pytest

from streamarchive.media.commands import ffmpeg_path
from streamarchive.media.recut import without
from streamarchive.media.segments import PACKET_BYTES, packet_pid, read_tracks

SECOND = 90_000


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight seconds with a key frame every second and B-frames between, with sound."""
    file = tmp_path_factory.mktemp("recut") / "a.ts"
    call = [ffmpeg_path(), "-v", "error", "-f", "lavfi", "-i", "testsrc=size=160x90:rate=25", "-f", "lavfi"]
    encode = ["-c:v", "libx264", "-g", "25", "-bf", "2", "-pix_fmt", "yuv420p", "-c:a", "aac", "-t", "8"]
    subprocess.run([*call, "-i", "sine", *encode, file], check=True)
    return file.read_bytes()


def tracks_of(data):
    tracks = read_tracks(data).values()
    return next(t for t in tracks if t.video), next(t for t in tracks if not t.video)


def decoded(data, tmp_path):
    """When its pictures are shown, as a decoder that complains about nothing says."""
    file = tmp_path / "cut.ts"
    file.write_bytes(data)
    call = [ffmpeg_path(), "-v", "error", "-xerror", "-copyts", "-i", file, "-map", "0:v", "-f", "framemd5", "-"]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize(("begin", "length"), [(2.5, 2.0), (0.0, 3.0), (6.3, 5.0), (-1.0, 1.5), (3.0, 1.0)])
def test_nothing_of_the_stretch_stays_and_the_rest_decodes(data, tmp_path, begin, length):
    picture, sound = tracks_of(data)
    origin = picture.lowest()
    start, end = origin + round(begin * SECOND), origin + round((begin + length) * SECOND)
    cut = without(data, start % (1 << 33), end - start)
    after, heard = tracks_of(cut)
    assert not [pts for pts in after.pts if start - picture.step() < pts < end]
    assert not [pts for pts in heard.pts if start - sound.step() < pts < end]
    behind = [pts for pts in picture.pts if pts >= end + SECOND]
    assert set(behind) <= set(after.pts)  # at most to the next key frame
    before = [pts for pts in picture.pts if pts <= start - 4 * picture.step()]
    assert set(before) <= set(after.pts)
    assert len(decoded(cut, tmp_path)) == len(after.pts)


def test_packets_are_counted_without_a_break(data):
    picture, _ = tracks_of(data)
    cut = without(data, picture.lowest() + 2 * SECOND, SECOND)
    seen = {}
    for at in range(0, len(cut), PACKET_BYTES):
        pid, counter = packet_pid(cut, at), cut[at + 3] & 0x0F
        if cut[at + 3] & 0x10:
            assert counter == (seen.get(pid, counter - 1) + 1) & 0x0F or pid not in seen
            seen[pid] = counter


def test_a_segment_beside_the_stretch_stays_as_it_is(data):
    picture, _ = tracks_of(data)
    assert without(data, picture.lowest() + 60 * SECOND, SECOND) == data
    assert without(data, picture.lowest() - 60 * SECOND, SECOND) == data


def test_of_a_segment_inside_the_stretch_nothing_stays(data):
    picture, _ = tracks_of(data)
    assert without(data, picture.lowest() - SECOND, 60 * SECOND) == b""
