"""A broadcast that was interrupted again and again: what was heard long ago costs nothing any more."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from sqlalchemy import event as events

from streamarchive.catalogue import recordings, transcripts
from streamarchive.models import RunStage
from streamarchive.services import open_services
from streamarchive.settings import Settings
from streamarchive.transcription.live import LiveStep
from streamarchive.transcription.pace import Pace
from tests import factories
from workers.captions import Captions
from workers.live_transcriber import Follower

MODEL = SimpleNamespace(name="demo", identity="1", note="")


async def load_live():
    return MODEL


@pytest.fixture
async def services(tmp_path):
    async with open_services(Settings(data_dir=tmp_path / "archive")) as opened:
        yield replace(opened, engines=SimpleNamespace(load_live=load_live))


async def run_of(tx, air, number):
    return await transcripts.begin_run(
        tx,
        air.recording_id,
        RunStage.LIVE,
        engine="openai",
        model="demo",
        model_identity="1",
        settings={"take": number},
    )


async def heard_takes(services, air, numbers):
    """Takes that came and were heard to their end."""
    for number in numbers:
        async with services.database.write() as tx:
            await recordings.begin_take(tx, air.stream, air.recording_id, number)
            await transcripts.finish_run(tx, await run_of(tx, air, number))


async def test_who_goes_on_after_a_restart_does_not_go_through_every_take_again(services):
    air = await factories.on_air(services.database)
    asked = []
    for engine in (services.database._reader, services.database._writer):
        events.listen(
            engine.sync_engine,
            "before_cursor_execute",
            lambda _connection, _cursor, statement, *_: asked.append(statement),
        )
    await heard_takes(services, air, [0])
    async with services.database.write() as tx:
        await recordings.finish(tx, air.stream, air.recording_id)
    counted = []
    for numbers in (range(1, 4), range(4, 24)):
        await heard_takes(services, air, numbers)
        asked.clear()
        await Follower(services, air.recording_id).run()
        counted.append(len(asked))
    assert counted[0] == counted[1]


async def test_a_caption_is_written_without_reading_the_runs_of_all_takes(services, monkeypatch):
    air = await factories.on_air(services.database)
    await heard_takes(services, air, range(1, 21))
    async with services.database.write() as tx:
        live = await run_of(tx, air, 21)
    read = []
    made = transcripts.Run
    monkeypatch.setattr(transcripts, "Run", lambda **values: read.append(values) or made(**values))
    await Captions(services, live, Pace()).write([LiveStep((factories.line(0, "Good morning."),), 2_000)])
    assert 0 < len(read) <= 2
    async with services.database.read() as connection:
        assert [cue.text for cue in await transcripts.of_recording(connection, air.recording_id)] == [
            "Good morning."
        ]
