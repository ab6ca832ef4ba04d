"""The demo's broadcaster as a process: what a recorder and the demo's pages meet."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import datetime

import numpy as np
import psutil
import pytest

from streamarchive.demo.picture import HEIGHT, WIDTH, read_strip
from tests import services
from tests.broadcaster import BroadcasterProcess
from tests.waiting import PATIENCE, until


@pytest.fixture
def start(tmp_path, ffmpeg):
    port, started = services.free_port(), []

    def begin(minutes=10):
        started.append(BroadcasterProcess(tmp_path / "broadcasts", port, minutes))
        status = until(started[-1].status, "the broadcaster to answer")
        return started[-1], status["broadcast"]

    yield begin
    for one in started:
        one.close()


@pytest.fixture(scope="module")
def on_air(tmp_path_factory, ffmpeg):
    """A broadcaster for tests that leave it as it was, and its broadcast."""
    process = BroadcasterProcess(tmp_path_factory.mktemp("demo") / "broadcasts", services.free_port())
    yield process, until(process.status, "the broadcaster to answer")["broadcast"]
    process.close()


def sequence(playlist):
    return int(playlist.partition("#EXT-X-MEDIA-SEQUENCE:")[2].split()[0])


def test_the_stream_carries_picture_sound_and_the_time_of_day(on_air, ffmpeg, tmp_path):
    process, broadcast = on_air
    until(lambda: len(process.segments(broadcast["url"])) >= 3, "three segments")
    raw = ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "pipe:1"]
    frame = subprocess.run(
        [ffmpeg, "-v", "error", "-i", broadcast["url"], *raw], capture_output=True, check=True
    ).stdout
    shown = read_strip(np.frombuffer(frame, np.uint8).reshape(HEIGHT, WIDTH))
    assert shown is not None
    began_ms = datetime.fromisoformat(broadcast["started_at"]).timestamp() * 1000
    assert 0 <= (shown - began_ms) % 2**32 <= time.time() * 1000 - began_ms
    listing = subprocess.run([ffmpeg, "-i", broadcast["url"]], capture_output=True, text=True).stderr
    assert "Video: h264" in listing
    assert "Audio: aac" in listing


def test_a_sentence_asked_for_is_spoken_next_and_logged_with_its_time(on_air):
    process, _ = on_air
    asked = datetime.now().astimezone()
    wish = {"lang": "en", "template": "The {part} is {adv} {adj} {conn} I {like} it."}
    answer = process.call("/say", {**wish, "choices": ["horn", "very", "noisy", "but", "love"]})
    assert answer["text"] == "The horn is very noisy but I love it."

    def said():
        lines = process.status()["sentences"]
        return next((line for line in lines if line["requested"]), None)

    line = until(said, "the sentence to be over")
    assert line["text"] == answer["text"]
    started, ended = (datetime.fromisoformat(line[name]) for name in ("started_at", "ended_at"))
    assert asked < started < ended <= datetime.now().astimezone()
    assert line["end_ms"] - line["start_ms"] == round((ended - started).total_seconds() * 1000)


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"lang": "en", "template": "I say what I like.", "choices": []},
        {"lang": "en", "template": "The {part} is {adv} {adj} {conn} I {like} it.", "choices": ["horn"]},
        {"lang": "tlh", "template": "{thing}", "choices": []},
    ],
    ids=["nothing", "unknown sentence", "too few choices", "unknown language"],
)
def test_what_cannot_be_said_is_refused_in_a_sentence(on_air, wish):
    process, _ = on_air
    headers = {"Content-Type": "application/json"}
    status, sentence = process.refusal("/say", json.dumps(wish).encode(), headers)
    assert status == 400
    assert sentence


def test_other_sites_cannot_reach_the_controls_through_a_browser(on_air):
    process, broadcast = on_air
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert process.refusal("/end", b"x=1", form)[0] == 415
    assert process.refusal("/status", None, {"Host": "evil.example"})[0] == 403
    assert process.status()["broadcast"]["id"] == broadcast["id"]


def test_an_ended_broadcast_closes_its_playlist_and_the_next_begins_at_another_address(start):
    process, first = start()
    until(lambda: process.segments(first["url"]), "the first segment")
    process.call("/end", {})

    def next_one():
        current = process.status()["broadcast"]
        return current if current["id"] != first["id"] else None

    second = until(next_one, "the next broadcast")
    assert second["url"] != first["url"]
    assert process.playlist(first["url"]).rstrip().endswith("#EXT-X-ENDLIST")
    until(lambda: process.segments(second["url"]), "a segment of the next broadcast")


def test_a_broadcast_whose_time_is_over_makes_room_for_the_next(start):
    process, first = start(minutes=0.05)
    until(lambda: process.status()["broadcast"]["id"] != first["id"], "the next broadcast")


def test_after_a_kill_the_same_broadcast_goes_on_with_higher_numbers(start):
    process, first = start()
    until(lambda: len(process.segments(first["url"])) >= 2, "two segments")
    encoders = process.children()
    process.process.send_signal(signal.SIGKILL)
    process.process.wait()
    psutil.wait_procs(encoders, timeout=5 * PATIENCE)
    assert not any(encoder.is_running() for encoder in encoders)

    again, second = start()
    assert second["id"] == first["id"]
    assert second["url"] == first["url"]
    until(lambda: again.segments(second["url"]), "a segment after the restart")
    assert sequence(again.playlist(second["url"])) >= 2


def test_nothing_is_left_when_whoever_started_it_is_gone(start):
    process, broadcast = start()
    until(lambda: process.segments(broadcast["url"]), "the first segment")
    encoders = process.children()
    assert encoders
    process.process.stdin.close()
    assert process.process.wait(5 * PATIENCE) == 0
    assert not any(encoder.is_running() for encoder in encoders)


def test_an_encoder_that_dies_is_replaced(start):
    process, broadcast = start()
    until(lambda: process.segments(broadcast["url"]), "the first segment")
    [encoder] = process.children()
    os.kill(encoder.pid, signal.SIGKILL)
    until(lambda: "#EXT-X-DISCONTINUITY\n" in process.playlist(broadcast["url"]), "segments of another encoder")


def test_a_taken_port_is_one_clear_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "streamarchive.demo.broadcaster", str(tmp_path / "broadcasts")]
        port = str(taken.getsockname()[1])
        done = subprocess.run([*command, "--port", port], capture_output=True, text=True, timeout=30 * PATIENCE)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert port in done.stderr
