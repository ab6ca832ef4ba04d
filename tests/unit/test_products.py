"""What is made of a finished file besides the file: thumbnails, peaks, loudness, and the verdict on it."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest

from streamarchive.errors import UnverifiedError
from streamarchive.media import loudness, packets, thumbnails
from streamarchive.media.loudness import Loudness
from streamarchive.media.packets import Reading
from streamarchive.media.verification import Expected, verify
from streamarchive.media.waveform import SAMPLES_A_PIXEL, Peaks

ENDS = [
    "[in#0 @ 0x5]   Input stream #0:0 (video): 6000 packets read (7824159 bytes); 120 frames decoded; 0 errors; ",
    "  Input stream #0:1 (audio): 11251 packets read (3848097 bytes); 11250 frames decoded (11520000 samples); ",
    "  Input stream #0:2 (audio): 0 packets read (0 bytes); ",
]


# --- thumbnails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("duration_ms", "size", "strip"),
    [
        (1, (1280, 720), thumbnails.Strip(2000, 1, 1, 160, 90)),
        (60_000, (1280, 720), thumbnails.Strip(2000, 30, 15, 160, 90)),
        (3_600_000, (720, 1280), thumbnails.Strip(12_000, 300, 15, 90, 160)),
        (3 * 3_600_000 + 1, (640, 480), thumbnails.Strip(36_001, 300, 15, 160, 120)),
    ],
)
def test_a_strip_has_a_picture_for_every_moment_and_at_most_so_many(duration_ms, size, strip):
    found = thumbnails.plan(duration_ms, *size)
    assert found == strip
    assert (found.count - 1) * found.interval_ms < duration_ms <= found.count * found.interval_ms
    assert found.columns * found.rows >= found.count
    assert thumbnails.of_details(found.details()) == found


def test_the_map_says_where_each_picture_lies():
    text = thumbnails.webvtt(thumbnails.Strip(2000, 17, 15, 160, 90), "strip.jpg", 33_500)
    cues = text.split("\n\n")
    assert cues[0] == "WEBVTT"
    assert cues[1] == "1\n00:00:00.000 --> 00:00:02.000\nstrip.jpg#xywh=0,0,160,90"
    assert cues[16] == "16\n00:00:30.000 --> 00:00:32.000\nstrip.jpg#xywh=0,90,160,90"
    assert cues[17] == "17\n00:00:32.000 --> 00:00:33.500\nstrip.jpg#xywh=160,90,160,90\n"


# --- waveform -----------------------------------------------------------------------------------------------


def test_peaks_are_the_lowest_and_the_highest_of_each_tenth_of_a_second():
    samples = np.zeros(3 * SAMPLES_A_PIXEL + 10, dtype="<i2")
    samples[5], samples[9] = 32_767, -32_768
    samples[SAMPLES_A_PIXEL] = 256 * 7
    samples[-1] = -256
    peaks, sound = Peaks(), samples.tobytes()
    for at in range(0, len(sound), 701):  # as a pipe gives it: not in whole samples
        peaks.add(sound[at : at + 701])
    assert peaks.heard_ms == 300
    file = peaks.file()
    assert struct.unpack("<iIiiIi", file[:24]) == (2, 1, 8000, 800, 4, 1)
    assert list(np.frombuffer(file[24:], dtype=np.int8)) == [-128, 127, 0, 7, 0, 0, -1, 0]


# --- loudness -----------------------------------------------------------------------------------------------

SUMMARY = """\
[Parsed_ebur128_4 @ 0x7f75ac013140] Summary:

  Integrated loudness:
    I:         -21.8 LUFS
    Threshold: -31.8 LUFS

  Loudness range:
    LRA:         4.5 LU
    Threshold: -41.8 LUFS
    LRA low:   -21.8 LUFS
    LRA high:  -21.8 LUFS

  True peak:
    Peak:      {peak} dBFS
"""


def test_loudness_is_read_from_the_summary():
    found = loudness.read(SUMMARY.format(peak="-16.3").splitlines())
    assert found == Loudness(-21.8, -16.3, 4.5)
    assert loudness.of_details(found.details()) == found


LOUD = SUMMARY.format(peak="-9")


@pytest.mark.parametrize("text", ["", SUMMARY.format(peak="-inf"), LOUD.replace("-21.8", "-70.0")])
def test_silence_has_no_loudness(text):
    assert loudness.read(text.splitlines()) is None


# --- verification -------------------------------------------------------------------------------------------

READ = Reading(video=6000, audio=11251, pictures=120, sounds=11250)
EXPECTED = Expected(240_000, 40, Reading(6000, 11251), slack=6, key_frames=60)


def test_numbers_of_packets_are_those_of_the_first_picture_and_the_first_sound():
    assert packets.read(ENDS) == READ
    assert packets.read([]) == Reading()
    assert READ + Reading(audio=4) == replace(READ, audio=11255)


def test_a_file_like_its_material_is_verified():
    verify(EXPECTED, 240_040, READ, "it")
    verify(EXPECTED, 239_960, replace(READ, video=5994), "it")
    verify(replace(EXPECTED, packets=Reading(video=6000)), 240_000, replace(READ, audio=9000, sounds=9000), "it")


@pytest.mark.parametrize(
    ("duration_ms", "reading", "fault"),
    [
        (240_041, READ, "41 ms longer than its media clock"),
        (239_900, READ, "100 ms shorter than its media clock"),
        (240_000, replace(READ, video=5993), "5993 packets of picture instead of 6000"),
        (240_000, replace(READ, audio=None, sounds=None), "0 packets of sound instead of 11251"),
        (240_000, replace(READ, pictures=40), "40 pictures that begin a segment instead of 60"),
        (240_000, replace(READ, pictures=None), "0 pictures"),
        (240_000, replace(READ, sounds=10_000), "10000 of 11251 packets"),
    ],
)
def test_a_file_that_differs_from_its_material_is_refused_with_the_difference(duration_ms, reading, fault):
    with pytest.raises(UnverifiedError, match=f"it .*{fault}.*; it is not used"):
        verify(EXPECTED, duration_ms, reading, "it")


def test_sound_that_only_the_takes_have_is_missed():
    with pytest.raises(UnverifiedError, match="0 packets of sound instead of 11251"):
        verify(EXPECTED, 240_000, replace(READ, audio=None, sounds=None), "it")
