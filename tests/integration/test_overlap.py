from __future__ import annotations

import pytest

from streamarchive.media.overlap import Overlap, units
from streamarchive.media.segments import PACKET_BYTES, read_times
from tests.media import make, run_ffmpeg


@pytest.fixture(scope="module")
def segments(tmp_path_factory):
    """Six segments of two seconds, a key frame each second."""
    folder = tmp_path_factory.mktemp("overlap")
    source = make(folder / "whole.ts", 12, "-bf", "2")
    run_ffmpeg("-i", source, "-c", "copy", "-f", "segment", "-segment_time", "2", folder / "s%d.ts")
    return [(folder / f"s{number}.ts").read_bytes() for number in range(6)]


def digests(data: bytes) -> list[bytes]:
    return [unit.digest for unit in units(data)]


def test_every_picture_is_a_unit_and_key_frames_can_be_begun_with(segments):
    found = units(segments[0])
    assert len(found) == 50
    assert [unit.start is not None for unit in found].count(True) == 2
    assert len({unit.digest for unit in found}) == 50


def test_a_segment_that_is_known_whole_is_dropped_and_the_next_is_kept(segments):
    overlap = Overlap(segments[:4])
    assert overlap.trim(segments[3]) == b""
    assert overlap.trim(segments[4]) == segments[4]
    assert overlap.over


def test_several_segments_may_come_again(segments):
    overlap = Overlap(segments[:4])
    assert [overlap.trim(data) for data in segments[2:5]] == [b"", b"", segments[4]]


def test_what_was_cut_by_a_crash_is_not_doubled(segments):
    """The last segment ended within a picture, somewhere in its second half."""
    packets = len(segments[3]) // PACKET_BYTES
    for part in (0.45, 0.55, 0.7, 0.9):
        torn = segments[3][: int(packets * part) * PACKET_BYTES]
        trimmed = Overlap([*segments[:3], torn]).trim(segments[3])
        known = digests(torn)[:-1]
        assert not set(known) & set(digests(trimmed)) if trimmed else part > 0.5
        if trimmed:
            times = read_times(trimmed)
            assert times.tracks.video == "h264"
            assert times.tracks.audio == "aac"
            assert times.lowest_pts >= times.first_pts - 9000, "sound and picture begin together"


def test_what_has_nothing_in_common_is_left_alone(segments):
    overlap = Overlap(segments[:2])
    assert overlap.trim(segments[4]) == segments[4]
    assert overlap.over


def test_sound_alone_is_compared_frame_by_frame(tmp_path):
    """The two takes pack the same frames differently."""
    source = tmp_path / "noise.aac"
    run_ffmpeg("-f", "lavfi", "-i", "anoisesrc=r=48000:d=10", "-c:a", "aac", source)
    run_ffmpeg("-i", source, "-t", "6", "-c", "copy", tmp_path / "old.ts")
    run_ffmpeg("-ss", "3.1", "-i", source, "-c", "copy", tmp_path / "new.ts")
    old, new = (tmp_path / "old.ts").read_bytes(), (tmp_path / "new.ts").read_bytes()
    trimmed = Overlap([old]).trim(new)
    assert not set(digests(trimmed)) & set(digests(old))
    missing = len(set(digests(new)) - set(digests(old))) - len(digests(trimmed))
    assert 0 <= missing < 40, "at most one packet's frames are lost"
