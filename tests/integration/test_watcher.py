"""Saved searches from the cue to the webhook: what is told, to whom, and that it is told whatever dies."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from sqlalchemy import func, select

from streamarchive import jobs, webhooks, withholding
from streamarchive.catalogue import accounts, interviews, saved_searches, tables, transcripts
from streamarchive.catalogue.database import Database
from streamarchive.errors import DeliveryError, UsageError
from streamarchive.models import JobState, Role, RunStage, User, Visibility
from streamarchive.services import Services, open_services
from tests import factories, services
from tests.archive import settings_of
from tests.factories import line
from tests.processes import child
from tests.waiting import PATIENCE, until_async
from tests.webhooks import receiver
from workers import watcher

LOOPBACK = "127.0.0.0/8"


@pytest.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Services]:
    async with open_services(settings_of(tmp_path, allow_networks=LOOPBACK)) as opened:
        yield opened


@pytest.fixture
async def watching(archive: Services) -> AsyncIterator[Services]:
    """The archive with its watcher at work."""
    stop = asyncio.Event()
    task = asyncio.create_task(watcher.run(archive, stop))
    yield archive
    stop.set()
    async with asyncio.timeout(15 * PATIENCE):
        await task


async def somebody(database: Database, name: str = "eva", role: Role = Role.EDITOR) -> User:
    async with database.write() as tx:
        return await accounts.add_user(tx, name, role, "no password")


async def save(database: Database, user: User, query: str, url: str | None = None) -> int:
    async with database.write() as tx:
        return await saved_searches.add(tx, user.id, query, url)


async def compared(archive: Services) -> None:
    """Until no cue waits."""

    async def empty() -> bool:
        async with archive.database.read() as connection:
            return not (await saved_searches.oldest(connection)).row_ids

    await until_async(empty, "every cue to be compared")


async def hits(archive: Services, user: User) -> list[tuple[int, int]]:
    async with archive.database.read() as connection:
        return [(each.saved_search_id, each.start_ms) for each in await saved_searches.hits(connection, user.id)]


async def test_what_is_said_on_air_is_told_with_a_signature(watching: Services) -> None:
    eva = await somebody(watching.database)
    air = await factories.on_air(watching.database)
    async with receiver() as took:
        number = await save(watching.database, eva, "智能座舱 lang:zh", took.url)
        lines = (line(0, "the cockpit"), line(4_000, "我们的智能座艙", lang="zh"))
        await factories.heard(watching.database, air.recording_id, *lines)

        async def called() -> bool:
            return bool(took.calls)

        await until_async(called, "the webhook to be called")
        [(headers, body)] = took.calls
        [told] = took.told
    assert told["text"] == "我们的智能座艙"
    assert told["on_air"] is True
    assert told["url"].endswith("?t=4")
    async with watching.database.read() as connection:
        search = await saved_searches.get(connection, number)
    expected = webhooks.signature(search.secret, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
    assert headers["webhook-signature"] == expected
    assert await hits(watching, eva) == [(number, 4_000)]


async def test_filters_on_interviews_hold_for_what_is_told(watching: Services) -> None:
    """As in searching: where none that shows the line is meant, nobody is told."""
    eva = await somebody(watching.database)
    air = await factories.on_air(watching.database)
    async with watching.database.read() as connection:
        held_at = (await interviews.get(connection, air.interview_id)).held_at
    met = [f"battery year:{held_at.year}", f"battery in:{air.interview_id} after:{held_at.date()}"]
    numbers = [await save(watching.database, eva, typed) for typed in met]
    for typed in ("battery year:1999", "battery in:0000000000", "battery event:shanghai", "battery before:2000"):
        await save(watching.database, eva, typed)
    # A minute into it: what was said before a search was saved is not told.
    await factories.heard(watching.database, air.recording_id, line(60_000, "the battery"))
    await compared(watching)
    assert sorted(await hits(watching, eva)) == [(number, 60_000) for number in numbers]


async def test_a_phrase_across_a_border_is_told_where_it_starts(watching: Services) -> None:
    eva = await somebody(watching.database)
    number = await save(watching.database, eva, '"smart cockpit"')
    air = await factories.on_air(watching.database)
    await factories.heard(watching.database, air.recording_id, line(0, "this is the smart"))
    await compared(watching)
    assert await hits(watching, eva) == []
    await factories.heard(watching.database, air.recording_id, line(2_000, "cockpit of today"))
    await compared(watching)
    assert await hits(watching, eva) == [(number, 0)]


async def test_what_is_withheld_does_not_help_the_line_beside_it_to_be_told(archive: Services) -> None:
    eva = await somebody(archive.database)
    for typed in ("battery recall", '"battery recall"', "battery"):
        await save(archive.database, eva, typed)
    air = await factories.on_air(archive.database)
    async with archive.database.write() as tx:
        await withholding.withhold(tx, air.recording_id, 2_000, 4_000)
    await factories.heard(archive.database, air.recording_id, line(0, "the battery"), line(2_000, "recall of it"))
    await watcher.Watcher(archive).compare()
    async with archive.database.read() as connection:
        found = await saved_searches.hits(connection, eva.id)
        watched = {search.id: search.query for search in await saved_searches.of_user(connection, eva.id)}
    assert [watched[hit.saved_search_id] for hit in found] == ["battery"]


async def test_people_hear_only_of_what_they_may_find(watching: Services) -> None:
    eva, pia = await somebody(watching.database), await somebody(watching.database, "pia", Role.PRODUCER)
    for user in (eva, pia):
        await save(watching.database, user, "battery")
    for visibility in Visibility:
        _, recording_id = await factories.uploaded(watching.database, f"{visibility}", visibility)
        await factories.heard(
            watching.database, recording_id, line(0, f"a {visibility} battery"), stage=RunStage.FINAL
        )
    await compared(watching)
    for user in (eva, pia):
        async with watching.database.read() as connection:
            told = await saved_searches.hits(connection, user.id)
            shown = await interviews.by_ids(connection, [hit.interview_id for hit in told])
        found = {interview.visibility for interview in shown.values()}
        assert found == {Visibility.PUBLIC, Visibility.UNLISTED, Visibility.DRAFT}


async def test_a_call_that_waits_does_not_tell_what_was_hidden_meanwhile(archive: Services) -> None:
    eva = await somebody(archive.database)
    async with receiver() as took:
        await save(archive.database, eva, "battery", took.url)
        interview_id, recording_id = await factories.uploaded(archive.database)
        await factories.heard(archive.database, recording_id, line(0, "the battery"), stage=RunStage.FINAL)
        assert await watcher.Watcher(archive).compare() is True
        async with archive.database.write() as tx:
            await interviews.set_visibility(tx, interview_id, Visibility.TRASHED)
        await calls_made(archive)
        assert took.calls == []


async def calls_made(archive: Services, *, run: bool = True) -> None:
    """Every webhook job has come to its end."""
    stop = asyncio.Event()
    task = asyncio.create_task(watcher.run(archive, stop)) if run else None

    async def done() -> bool:
        async with archive.database.read() as connection:
            open_ = (
                select(func.count()).select_from(tables.job).where(tables.job.c.state.in_(["queued", "running"]))
            )
            return (await connection.execute(open_)).scalar_one() == 0

    await until_async(done, "every call to be made", seconds=60)
    stop.set()
    if task is not None:
        await task


async def test_the_words_of_a_call_are_those_of_now(archive: Services) -> None:
    """A later pass has made another line of it before the call was made."""
    eva = await somebody(archive.database)
    async with receiver() as took:
        await save(archive.database, eva, "battery", took.url)
        air = await factories.on_air(archive.database)
        await factories.heard(archive.database, air.recording_id, line(0, "the battery is goat"))
        one = watcher.Watcher(archive)
        await one.compare()
        better = line(200, "The battery is good.")
        await factories.heard(archive.database, air.recording_id, better, stage=RunStage.FINAL)
        await calls_made(archive)
        assert [told["text"] for told in took.told] == ["The battery is good."]


async def test_what_was_said_before_somebody_asked_is_not_told(watching: Services) -> None:
    """A new pass over an old recording makes new cues of old words."""
    _, recording_id = await factories.uploaded(watching.database)
    async with watching.database.write() as tx:
        long_ago = datetime.now(UTC) - timedelta(days=30)
        await tx.execute(tables.recording.update().values(started_at=long_ago, ended_at=long_ago))
    eva = await somebody(watching.database)
    await save(watching.database, eva, "battery")
    await factories.heard(watching.database, recording_id, line(0, "the battery"), stage=RunStage.FINAL)
    await compared(watching)
    assert await hits(watching, eva) == []


async def test_a_call_that_fails_is_made_again_with_the_same_id(watching: Services) -> None:
    eva = await somebody(watching.database)
    async with receiver(500, 302) as took:
        await save(watching.database, eva, "battery", took.url)
        air = await factories.on_air(watching.database)
        await factories.heard(watching.database, air.recording_id, line(0, "the battery"))

        async def sent() -> bool:
            async with watching.database.read() as connection:
                return any(hit.sent_at for hit in await saved_searches.hits(connection, eva.id))

        await until_async(sent, "the call to be taken", seconds=60)
        assert len(took.calls) == 3  # an error, a redirect that is not followed, and the one that was taken
        assert len(set(took.ids)) == 1


async def test_calls_into_the_own_network_are_refused(tmp_path: Path) -> None:
    addresses = ["http://127.0.0.1:9/", "http://[::1]/", "http://localhost/", "http://169.254.169.254/latest"]
    addresses += ["http://127.1/", "http://2130706433/", "http://[::ffff:10.0.0.1]/", "http://10.1.2.3:8080/x"]
    for address in addresses:
        with pytest.raises(DeliveryError):
            await webhooks.vet(address)
        with pytest.raises(DeliveryError):
            await webhooks.call(address, "whsec_QUJD", "hit_1", datetime.now(UTC), {})
    for address in ("ftp://example.org/", "https://", "https://eva:secret@example.org/", "http://[bad/"):
        with pytest.raises(UsageError):
            await webhooks.vet(address)
    async with receiver() as took, open_services(settings_of(tmp_path)) as archive:  # no networks are allowed
        await save(archive.database, await somebody(archive.database), "battery", took.url)
        air = await factories.on_air(archive.database)
        await factories.heard(archive.database, air.recording_id, line(0, "the battery"))
        await watcher.Watcher(archive).compare()
        job = await jobs.claim(archive.database, [webhooks.JOB], "test")
        assert job is not None
        with pytest.raises(DeliveryError, match="private network"):
            await watcher.call(watcher.JobRun(archive, job))
        assert job.state is JobState.RUNNING
        for spelled in ("①②⑦.⓪.⓪.①", "127。0。0。1", "[::ffff:7f00:1]"):
            with pytest.raises(DeliveryError, match="private network"):
                await webhooks.call(took.url.replace("127.0.0.1", spelled), "", "hit_1", datetime.now(UTC), {})
        assert took.calls == []


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of Standard Webhooks itself."""
    body = b'{"test": 2432232314}'
    signed = webhooks.signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def watch_until_killed(say: Connection, folder: str) -> None:
    """A watcher that compares small batches, so that it dies between any two steps."""
    async with open_services(settings_of(Path(folder), allow_networks=LOOPBACK)) as archive:
        say.send("ready")
        await watcher.run(archive, asyncio.Event())


@pytest.mark.parametrize("rounds", [6])
async def test_killed_at_any_time_it_tells_everything_and_nothing_twice(tmp_path: Path, rounds: int) -> None:
    expected = []
    async with receiver() as took, open_services(settings_of(tmp_path, allow_networks=LOOPBACK)) as archive:
        eva = await somebody(archive.database)
        await save(archive.database, eva, "battery", took.url)
        air = await factories.on_air(archive.database)
        for number in range(rounds):
            with child(watch_until_killed, str(tmp_path)) as running:
                running.listen(seconds=60)
                enough = len(took.calls) + random.randrange(4)
                for at in range(4):
                    start_ms = (number * 4 + at) * 4_000
                    said = (
                        line(start_ms, f"battery number {start_ms}"),
                        line(start_ms + 2_000, "something else"),
                    )
                    await factories.heard(archive.database, air.recording_id, *said)
                    expected.append(start_ms)

                async def called(enough: int = enough) -> bool:
                    return len(took.calls) >= enough

                await until_async(called, f"{enough} calls")
                running.kill()
        stop = asyncio.Event()
        task = asyncio.create_task(watcher.run(archive, stop))
        await compared(archive)
        await calls_made(archive, run=False)
        stop.set()
        await task
        assert sorted(start_ms for _, start_ms in await hits(archive, eva)) == expected
        by_id = dict(zip(took.ids, (told["start_ms"] for told in took.told), strict=True))
    assert sorted(by_id.values()) == expected


async def test_a_dead_address_keeps_nobody_else_waiting(watching: Services) -> None:
    eva = await somebody(watching.database)
    async with receiver() as took:
        dead = f"http://127.0.0.1:{services.free_port()}/"
        await save(watching.database, eva, "battery", dead)
        await save(watching.database, eva, "the battery", took.url)
        air = await factories.on_air(watching.database)
        await factories.heard(watching.database, air.recording_id, line(0, "the battery"))

        async def called() -> bool:
            return bool(took.calls)

        await until_async(called, "the other to be called")
    async with watching.database.read() as connection:
        assert (await transcripts.newest(connection, 1))[0].text == "the battery"
