"""Decoding: positions, damage, streams."""

import asyncio

import numpy as np
import pytest

from streamarchive.errors import NoSoundError, UnreadableMediaError
from streamarchive.transcription import audio
from tests.recorded import run_ffmpeg


async def decoded(pieces):
    found = [piece async for piece in pieces]
    return np.concatenate(found) if found else np.zeros(0, np.float32)


async def made(*arguments):
    await asyncio.to_thread(run_ffmpeg, *arguments)


@pytest.fixture
async def beeps(tmp_path):
    """12 s with a beep of 0.1 s at the beginning of each second."""
    file = tmp_path / "beeps.wav"
    tone = "aevalsrc=if(lt(mod(t\\,1)\\,0.1)\\,0.5*sin(2*PI*440*t)\\,0):s=16000:d=12"
    await made("-f", "lavfi", "-i", tone, file)
    return file


def beep_starts(samples):
    """When beeps begin, in seconds."""
    loud = np.abs(samples) > 0.2
    starts = np.flatnonzero(loud & ~np.concatenate([np.zeros(1, bool), loud[:-1]]))
    return [round(s / 16_000, 2) for s in starts if not loud[max(0, s - 4_000) : s].any()]


async def test_a_file_comes_whole_in_bounded_pieces(beeps):
    pieces = [piece async for piece in audio.decode(beeps)]
    assert [len(piece) for piece in pieces] == [audio.PIECE_SAMPLES, 2 * audio.SAMPLE_RATE]
    assert beep_starts(np.concatenate(pieces)) == pytest.approx(range(12), abs=0.02)


async def test_sound_that_begins_late_begins_with_silence(beeps, tmp_path):
    picture = ["-f", "lavfi", "-i", "testsrc2=s=64x64:r=5:d=16"]
    codecs = ["-map", "0:v", "-map", "1:a", "-c:v", "mpeg4", "-c:a", "aac"]
    await made(*picture, "-itsoffset", "2.5", "-i", beeps, *codecs, tmp_path / "late.mkv")
    starts = beep_starts(await decoded(audio.decode(tmp_path / "late.mkv")))
    assert starts == pytest.approx([n + 2.5 for n in range(12)], abs=0.05)


async def test_samples_that_are_no_numbers_become_silence(tmp_path):
    samples = np.full(16_000, 0.25, "<f4")
    samples[100:200] = np.nan
    samples[300], samples[400] = np.inf, -np.inf
    (tmp_path / "raw.f32").write_bytes(samples.tobytes())
    await made("-f", "f32le", "-ar", "16000", "-i", tmp_path / "raw.f32", "-c", "copy", tmp_path / "nan.wav")
    found = await decoded(audio.decode(tmp_path / "nan.wav"))
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 1.0
    assert found[8_000] == pytest.approx(0.25, abs=0.01)


async def test_what_is_no_media_is_named(tmp_path):
    (tmp_path / "letter.mp4").write_text("Dear all")
    with pytest.raises(UnreadableMediaError, match=r"letter\.mp4 is not media"):
        await decoded(audio.decode(tmp_path / "letter.mp4"))


async def test_a_silent_film_has_no_sound(tmp_path):
    await made("-f", "lavfi", "-i", "testsrc2=s=64x64:r=5:d=1", "-c:v", "mpeg4", tmp_path / "film.mp4")
    with pytest.raises(NoSoundError, match=r"film\.mp4 has no sound"):
        await decoded(audio.decode(tmp_path / "film.mp4"))


@pytest.fixture
async def stream(beeps, tmp_path):
    """The beeps as MPEG-TS segments of a second."""
    folder = tmp_path / "stream"
    folder.mkdir()
    cut = ["-f", "segment", "-segment_time", "1", "-segment_format", "mpegts", folder / "a%08d.ts"]
    await made("-i", beeps, "-c:a", "aac", *cut)
    return sorted(folder.iterdir())


async def chunks(files, size=5_000):
    for file in files:
        data = file.read_bytes()
        for start in range(0, len(data), size):
            yield data[start : start + size]


@pytest.mark.parametrize("live", [False, True])
async def test_a_stream_loses_nothing_at_its_beginning_or_end(stream, live):
    found = await decoded(audio.decode_transport_stream(chunks(stream), live=live))
    assert beep_starts(found) == pytest.approx([n + beep_starts(found)[0] for n in range(12)], abs=0.03)
    assert beep_starts(found)[0] < 0.15
    assert len(found) / 16_000 == pytest.approx(12, abs=0.2)


async def test_a_hole_in_a_stream_stays_a_hole(stream):
    whole = beep_starts(await decoded(audio.decode_transport_stream(chunks(stream))))
    torn = beep_starts(await decoded(audio.decode_transport_stream(chunks(stream[:4] + stream[7:]))))
    assert torn == pytest.approx(whole[:4] + whole[7:], abs=0.12)


async def test_what_fails_while_a_stream_is_fetched_is_raised(stream):
    async def failing():
        yield stream[0].read_bytes()
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        await decoded(audio.decode_transport_stream(failing()))


async def test_a_stream_can_be_left_early(stream):
    pieces = audio.decode_transport_stream(chunks(stream), live=True)
    assert len(await anext(pieces)) > 0
    await pieces.aclose()
