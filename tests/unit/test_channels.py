"""Whose turn it is, told by which of two channels is louder."""

import numpy as np
import pytest

from streamarchive.models import Turn
from streamarchive.transcription.channels import ByChannel

RATE = 16_000
NOISE = np.random.default_rng(7)


def speech(seconds, level=0.1):
    return NOISE.normal(0, level, round(seconds * RATE)).astype(np.float32)


def silence(seconds):
    return speech(seconds, 0.0001)


def two(left, right):
    """Each hears the other 12 dB softer."""
    return np.stack([left + right / 4, right + left / 4], axis=1)


async def turns(sound, piece=12_345):
    async def pieces():
        for at in range(0, len(sound), piece):
            yield sound[at : at + piece]

    return await ByChannel().turns(pieces())


CONVERSATION = np.concatenate(
    [
        two(speech(2), silence(2)),
        two(silence(1), silence(1)),
        two(silence(3), speech(3)),
        two(speech(1), silence(1)),
    ]
)


async def test_whoever_is_louder_speaks():
    assert await turns(CONVERSATION) == [
        Turn(0, 2_000, "Left"),
        Turn(3_000, 6_000, "Right"),
        Turn(6_000, 7_000, "Left"),
    ]


async def test_pieces_of_any_length_give_the_same():
    assert await turns(CONVERSATION, 700) == await turns(CONVERSATION, len(CONVERSATION))


@pytest.mark.parametrize("softer", [1.0, 0.8, 0.3])
async def test_the_same_sound_on_both_says_nothing(softer):
    """Also where one channel is softer throughout."""
    both = np.concatenate([speech(2), silence(1), speech(2)])
    assert await turns(np.stack([both, both * softer], axis=1)) == []


async def test_no_sound_has_no_turns():
    assert await turns(np.zeros((0, 2), np.float32)) == []
    assert await turns(np.zeros((5, 2), np.float32)) == []
