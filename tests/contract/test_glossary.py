"""The glossary on both databases: no term twice, nothing overwritten unseen, lists taken whole or not at all."""

from __future__ import annotations

import asyncio

import pytest

from streamarchive.catalogue import glossary
from streamarchive.catalogue.database import Database
from streamarchive.catalogue.glossary import TermTakenError
from streamarchive.errors import NotFoundError, UsageError
from streamarchive.glossaries import MOST, Entry

COCKPIT = Entry("智能座舱", "zh", {"en": "smart cockpit"})
NIO = Entry("NIO", "en", {"zh": "蔚来"}, is_name=True)


async def add(database: Database, entry: Entry) -> int:
    async with database.write() as tx:
        return await glossary.add(tx, entry)


async def held(database: Database) -> list[Entry]:
    async with database.read() as connection:
        return [term.entry for term in await glossary.current(connection)]


async def test_a_term_is_added_corrected_and_taken_out(database: Database) -> None:
    number = await add(database, COCKPIT)
    await add(database, NIO)
    assert await held(database) == [NIO, COCKPIT]
    corrected = Entry("智能座舱", "zh", {"en": "intelligent cockpit"})
    async with database.write() as tx:
        anew = await glossary.change(tx, number, corrected)
    assert anew > number
    assert await held(database) == [corrected, NIO], "what was corrected last comes first"
    async with database.read() as connection:
        assert await glossary.pairs(connection) == [("NIO", "蔚来"), ("智能座舱", "intelligent cockpit")]
        assert (await glossary.get(connection, anew)).entry == corrected
    async with database.write() as tx:
        await glossary.remove(tx, anew)
    assert await held(database) == [NIO]


async def test_who_corrects_what_was_corrected_meanwhile_is_told(database: Database) -> None:
    number = await add(database, COCKPIT)
    async with database.write() as tx:
        await glossary.change(tx, number, NIO)
    for late in (Entry("座舱", "zh"), COCKPIT):
        with pytest.raises(NotFoundError):
            async with database.write() as tx:
                await glossary.change(tx, number, late)
    with pytest.raises(NotFoundError):
        async with database.write() as tx:
            await glossary.remove(tx, number)
    assert await held(database) == [NIO]


@pytest.mark.parametrize("again", [NIO, Entry("nio", "en"), Entry("ＮＩＯ", "en")])
async def test_a_term_is_there_once_in_its_language(database: Database, again: Entry) -> None:
    await add(database, NIO)
    with pytest.raises(TermTakenError):
        await add(database, again)
    await add(database, Entry("NIO", "zh"))
    other = await add(database, COCKPIT)
    with pytest.raises(TermTakenError):
        async with database.write() as tx:
            await glossary.change(tx, other, again)
    assert await held(database) == [COCKPIT, Entry("NIO", "zh"), NIO], "a refused correction takes nothing out"


async def test_of_many_who_add_the_same_term_at_once_one_does(database: Database) -> None:
    outcomes = await asyncio.gather(*(add(database, NIO) for _ in range(8)), return_exceptions=True)
    assert [outcome for outcome in outcomes if not isinstance(outcome, TermTakenError)] == [1]
    assert await held(database) == [NIO]


async def test_a_list_adds_and_corrects_and_once_more_does_nothing(database: Database) -> None:
    await add(database, COCKPIT)
    await add(database, Entry("nio", "en"))
    await add(database, Entry("battery", "en"))
    for counts in ({"added": 1, "changed": 1, "same": 1}, {"added": 0, "changed": 0, "same": 3}):
        async with database.write() as tx:
            plan = await glossary.take(tx, [COCKPIT, NIO, Entry("电池", "zh")])
        assert plan.counts == counts
    assert set(map(str, await held(database))) == set(
        map(str, [NIO, Entry("电池", "zh"), Entry("battery", "en"), COCKPIT])
    )


@pytest.mark.parametrize("last", [Entry("", "en"), Entry("=1", "en"), Entry("a", "a b")])
async def test_a_list_with_a_flaw_changes_nothing(database: Database, last: Entry) -> None:
    await add(database, COCKPIT)
    with pytest.raises(UsageError):
        async with database.write() as tx:
            await glossary.take(tx, [NIO, Entry("智能座舱", "zh"), last])
    assert await held(database) == [COCKPIT]


async def test_there_is_room_for_so_many(database: Database) -> None:
    async with database.write() as tx:
        await glossary.take(tx, [Entry(f"word {number}", "en") for number in range(MOST)])
    for more in ([NIO], [NIO, COCKPIT]):
        with pytest.raises(UsageError, match=r"at most 5,000 terms"):
            async with database.write() as tx:
                await glossary.take(tx, more)
    async with database.write() as tx:
        assert (await glossary.take(tx, [Entry("Word 7", "en", {"zh": "词"})])).counts["changed"] == 1
