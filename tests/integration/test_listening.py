"""Waiting for the sound of a take, from the media segments alone."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import Any

import pytest

from streamarchive.catalogue import recordings
from streamarchive.services import open_services
from streamarchive.settings import Settings
from tests import factories
from tests.media import make
from workers.listening import Listening


@dataclass
class CountingStore:
    """A store that knows how often it was read from."""

    store: Any
    reads: int = 0

    def read(self, key):
        self.reads += 1
        return self.store.read(key)


@pytest.fixture
async def services(tmp_path):
    async with open_services(Settings(data_dir=tmp_path / "archive")) as opened:
        yield replace(opened, store=CountingStore(opened.store))


async def go_on(services, air, file, numbers):
    """More of the same take."""
    for number in numbers:
        copy = shutil.copyfile(file, file.with_suffix(".copy"))
        stored = await services.store.store.adopt(copy, f"{number}-", ".ts")
        await factories.commit(
            services.database, air, replace(factories.segment(air.take, number), key=stored.key)
        )


async def take_now(services, air):
    async with services.database.read() as connection:
        [take] = await recordings.takes(connection, air.recording_id)
    return take


async def never():
    return False


async def test_segments_without_sound_are_read_once_however_long_one_waits(services, tmp_path):
    make(tmp_path / "mute.ts", 2, audio=False)
    make(tmp_path / "heard.ts", 2)
    air, listening = await factories.on_air(services.database), Listening(services)
    for until in range(1, 6):
        await go_on(services, air, tmp_path / "mute.ts", [until - 1])
        for _ in range(2):
            assert await listening.sound(await take_now(services, air), 0, never) is None
        assert services.store.reads == until
    await go_on(services, air, tmp_path / "heard.ts", [5])
    found = await listening.sound(await take_now(services, air), 0, never)
    assert (tmp_path / "heard.ts").read_bytes().startswith(await anext(found.data))
    await found.data.aclose()
