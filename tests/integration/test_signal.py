"""What a source sends, found out within ten seconds or refused in a sentence."""

from __future__ import annotations

import asyncio
import json
import sys
from urllib.parse import urlsplit

import pytest

from streamarchive.errors import SourceError
from streamarchive.media import signal
from streamarchive.media.egress import Rules
from tests.media import make

LOOPBACK = "127.0.0.1"


def rules(url):
    return Rules(exact=(LOOPBACK, urlsplit(url).port))


async def test_an_hls_source_shows_its_picture_and_its_level(air):
    seen = await signal.look(air.url, rules(air.url))
    assert (seen.video, seen.audio) == ("h264", "aac")
    assert (seen.width, seen.height) == (320, 180)
    assert seen.picture.startswith(b"\xff\xd8")
    assert seen.picture.rstrip(b"\0").endswith(b"\xff\xd9")
    assert -40 < seen.loudness_db < seen.peak_db <= 0
    assert seen.warnings == []


async def test_radio_has_no_picture(air):
    seen = await signal.look(f"{air.base}/radio", rules(air.base))
    assert (seen.video, seen.audio, seen.picture) == (None, "mp3", b"")


async def test_a_source_without_sound_is_warned_of(air):
    make(air.folder / "mute.ts", 3, audio=False)
    seen = await signal.look(f"{air.base}/mute.ts", rules(air.base))
    assert (seen.video, seen.audio, seen.loudness_db) == ("h264", None, None)
    assert "no sound" in seen.warnings[0]


async def test_silence_within_ten_seconds_is_a_reason(air, monkeypatch):
    monkeypatch.setattr(signal, "SECONDS", 1.0)
    air.mood = "hang"
    with pytest.raises(SourceError, match="within"):
        await signal.look(air.url, rules(air.url))


async def test_the_command_prints_it_and_keeps_the_picture(air, tmp_path):
    picture = tmp_path / "first.jpg"
    command = ("-m", "streamarchive", "probe", air.url, "--json", "--picture", str(picture))
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert process.returncode == 0
    assert json.loads(said)["video"] == "h264"
    assert picture.read_bytes().startswith(b"\xff\xd8")
