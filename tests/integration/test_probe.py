from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamarchive.errors import UnreadableMediaError
from streamarchive.media import probe as probing
from streamarchive.media import sandbox
from streamarchive.media.probe import probe
from tests.media import make, run_ffmpeg


@pytest.mark.parametrize(
    ("name", "video", "audio", "container"),
    [
        ("a.mp4", "h264", "aac", "mov"),
        ("a.mkv", "h264", "aac", "matroska"),
        ("a.ts", "h264", "aac", "mpegts"),
        ("a.flv", "h264", "aac", "flv"),
        ("a.mp3", None, "mp3", "mp3"),
    ],
)
async def test_a_file_is_judged_by_its_content_not_its_name(tmp_path, name, video, audio, container):
    file = make(tmp_path / name, 4, video=video is not None).rename(tmp_path / "anything.bin")
    info = await probe(file)
    assert (info.tracks.video, info.tracks.audio) == (video, audio)
    assert info.format.startswith(container)
    assert abs(info.duration_ms - 4000) < 100
    assert info.size_bytes == file.stat().st_size
    assert info.damage is None
    assert (info.width, info.height) == ((320, 180) if video else (None, None))


@pytest.mark.parametrize(
    ("suffix", "codec"), [("wav", "pcm_s16le"), ("flac", "flac"), ("ogg", "vorbis"), ("aac", "aac")]
)
async def test_sound_files(tmp_path, suffix, codec):
    file = tmp_path / f"a.{suffix}"
    options = ["-c:a", "libvorbis"] if suffix == "ogg" else []
    run_ffmpeg("-f", "lavfi", "-i", "sine=440", "-t", "3", *options, file)
    info = await probe(file)
    assert info.tracks.audio == codec
    assert not info.has_video
    assert abs(info.duration_ms - 3000) < 100


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("b.mp4", ("-preset", "medium", "-bf", "3")),  # shown later than decoded
        ("b.mkv", ("-preset", "medium", "-bf", "3")),
        ("a.flac", ("-ar", "16000", "-c:a", "flac", "-frame_size", "4096")),  # its last packet is 256 ms
    ],
)
async def test_the_last_packet_counts(tmp_path, name, options):
    sound_only = name.endswith("flac")
    file = make(tmp_path / name, 4, *options, video=not sound_only, audio=sound_only)
    assert abs((await probe(file, silent_allowed=True)).duration_ms - 4000) <= 20


async def test_a_file_that_cannot_be_read_in_time_is_refused_not_cut_short(tmp_path, monkeypatch):
    """What a limit ends has not reached the end of the file, though ffmpeg says that it exits normally."""
    file = make(tmp_path / "a.wav", 1, "-c:a", "pcm_u8", "-bitexact", video=False)
    head = bytearray(file.read_bytes()[:44])
    head[4:8], head[40:44] = (4_000_000_036).to_bytes(4, "little"), (4_000_000_000).to_bytes(4, "little")
    file.write_bytes(head)
    os.truncate(file, 4_000_000_044)  # a hole: it takes no room
    monkeypatch.setattr(probing, "_BYTES_A_CPU_SECOND", 1 << 40)
    monkeypatch.setattr(sandbox, "PROBE", sandbox.Limits(cpu_seconds=1, file_bytes=0))
    with pytest.raises(UnreadableMediaError, match=r"a\.wav takes too long to read"):
        await probe(file)


async def test_a_cover_picture_is_no_video(tmp_path):
    sound = make(tmp_path / "sound.mp3", 2, video=False)
    cover = tmp_path / "cover.jpg"
    run_ffmpeg("-f", "lavfi", "-i", "color=red:size=64x64", "-frames:v", "1", "-update", "1", cover)
    file = tmp_path / "song.mp3"
    run_ffmpeg(
        "-i", sound, "-i", cover, "-map", "0", "-map", "1", "-c", "copy", "-disposition:v", "attached_pic", file
    )
    info = await probe(file)
    assert not info.has_video
    assert abs(info.duration_ms - 2000) < 100


async def test_a_file_whose_end_is_missing_is_taken_and_says_so(tmp_path):
    file = make(tmp_path / "a.mp4", 10, "-movflags", "+faststart")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    info = await probe(file)
    assert info.damage is not None
    assert "of the 0:10" in info.damage
    assert 2000 < info.duration_ms < 8000


def without_sound(folder: Path) -> Path:
    return make(folder / "mute.mp4", 1, audio=False)


def without_index(folder: Path) -> Path:
    file = make(folder / "cut.mp4", 3)
    file.write_bytes(file.read_bytes()[:20_000])
    return file


def written(content: bytes):
    def build(folder: Path) -> Path:
        file = folder / "upload.mp4"
        file.write_bytes(content)
        return file

    return build


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (without_sound, "no sound"),
        (without_index, "incomplete"),
        (written(b""), "empty"),
        (written(b"Dear editor, "), "not a media file"),
        (written(b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"), "HLS playlist"),
        (written(b"\xef\xbb\xbf \n#EXTM3U\n"), "HLS playlist"),
        (written(b"ffconcat version 1.0\nfile secret.mp4\n"), "list of other files"),
        (written(b"<!DOCTYPE html><html>"), "web page"),
        (written(b"\0\0\0\x18ftypmp42" + b"\0" * 4000), "its index is missing"),
        (written(b"ID3" + bytes(range(256)) * 30), "cannot be read as media"),
        (lambda folder: folder / "not there.mp4", "No such file"),
    ],
)
async def test_what_is_no_use_is_refused_in_one_sentence(tmp_path, build, sentence):
    with pytest.raises(UnreadableMediaError, match=sentence) as caught:
        await probe(build(tmp_path), name="talk.mp4")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert str(caught.value).count("talk.mp4") == 1


async def test_a_playlist_behind_a_media_header_does_not_reach_its_neighbour(tmp_path):
    """The demuxer whitelist stops what magic bytes let through."""
    make(tmp_path / "secret.ts", 2)
    file = tmp_path / "upload.mp4"
    file.write_bytes(b"ID3\x04\0\0\0\0\0\0" + b"#EXTM3U\n#EXTINF:2,\nsecret.ts\n#EXT-X-ENDLIST\n" * 50)
    with pytest.raises(UnreadableMediaError):
        await probe(file)
