from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from streamarchive.clock import unwrap
from streamarchive.errors import UnreadableMediaError
from streamarchive.media import commands
from streamarchive.media.segments import read_times, read_tracks
from tests.media import make, run_ffmpeg

_PACKET = re.compile(r"^(\d+),\s*(-?\d+),\s*(-?\d+),\s*(\d+),")


def packets(file: Path) -> dict[str, list[tuple[int, int]]]:
    """(PTS, end) of every packet by kind of track, as ffmpeg reads them."""
    command = [commands.ffmpeg_path(), "-v", "error", "-copyts", "-i", file, "-map", "0", "-c", "copy"]
    done = subprocess.run(
        [*command, "-f", "framecrc", "-"], capture_output=True, text=True, timeout=60, check=True
    )
    kinds = dict(re.findall(r"#media_type (\d+): (\w+)", done.stdout))
    found: dict[str, list[tuple[int, int]]] = {}
    for line in done.stdout.splitlines():
        if match := _PACKET.match(line):
            pts, length = int(match[3]), int(match[4])
            found.setdefault(kinds[match[1]], []).append((pts, pts + length))
    return found


@pytest.mark.parametrize(
    ("name", "options", "tracks"),
    [
        ("plain.ts", {}, {"video", "audio"}),
        ("sound.ts", {"video": False}, {"audio"}),
        ("picture.ts", {"audio": False}, {"video"}),
    ],
)
def test_times_are_those_that_ffmpeg_reads(tmp_path, name, options, tracks):
    file = make(tmp_path / name, 5, **options)
    expected, times = packets(file), read_times(file.read_bytes())
    assert set(expected) == tracks
    reference = expected["video"] if "video" in tracks else expected["audio"]
    assert times.first_pts == min(pts for pts, _ in reference)
    assert times.end_pts == max(end for _, end in reference)
    assert times.lowest_pts == min(pts for track in expected.values() for pts, _ in track)


def test_pictures_out_of_order_do_not_confuse(tmp_path):
    file = make(tmp_path / "b.ts", 5, "-preset", "medium", "-bf", "3")
    expected, times = packets(file), read_times(file.read_bytes())
    assert times.first_pts == min(pts for pts, _ in expected["video"])
    assert times.end_pts == max(end for _, end in expected["video"])


def test_the_last_picture_lasts_no_longer_where_those_shown_before_it_are_missing(tmp_path):
    """A kill leaves I and P without the B-frames between them: they are decoded one step apart, shown four."""
    data = make(tmp_path / "b.ts", 5, "-preset", "medium", "-bf", "3", audio=False).read_bytes()
    [track] = read_tracks(data).values()
    torn = read_times(data[: track.starts[2]])
    first, last = track.pts[:2]
    assert last - first > 2 * 3600
    assert torn.end_pts == last + 3600


@pytest.mark.parametrize("codec", ["libmp3lame", "ac3", "mp2"])
def test_sound_in_several_codecs(tmp_path, codec):
    file = make(tmp_path / "s.ts", 4, "-c:a", codec, video=False)
    expected, times = packets(file)["audio"], read_times(file.read_bytes())
    assert times.first_pts == min(pts for pts, _ in expected)
    # What cannot be counted in frames is taken to be as long as its neighbours.
    assert abs(times.end_pts - max(end for _, end in expected)) <= (0 if codec == "libmp3lame" else 9000)


def test_a_segment_across_the_wrap(tmp_path):
    file = make(tmp_path / "wrap.ts", 4, "-output_ts_offset", str((1 << 33) / 90_000 - 3))
    times = read_times(file.read_bytes())
    start, duration = times.span(first_of_take=True)
    assert start > (1 << 33) - 90_000 * 3
    assert abs(duration - 4 * 90_000) < 9000
    assert unwrap((start + duration) % (1 << 33), start) == start + duration


def test_picture_and_spool_count_the_same_time(tmp_path):
    """Also where pictures come out of order, which made ffmpeg shift one and not the other."""
    make(tmp_path / "source.ts", 5, "-preset", "medium", "-bf", "3")
    spool = tmp_path / "spool 100%d"
    spool.mkdir()
    import ffmpeg

    arguments = commands.record(ffmpeg.input(str(tmp_path / "source.ts")), spool=spool)
    subprocess.run([*commands.program(), *arguments], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    recorded = packets(tmp_path / "s00000000.ts")["audio"]
    heard = packets(spool / "a00000000.ts")["audio"]
    assert recorded[0] == heard[0]


@pytest.mark.parametrize("content", [b"", b"G" * 100, b"x" * 188, b"G" + bytes(187)])
def test_what_is_no_segment_is_refused(content):
    with pytest.raises(UnreadableMediaError):
        read_times(content)


def test_a_segment_cut_to_whole_packets_is_still_read(tmp_path):
    file = make(tmp_path / "cut.ts", 3)
    data = file.read_bytes()[: 188 * 200]
    assert read_times(data).first_pts == read_times(file.read_bytes()).first_pts


def test_ffmpeg_makes_what_the_tests_ask_for(tmp_path):
    run_ffmpeg("-i", make(tmp_path / "a.ts", 1), "-f", "null", "-")
