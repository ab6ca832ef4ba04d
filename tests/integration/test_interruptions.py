"""kill -9 of the engine, of the worker and of both in the middle of a final pass: nothing is lost or doubled."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from streamarchive.services import open_services
from streamarchive.settings import Settings
from tests.archive import MODEL
from tests.interruptions import VICTIMS, interrupted
from tests.recorded import ENGLISH, speak


@pytest.mark.parametrize(
    ("engine", "victims"),
    [
        ("openai", (*VICTIMS, *VICTIMS)),  # more than a job has attempts
        ("faster", VICTIMS),
    ],
)
async def test_a_pass_that_is_killed_again_and_again_gives_what_an_undisturbed_one_gives(
    tmp_path, engine, victims
):
    file = tmp_path / "talk.wav"
    speak(file, ENGLISH * 6, pause_ms=6_000)  # a window each

    async def passed(name, victims):
        settings = Settings(data_dir=tmp_path / name, engine=engine, model=str(MODEL), device="cpu")
        async with open_services(settings) as services:
            return await interrupted(services, file, ("en",), victims, random.Random(3), longest=0.3)

    calm, expected = await passed("calm", [])
    killed, lines = await passed("killed", victims)
    assert killed.victims == list(victims)
    assert lines == expected
    assert set(killed.asked) == set(calm.asked)
    assert all(max((before + after).values()) <= 2 for before, after in pairwise(killed.lives))
