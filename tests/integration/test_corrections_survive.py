"""Nothing that an editor was told is saved is lost, whenever the process that saved it is killed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import multiprocessing
import random
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import func, select

from streamarchive.catalogue import corrections, interviews, outbox, recordings, schema, tables, transcripts
from streamarchive.catalogue.database import Database
from streamarchive.models import Cue, CueDraft, CueId, RunStage, Word
from tests import services
from tests.archive import Archive
from tests.people import Client, sign_in
from tests.waiting import until_async

ROUNDS = 50
_SAID = ("自动驾驶", "the car", "智能座舱,", "sees", "Beijing.", "LiDAR 雷达")


async def _begin(url: str) -> CueId:
    """A catalogue with one line in it."""
    database = Database(url)
    words = (Word("Welcome", 0, 500, 0.9), Word("to", 500, 700, 0.9), Word("Bay", 700, 900, 0.3))
    async with database.write() as tx:
        interview_id = await interviews.create(tx, titles={"en": "Car Talk"})
        recording_id = await recordings.create_uploaded(
            tx, interview_id, duration_ms=1000, has_video=False, damage=None
        )
        run = await transcripts.begin_run(
            tx, recording_id, RunStage.LIVE, engine="test", model="tiny", model_identity="tiny"
        )
        await transcripts.append(tx, run, [CueDraft(0, 1000, "Welcome to Bay", "en", words)], 1000)
        [cue] = await transcripts.of_recording(tx, recording_id)
    await database.close()
    return cue.id


def save_until_killed(url: str, cue_id: CueId, seed: int, told: Connection) -> None:
    """An editor that saves as fast as it can and says so after every commit."""

    async def save() -> None:
        database, pace = Database(url), random.Random(seed)
        for number in range(10_000):
            async with database.write() as tx:
                cue = await transcripts.get(tx, cue_id)
                text = f"{number} {' '.join(pace.choice(_SAID) for _ in range(pace.randrange(1, 9)))}"
                done = await corrections.edit(tx, cue_id, cue.revision, text, None)
            told.send((done.revision_id, done.cues[0].text))

    asyncio.run(save())


def _killed_while_saving(context: Any, url: str, cue_id: CueId, seed: int) -> dict[int, str]:
    """What one such process had acknowledged before it was killed in the middle of a save."""
    pace = random.Random(-seed)
    heard, told = context.Pipe(duplex=False)
    process = context.Process(target=save_until_killed, args=(url, cue_id, seed, told))
    process.start()
    told.close()
    acknowledged: dict[int, str] = {}
    for _ in range(pace.randrange(1, 5)):
        revision_id, text = heard.recv()
        acknowledged[revision_id] = text
    heard.poll(pace.uniform(0, 0.02))  # so that the kill comes at another moment of the save each time
    process.kill()
    process.join()
    with contextlib.suppress(EOFError):
        while True:
            revision_id, text = heard.recv()
            acknowledged[revision_id] = text
    heard.close()
    return acknowledged


async def test_every_acknowledged_revision_is_there_after_fifty_kills(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'catalogue.sqlite'}"
    schema.migrate(url)
    cue_id = await _begin(url)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["streamarchive.catalogue.corrections", "aiosqlite"])
    acknowledged: dict[int, str] = {}
    for seed in range(ROUNDS):
        acknowledged |= await asyncio.to_thread(_killed_while_saving, context, url, cue_id, seed)
    database = Database(url)
    async with database.read() as connection:
        steps = await corrections.history(connection, cue_id)
        cue = await transcripts.get(connection, cue_id)
        struck = (await connection.execute(select(func.count()).select_from(tables.strike))).scalar_one()
        waiting = await outbox.oldest(connection)
        told = (await connection.execute(select(func.count()).select_from(tables.change))).scalar_one()
    await database.close()
    kept = {int(step.id): step.after[0].line.text for step in steps}
    assert len(acknowledged) >= ROUNDS
    assert acknowledged.items() <= kept.items()
    # Nothing is half there either: each step has its line, and the line is that of the last step.
    assert cue.revision == len(steps)
    assert (cue.text, cue.words) == (steps[0].after[0].line.text, steps[0].after[0].line.words)
    assert waiting.cue_ids == (cue_id,)
    assert told >= len(steps)
    assert struck > 0


# --- the same through the site ------------------------------------------------------------------------------

SERVERS = 2


@asynccontextmanager
async def _signed_in(archive: Archive, password: str) -> AsyncIterator[tuple[Process, Client]]:
    """A server of its own, and an editor's browser."""
    port = services.free_port()
    server = await archive.start("serve", "--no-workers", "--port", str(port))
    try:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            client = Client(session, f"http://127.0.0.1:{port}")

            async def answers() -> bool:
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    return (await client.get("/healthz")).status == 200
                return False

            await until_async(answers, "the server to answer", seconds=60)
            yield server, await sign_in(client, "eva", password)
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.kill()
        await server.communicate()


async def _save_until_killed(archive: Archive, password: str, cue: Cue, kill_after: int) -> dict[int, str]:
    """What a server had acknowledged, by revision, when it was killed with a save on its way."""
    acknowledged: dict[int, str] = {}
    revision = cue.revision
    async with _signed_in(archive, password) as (server, client):
        for number in itertools.count():
            text = f"Said {number} after revision {cue.revision}."
            headers = {"If-Match": f'"{revision}"', "X-CSRF-Token": client.token}
            saving = asyncio.create_task(
                client.ask("PATCH", f"/api/cues/{cue.id}", json={"text": text}, headers=headers)
            )
            if number == kill_after:
                await asyncio.sleep(0)
                server.kill()
            try:
                answer = await saving
            except aiohttp.ClientError:
                return acknowledged
            assert answer.status == 200, answer.text
            [line] = json.loads(answer.text)["lines"]
            revision = line["revision"]
            acknowledged[revision] = line["text"]
    raise AssertionError("unreachable")


async def test_what_the_site_has_acknowledged_is_there_after_its_server_was_killed(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    made = await archive.do("users", "add", "eva", "--role", "editor", "--generate")
    password = made.out.split("Password: ")[1].strip()
    url = f"sqlite:///{archive.folder / 'catalogue.sqlite'}"
    cue_id = await _begin(url)
    acknowledged: dict[int, str] = {}
    for number in range(SERVERS):
        acknowledged |= await _save_until_killed(archive, password, await _now(url, cue_id), 5 + 3 * number)
    database = Database(url)
    async with database.read() as connection:
        steps = await corrections.history(connection, cue_id)
    await database.close()
    kept = {past.revision: past.line.text for step in steps for past in step.after}
    assert len(acknowledged) >= 5 + 8
    assert acknowledged.items() <= kept.items()
    assert len(steps) <= len(acknowledged) + SERVERS, "at most what was on its way is there, too"


async def _now(url: str, cue_id: CueId) -> Cue:
    database = Database(url)
    async with database.read() as connection:
        cue = await transcripts.get(connection, cue_id)
    await database.close()
    return cue
