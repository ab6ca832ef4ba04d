"""Searches that people have watched, on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import accounts, cues, saved_searches, transcripts
from streamarchive.catalogue.database import Database
from streamarchive.catalogue.saved_searches import Hit, NewHit
from streamarchive.errors import NotFoundError, UsageError
from streamarchive.models import Cue, InterviewId, RecordingId, Role, RunStage, User
from tests import factories
from tests.factories import line
from tests.interleaving import interleaved


async def somebody(database: Database, name: str = "eva") -> User:
    async with database.write() as tx:
        return await accounts.add_user(tx, name, Role.EDITOR, "no password")


async def saved(database: Database, user: User, query: str = "battery", url: str | None = None) -> int:
    async with database.write() as tx:
        return await saved_searches.add(tx, user.id, query, url)


async def waiting(database: Database) -> list[int]:
    async with database.read() as connection:
        return list((await saved_searches.oldest(connection)).cue_ids)


async def lines_of(database: Database, recording_id: RecordingId) -> list[Cue]:
    async with database.read() as connection:
        return await transcripts.of_recording(connection, recording_id)


async def tell(database: Database, *found: NewHit) -> list[Hit]:
    async with database.write() as tx:
        return await saved_searches.tell(tx, found)


def hit(search: int, cue: Cue, interview_id: InterviewId) -> NewHit:
    return NewHit(search, cue.id, interview_id, cue.recording_id, cue.start_ms, cue.end_ms)


async def test_searches_belong_to_those_who_saved_them(database: Database) -> None:
    eva, adam = await somebody(database), await somebody(database, "adam")
    number = await saved(database, eva, "battery", "https://example.org/hook")
    with pytest.raises(UsageError, match="already"):
        await saved(database, eva, "battery", "https://example.org/hook")
    with pytest.raises(NotFoundError):
        async with database.write() as tx:
            await saved_searches.remove(tx, adam.id, number)
    async with database.read() as connection:
        [search] = await saved_searches.of_user(connection, eva.id)
        assert await saved_searches.of_user(connection, adam.id) == []
    assert (search.query, search.webhook_url, search.role) == ("battery", "https://example.org/hook", Role.EDITOR)
    assert search.secret.startswith("whsec_")
    async with database.write() as tx:
        await saved_searches.remove(tx, eva.id, number)
    with pytest.raises(NotFoundError):
        async with database.read() as connection:
            await saved_searches.get(connection, number)
    await saved(database, eva, "battery", "https://example.org/hook")


async def test_one_person_cannot_have_everything_watched(database: Database) -> None:
    eva, adam = await somebody(database), await somebody(database, "adam")
    for number in range(saved_searches.MOST_OF_ONE):
        await saved(database, eva, f"word{number}")
    with pytest.raises(UsageError, match="no more than"):
        await saved(database, eva)
    await saved(database, adam)


async def test_who_is_removed_has_nothing_watched(database: Database) -> None:
    number = await saved(database, await somebody(database))
    async with database.write() as tx:
        await accounts.remove_user(tx, "eva")
    async with database.read() as connection:
        assert await saved_searches.watched(connection) == []
        with pytest.raises(NotFoundError):
            await saved_searches.get(connection, number)


async def test_new_and_changed_cues_wait_to_be_compared_from_the_first_saved_search_on(
    database: Database,
) -> None:
    air = await factories.on_air(database)
    await factories.heard(database, air.recording_id, line(0, "nobody listens"))
    assert await waiting(database) == []
    await saved(database, await somebody(database))
    await factories.heard(database, air.recording_id, line(4_000, "the battery"))
    [first, second] = await lines_of(database, air.recording_id)
    assert await waiting(database) == [second.id]
    async with database.write() as tx:
        await saved_searches.compared(tx, await saved_searches.oldest(tx))
    async with database.write() as tx:
        await cues.change(tx, first, cues.draft(first), human=True, read=False)
    assert await waiting(database) == [first.id]


async def test_a_cue_is_told_once(database: Database) -> None:
    eva = await somebody(database)
    number, other = await saved(database, eva), await saved(database, eva, "swap")
    air = await factories.on_air(database)
    await factories.heard(database, air.recording_id, line(0, "swap the battery"), line(4_000, "the battery"))
    first, second = await lines_of(database, air.recording_id)
    assert len(await tell(database, hit(number, first, air.interview_id))) == 1
    again = [hit(number, first, air.interview_id), hit(other, first, air.interview_id)]
    told = await tell(database, *again, hit(number, second, air.interview_id))
    assert [(one.saved_search_id, one.cue_id) for one in told] == [(other, first.id), (number, second.id)]


async def test_what_a_later_pass_says_again_is_not_told_again(database: Database) -> None:
    number = await saved(database, await somebody(database))
    air = await factories.on_air(database)
    await factories.heard(database, air.recording_id, line(10_000, "the batteries"), line(20_000, "swap"))
    told, _ = await lines_of(database, air.recording_id)
    await tell(database, hit(number, told, air.interview_id))
    better = (line(10_400, "the battery"), line(20_000, "swap the battery"))
    await factories.heard(database, air.recording_id, *better, stage=RunStage.FINAL)
    same, new = await lines_of(database, air.recording_id)
    assert same.id != told.id
    assert await tell(database, hit(number, same, air.interview_id)) == []
    assert len(await tell(database, hit(number, new, air.interview_id))) == 1


async def test_what_was_seen_is_shown_no_more_and_only_to_its_owner(database: Database) -> None:
    eva, adam = await somebody(database), await somebody(database, "adam")
    number = await saved(database, eva)
    air = await factories.on_air(database)
    await factories.heard(database, air.recording_id, line(0, "the battery"), line(4_000, "the battery"))
    first, second = await lines_of(database, air.recording_id)
    [one] = await tell(database, hit(number, first, air.interview_id))
    [two] = await tell(database, hit(number, second, air.interview_id))

    async def unseen(user: User) -> list[int]:
        async with database.read() as connection:
            found = await saved_searches.hits(connection, user.id, unseen_within=timedelta(hours=1))
            return [each.id for each in found]

    assert await unseen(eva) == [two.id, one.id]
    assert await unseen(adam) == []
    async with database.write() as tx:
        await saved_searches.see(tx, adam.id, two.id)
        await saved_searches.see(tx, eva.id, one.id)
    assert await unseen(eva) == [two.id]
    async with database.read() as connection:
        assert [each.id for each in await saved_searches.hits(connection, eva.id)] == [two.id, one.id]


async def test_no_hit_comes_to_light_below_one_that_was_shown(database: Database) -> None:
    """Two watchers tell at once; whoever puts away what they have seen must not put away what comes later."""
    eva = await somebody(database)
    number = await saved(database, eva)
    air = await factories.on_air(database)
    await factories.heard(database, air.recording_id, line(0, "the battery"), line(9_000, "the battery"))
    first, second = await lines_of(database, air.recording_id)
    shown: list[int] = []

    async def look(_: AsyncConnection) -> None:
        async with database.read() as connection:
            shown.extend(one.id for one in await saved_searches.hits(connection, eva.id))

    [one], [two] = await interleaved(
        database,
        lambda tx: saved_searches.tell(tx, [hit(number, first, air.interview_id)]),
        lambda tx: saved_searches.tell(tx, [hit(number, second, air.interview_id)]),
        rest=look,
    )
    async with database.write() as tx:
        await saved_searches.see(tx, eva.id, max(shown, default=0))
    async with database.read() as connection:
        unseen = await saved_searches.hits(connection, eva.id, unseen_within=timedelta(hours=1))
    assert {one.id, two.id} - set(shown) == {each.id for each in unseen}
