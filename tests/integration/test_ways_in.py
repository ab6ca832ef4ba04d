"""One recording for every way in: real servers, real encoders, real recorder."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from pathlib import Path

from streamarchive.media.commands import ffmpeg_path
from streamarchive.media.segments import read_times
from tests.encoders import AAC, H264, encoder, persistent_encoder
from tests.onair import on_air
from tests.recording import (
    check_books,
    recording_worker,
    request_stop,
    schedule,
    state,
    until_ended,
    until_segments,
)
from tests.services import free_port
from tests.waiting import until_async

SRT_LATENCY = "latency=2000000"
"""Microseconds: what comes later is left out, and a busy machine is late."""
LOCKED = "rtsp://camera:Word-0123456789@"


async def record_from(services, url, *, count=2):
    """Some segments of it, as one finished recording; what its tracks are and whether it decodes."""
    stream_id = await schedule(services, url)
    async with recording_worker(services):
        await until_segments(services, stream_id, count)
        said = command_lines()
        await request_stop(services, stream_id)
        await until_ended(services, stream_id)
    segments = await check_books(services, stream_id)
    content = b"".join([b"".join([chunk async for chunk in services.store.read(s.key)]) for s in segments])
    decoded = await asyncio.to_thread(decode, content)
    assert decoded == "", "a player would stumble"
    for secret in ("Word-0123456789", "0123456789-secret", "stream-key"):
        assert secret not in said, "everybody on the machine can read this"
    return read_times(content).tracks


def command_lines():
    """What the recorders of this machine have started their ffmpegs with."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if "segment_list" in words:
                found.append(words)
    assert found, "a recorder's ffmpeg is at work"
    return "\n".join(found)


def decode(content):
    done = subprocess.run(
        [ffmpeg_path(), "-nostdin", "-v", "error", "-f", "mpegts", "-i", "pipe:0", "-f", "null", "-"],
        input=content,
        capture_output=True,
        check=True,
    )
    return done.stderr.decode()


async def test_hls_with_a_password_and_a_token(services, tmp_path):
    async with on_air(tmp_path / "air") as air:
        air.login = "Basic dXNlcjpXb3JkLTAxMjM0NTY3ODk="
        url = air.url.replace("http://", "http://user:Word-0123456789@") + "?token=0123456789-secret"
        tracks = await record_from(services, url)
    assert (tracks.video, tracks.audio) == ("h264", "aac")


async def test_rtmp(services, nginx_rtmp):
    server = nginx_rtmp()
    async with encoder("-f", "flv", f"{server}/stream-key"):
        tracks = await record_from(services, f"{server}/stream-key")
    assert (tracks.video, tracks.audio) == ("h264", "aac")


async def test_rtsp_with_b_frames_and_a_password(services, rtsp_url):
    tracks = await record_from(services, rtsp_url.replace("rtsp://", LOCKED) + "/camera")
    assert (tracks.video, tracks.audio) == ("h264", "aac")


async def test_sound_that_segments_cannot_carry_is_encoded_anew(services, rtsp_url):
    tracks = await record_from(services, rtsp_url.replace("rtsp://", LOCKED) + "/phone")
    assert (tracks.video, tracks.audio) == ("h264", "aac")


async def test_srt_from_a_server(services):
    port, secret = free_port(), "passphrase=0123456789-secret"
    async with persistent_encoder("-f", "mpegts", f"srt://127.0.0.1:{port}?mode=listener&{SRT_LATENCY}&{secret}"):
        tracks = await record_from(services, f"srt://127.0.0.1:{port}?{secret}")
    assert (tracks.video, tracks.audio) == ("h264", "aac")


async def test_srt_that_an_encoder_sends(services):
    port = free_port()
    address = f"srt://127.0.0.1:{port}?mode=caller&{SRT_LATENCY}&passphrase="
    async with (
        persistent_encoder("-f", "mpegts", address + "somebody-else"),
        persistent_encoder("-f", "mpegts", address + "0123456789-secret", codecs=(*H264, "-c:a", "ac3")),
    ):
        tracks = await record_from(services, f"srt://:{port}?mode=listener&passphrase=0123456789-secret")
    assert (tracks.video, tracks.audio) == ("h264", "ac3"), "the encoder with the right passphrase is recorded"


async def test_pictures_that_cannot_be_recorded_are_refused_in_a_sentence(services, tmp_path):
    port = free_port()
    stream_id = await schedule(services, f"srt://127.0.0.1:{port}")
    codecs = ("-c:v", "mpeg2video", "-g", "25", *AAC)
    async with (
        recording_worker(services),
        persistent_encoder("-f", "mpegts", f"srt://127.0.0.1:{port}?mode=listener", codecs=codecs),
    ):

        async def refused():
            return (await state(services, stream_id))[0].last_error or ""

        sentence = await until_async(lambda: _containing(refused, "mpeg2video"), "the refusal", seconds=60)
        assert "H.264" in sentence
        await request_stop(services, stream_id)
        await until_ended(services, stream_id)
    _, segments, _, _ = await state(services, stream_id)
    assert segments == []


async def _containing(ask, word):
    said = await ask()
    return said if word in said else ""
