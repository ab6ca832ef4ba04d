from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event as events
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive import jobs
from streamarchive.catalogue import changes, interviews, outbox, recordings
from streamarchive.catalogue.database import Database
from streamarchive.catalogue.people import Guest
from streamarchive.errors import NotFoundError
from streamarchive.models import Interview, InterviewId, Role, Stage, Visibility
from tests import factories
from tests.interleaving import interleaved

HELD = datetime(2026, 4, 24, 9, 30, tzinfo=UTC)


async def get(database: Database, interview_id: str) -> Interview:
    async with database.read() as connection:
        return await interviews.get(connection, interview_id)


async def find(database: Database, reference: str) -> Interview:
    async with database.read() as connection:
        return await interviews.find(connection, reference)


async def describe(tx: AsyncConnection, interview_id: InterviewId, *guests: Guest) -> None:
    """Say of an interview who its guests are, and nothing else."""
    await interviews.describe(
        tx,
        interview_id,
        titles={"en": "Batteries"},
        descriptions={},
        languages=(),
        held_at=HELD,
        event=None,
        guests=guests,
    )


# --- making and finding -------------------------------------------------------------------------------------


async def test_an_interview_is_read_as_it_was_made(database: Database) -> None:
    async with database.write() as tx:
        interview_id = await interviews.create(
            tx,
            titles={"en": "The smart cockpit", "zh": "智能座舱"},
            descriptions={"en": "On screens."},
            languages=["zh", "en"],
            visibility=Visibility.PUBLIC,
            held_at=HELD.astimezone(),
            event={"en": "Auto China", "zh": "北京车展"},
            guests=[
                Guest({"en": "Li Na", "zh": "李娜"}, {"en": "Harbour Motors"}),
                Guest({"en": "Zhang Wei"}, {}),
            ],
        )
    found = await get(database, interview_id)
    assert (found.titles["zh"], found.descriptions, found.languages) == (
        "智能座舱",
        {"en": "On screens."},
        ("zh", "en"),
    )
    assert (found.slug, found.address) == (
        "the-smart-cockpit",
        f"/interviews/{interview_id}-the-smart-cockpit",
    )
    assert (found.visibility, found.stage, found.held_at) == (Visibility.PUBLIC, Stage.SCHEDULED, HELD)
    assert found.event is not None
    assert found.event.names["zh"] == "北京车展"
    assert [guest.names["en"] for guest in found.guests] == ["Li Na", "Zhang Wei"]
    assert found.guests[0].affiliations == {"en": "Harbour Motors"}


async def test_a_new_interview_is_a_draft(database: Database) -> None:
    async with database.write() as tx:
        interview_id = await interviews.create(tx, titles={"en": "A"})
    assert (await get(database, interview_id)).visibility is Visibility.DRAFT


async def test_an_event_is_made_once(database: Database) -> None:
    made = []
    for names in ({"en": "A", "zh": "B"}, {"zh": "B", "en": "A"}, {"en": "A"}):
        async with database.write() as tx:
            made.append(await interviews.create(tx, titles={"en": "A"}, event=names))
    first, second, third = [(await get(database, interview_id)).event for interview_id in made]
    assert first is not None
    assert first == second != third


async def test_two_who_name_a_new_event_and_guest_at_once_mean_the_same(database: Database) -> None:
    async def create(tx: AsyncConnection) -> InterviewId:
        guest = Guest({"en": "Lei Jun"}, {"en": "Xiaomi"})
        return await interviews.create(tx, titles={"en": "A"}, event={"en": "Auto China"}, guests=[guest])

    first, second = [await get(database, made) for made in await interleaved(database, create, create)]
    assert first.event == second.event
    assert first.guests == second.guests


async def test_a_guest_who_is_named_twice_is_one_guest(database: Database) -> None:
    interview_id = await factories.interview(database)
    twice = [Guest({"en": "Lei Jun"}, {}), Guest({"en": "Li Na"}, {}), Guest({"en": "Lei Jun"}, {})]
    for _ in range(2):  # new the first time, known the second
        async with database.write() as tx:
            await describe(tx, interview_id, *twice)
        guests = (await get(database, interview_id)).guests
        assert [guest.names["en"] for guest in guests] == ["Lei Jun", "Li Na"]


@pytest.mark.parametrize("names", [("Lei Jun", "Li Na"), ("Lei Jun", "Lei Jun")])
async def test_of_two_who_describe_at_once_the_later_is_kept(database: Database, names: tuple[str, str]) -> None:
    interview_id, other = await factories.interview(database), await factories.interview(database)
    first, second = ((Guest({"en": name}, {}),) for name in names)
    async with database.write() as tx:
        await describe(tx, other, *first, *second)  # both are known
    done = await interleaved(
        database, lambda tx: describe(tx, interview_id, *first), lambda tx: describe(tx, interview_id, *second)
    )
    assert done == [None, None]
    assert [guest.names["en"] for guest in (await get(database, interview_id)).guests] == [names[1]]


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("The Smart  Cockpit: 2026!", "the-smart-cockpit-2026"),
        ("智能座舱 with Li Na", "智能座舱-with-li-na"),
        ("Ｆｕｌｌ－width", "full-width"),
        ("a/b?c#d%e_f", "a-b-c-d-e-f"),
        ("???", ""),
        ("x" * 300, "x" * 80),
    ],
)
def test_slugs_are_readable_and_short(title: str, slug: str) -> None:
    assert interviews.slugify({"en": title}) == slug


async def test_it_is_found_by_id_by_address_and_by_slug(database: Database) -> None:
    interview_id = await factories.interview(database, "Cockpit talk")
    for reference in (
        interview_id,
        f"{interview_id}-cockpit-talk",
        f"{interview_id}-an-older-title",
        "cockpit-talk",
        f"/interviews/{interview_id}-cockpit-talk",
        f"https://talks.example/interviews/{interview_id}-cockpit-talk/?t=93.2",
        f"https://talks.example/interviews/{interview_id}#cue-7",
    ):
        assert (await find(database, reference)).id == interview_id


async def test_of_two_with_the_same_slug_the_newest_is_found(database: Database) -> None:
    await factories.interview(database, "Same")
    newest = await factories.interview(database, "Same")
    assert (await find(database, "same")).id == newest


async def test_an_id_is_stronger_than_a_slug(database: Database) -> None:
    older = await factories.interview(database, "Older")
    await factories.interview(database, f"{older} older")
    assert (await find(database, f"{older}-older")).id == older


@pytest.mark.parametrize(
    "reference", ["", "-", "0000000000", "\x00", "\udcff", "'; DROP TABLE interview; --", "x" * 10_000, "%", "_"]
)
async def test_what_is_not_there_is_not_found(database: Database, reference: str) -> None:
    await factories.interview(database, "Something")
    for step in (interviews.find, interviews.get):
        with pytest.raises(NotFoundError):
            async with database.read() as connection:
                await step(connection, reference)


async def test_renaming_moves_the_address_and_keeps_the_old_one(database: Database) -> None:
    interview_id = await factories.interview(database, "Before")
    old = (await get(database, interview_id)).address
    async with database.write() as tx:
        await interviews.set_titles(tx, interview_id, {"en": "After"})
    found = await find(database, old)
    assert (found.id, found.slug, found.titles) == (interview_id, "after", {"en": "After"})


async def test_what_is_changed_reaches_search_and_pages_with_a_higher_version(database: Database) -> None:
    interview_id = await factories.interview(database)
    for change in (
        lambda tx: interviews.set_titles(tx, interview_id, {"en": "After"}),
        lambda tx: interviews.set_visibility(tx, interview_id, Visibility.UNLISTED),
    ):
        async with database.write() as tx:
            await outbox.remove(tx, await outbox.oldest(tx))
            before = (await interviews.versions(tx, [interview_id]))[interview_id]
            last = await changes.newest_id(tx)
            await change(tx)
        async with database.read() as connection:
            assert (await interviews.versions(connection, [interview_id]))[interview_id] > before
            assert (await outbox.oldest(connection)).interview_ids == (interview_id,)
            assert {c.interview_id for c in await changes.after(connection, last)} == {interview_id}


async def test_changing_what_is_not_there_is_refused(database: Database) -> None:
    for change in (
        lambda tx: interviews.set_titles(tx, InterviewId("0"), {"en": "A"}),
        lambda tx: interviews.set_visibility(tx, InterviewId("0"), Visibility.PUBLIC),
    ):
        with pytest.raises(NotFoundError):
            async with database.write() as tx:
                await change(tx)


# --- who sees what ------------------------------------------------------------------------------------------

LISTED = {
    Role.VIEWER: {Visibility.PUBLIC},
    Role.EDITOR: {Visibility.DRAFT, Visibility.UNLISTED, Visibility.PUBLIC},
    Role.PRODUCER: {Visibility.DRAFT, Visibility.UNLISTED, Visibility.PUBLIC},
    Role.ADMIN: {Visibility.DRAFT, Visibility.UNLISTED, Visibility.PUBLIC},
}
OPEN = {
    Role.VIEWER: {Visibility.UNLISTED, Visibility.PUBLIC},
    Role.EDITOR: {Visibility.DRAFT, Visibility.UNLISTED, Visibility.PUBLIC},
    Role.PRODUCER: set(Visibility),
    Role.ADMIN: set(Visibility),
}


@pytest.mark.parametrize("role", Role)
async def test_each_role_is_shown_what_it_may_see(database: Database, role: Role) -> None:
    ids = {v: await factories.interview(database, v, v) for v in Visibility}
    async with database.read() as connection:
        listed = {interview.visibility for interview in await interviews.latest(connection, role)}
        hidden = await interviews.hidden_from(connection, role)
        found = await interviews.by_ids(connection, list(ids.values()))
    assert listed == LISTED[role]
    assert hidden == {ids[v] for v in Visibility if v not in LISTED[role]}
    assert {i.visibility for i in found.values() if interviews.may_see(i, role)} == OPEN[role]


async def test_hiding_is_effective_once_it_is_committed(database: Database) -> None:
    interview_id = await factories.interview(database)
    async with database.write() as tx:
        await interviews.set_visibility(tx, interview_id, Visibility.TRASHED)
    async with database.read() as connection:
        assert await interviews.latest(connection) == []
        assert await interviews.hidden_from(connection, Role.VIEWER) == {interview_id}


async def test_lists_are_paged_newest_first(database: Database) -> None:
    ids = []
    for days in (3, 1, 2, 2):
        async with database.write() as tx:
            ids.append(
                await interviews.create(
                    tx, titles={"en": "A"}, visibility=Visibility.PUBLIC, held_at=HELD - timedelta(days=days)
                )
            )
    async with database.read() as connection:
        pages = [await interviews.latest(connection, limit=2, offset=offset) for offset in (0, 2, 4)]
    order = [interview.id for page in pages for interview in page]
    assert order == [ids[1], *sorted(ids[2:]), ids[0]]


async def test_lists_take_the_same_number_of_queries_however_long_they_are(database: Database) -> None:
    counted = [0]
    engine = database._reader.sync_engine

    def count(*_: object) -> None:
        counted[0] += 1

    events.listen(engine, "before_cursor_execute", count)
    numbers = []
    for _ in range(2):
        for _ in range(4):
            _, recording_id = await factories.uploaded(database)
            async with database.write() as tx:
                await jobs.enqueue(tx, "finalise", str(recording_id), recording_id=recording_id)
        counted[0] = 0
        async with database.read() as connection:
            await interviews.latest(connection)
        numbers.append(counted[0])
    assert numbers[0] == numbers[1] <= 4


# --- stages -------------------------------------------------------------------------------------------------


async def stage(database: Database, interview_id: InterviewId) -> Stage:
    return (await get(database, interview_id)).stage


async def test_a_broadcast_goes_through_all_stages(database: Database) -> None:
    interview_id, stream = await factories.claimed_stream(database)
    assert await stage(database, interview_id) is Stage.SCHEDULED
    async with database.write() as tx:
        recording_id = await recordings.begin(tx, stream, has_video=True)
    assert await stage(database, interview_id) is Stage.LIVE
    async with database.write() as tx:
        await recordings.finish(tx, stream, recording_id)
        await jobs.enqueue(tx, "finalise", str(recording_id), recording_id=recording_id)
    assert await stage(database, interview_id) is Stage.PROCESSING
    job = await jobs.claim(database, ["finalise"], "worker")
    assert job is not None
    assert await stage(database, interview_id) is Stage.PROCESSING
    async with database.write() as tx:
        await jobs.finish(tx, job)
    assert await stage(database, interview_id) is Stage.READY


async def test_an_upload_whose_job_is_parked_is_ready_all_the_same(database: Database) -> None:
    """What could not be done is told by the job; the recording plays."""
    interview_id, recording_id = await factories.uploaded(database)
    async with database.write() as tx:
        await jobs.enqueue(tx, "finalise", str(recording_id), recording_id=recording_id)
    assert await stage(database, interview_id) is Stage.PROCESSING
    job = await jobs.claim(database, ["finalise"], "worker")
    assert job is not None
    await jobs.fail(database, job, "no", retryable=False)
    assert await stage(database, interview_id) is Stage.READY


async def test_one_recording_can_serve_several_interviews(database: Database) -> None:
    first, recording_id = await factories.uploaded(database)
    second = await factories.interview(database)
    async with database.write() as tx:
        await interviews.attach(tx, second, recording_id)
    async with database.read() as connection:
        assert {i.id for i in await interviews.of_recording(connection, recording_id)} == {first, second}
        assert set(await interviews.ids_of_recording(connection, recording_id)) == {first, second}
        assert set(await interviews.all_ids(connection)) == {first, second}
