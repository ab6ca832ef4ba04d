"""`streamarchive demo` as a whole: killed, stopped, started again."""

import socket
import subprocess
import sys

import pytest

from tests.demo import Demo
from tests.waiting import PATIENCE, until

SEGMENTS = "SELECT sequence, sha256, start_ticks FROM media_segment WHERE deleted_at IS NULL ORDER BY id"
CUES = "SELECT id, start_ms, end_ms, text FROM cue WHERE deleted_at IS NULL ORDER BY id"
GAPS = "SELECT reason FROM gap"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, ffmpeg):
    return tmp_path_factory.mktemp("demo") / "archive"


@pytest.fixture
def start(folder):
    started = []

    def begin():
        started.append(Demo(folder))
        return started[-1]

    yield begin
    for demo in started:
        demo.close()


def test_after_a_kill_of_everything_the_recording_goes_on_in_the_same_interview(start):
    first = start()
    interview = first.on_air()["id"]
    until(lambda: first.interview(interview)["duration_ms"] > 12_000, "some seconds of recording")
    first.kill_group()
    before = first.query(SEGMENTS), first.query(CUES)
    assert all(before)

    again = start()
    assert again.on_air()["id"] == interview
    until(lambda: len(again.query(SEGMENTS)) > len(before[0]) + 2, "the recording to go on")
    until(lambda: len(again.query(CUES)) > len(before[1]) + 1, "captions to go on")
    segments, cues = again.query(SEGMENTS), again.query(CUES)
    assert set(before[0]) <= set(segments)
    assert set(before[1]) <= set(cues)
    assert len({segment[1] for segment in segments}) == len(segments), "a segment was recorded twice"
    assert len({cue[1:] for cue in cues}) == len(cues), "a cue was written twice"
    assert again.query(GAPS)


def test_ctrl_c_leaves_nothing_running_and_the_next_start_goes_on(start):
    first = start()
    interview = first.on_air()["id"]
    first.stop()
    assert first.process.returncode == 0
    assert "Traceback" not in first.log()
    assert start().on_air()["id"] == interview


def test_a_taken_port_is_one_clear_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "streamarchive", "demo", "--data-dir", str(tmp_path / "archive")]
        done = subprocess.run([*command, "--port", port], capture_output=True, text=True, timeout=60 * PATIENCE)
    assert done.returncode == 1
    [line] = done.stderr.strip().splitlines()
    assert port in line
    assert "--port" in line


def test_a_second_demo_in_the_same_folder_is_refused(start, folder):
    first = start()
    first.on_air()
    command = [sys.executable, "-m", "streamarchive", "demo", "--data-dir", str(folder), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 * PATIENCE)
    assert done.returncode == 1
    [line] = done.stderr.strip().splitlines()
    assert str(folder) in line
