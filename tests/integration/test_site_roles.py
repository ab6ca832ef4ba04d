"""The role walk: every route of the table, as nobody and as every role, for interviews of every visibility.

What may be seen is written down here once more, in the test's own words; nothing of it is read from the site.
"""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from sqlalchemy import select

from streamarchive import jobs
from streamarchive.catalogue import accounts, glossary, interviews, streams, tables, transcripts, withheld
from streamarchive.glossaries import Entry
from streamarchive.models import AssetKind, Interview, Role, Visibility
from tests import people
from tests.people import Client
from tests.site import Site, draft
from tests.waiting import until_async
from web.routes import ROUTES, Route

SECRET = "The unmistakable zeppelin"
NOBODY = Role.VIEWER
ASKERS = (NOBODY, Role.EDITOR, Role.PRODUCER, Role.ADMIN)
SEES = {
    NOBODY: {Visibility.PUBLIC, Visibility.UNLISTED},
    Role.EDITOR: {Visibility.PUBLIC, Visibility.UNLISTED, Visibility.DRAFT},
    Role.PRODUCER: set(Visibility),
    Role.ADMIN: set(Visibility),
}
LISTED = {
    NOBODY: {Visibility.PUBLIC},
    Role.EDITOR: {Visibility.PUBLIC, Visibility.UNLISTED, Visibility.DRAFT},
    Role.PRODUCER: {Visibility.PUBLIC, Visibility.UNLISTED, Visibility.DRAFT},
    Role.ADMIN: {Visibility.PUBLIC, Visibility.UNLISTED, Visibility.DRAFT},
}
RANK = {role: rank for rank, role in enumerate(ASKERS)}
INGEST = {route.path for route in ROUTES if route.path.startswith("/ingest/")}
OPEN_TO_CHANGE = {"/language", "/sign-in", *INGEST}
"""The only addresses at which somebody without an account may send anything; encoders have a stream's token."""
LEAST = {
    "/desk": Role.PRODUCER,
    "/account": Role.EDITOR,
    "/saved-searches": Role.EDITOR,
    "/glossary": Role.EDITOR,
    "/api/cues": Role.EDITOR,
    "/sign-out": Role.EDITOR,
}
ABOUT_ONE = [route for route in ROUTES if re.search(r"\{(id|reference|cue)\b", route.path)]
LISTS = {
    "/": "",
    "/search": "?q=zeppelin",
    "/search?view=moments": "&q=zeppelin",
    "/search/facets": "?q=zeppelin",
    "/api/search": "?q=zeppelin",
    "/api/search?view=moments": "&q=zeppelin",
    "/api/search/facets": "?q=zeppelin",
    "/api/suggestions": "?q=zeppelin",
    "/api/interviews": "",
    "/desk": "",
}
WATCHED = (
    tables.interview,
    tables.stream,
    tables.job,
    tables.cue,
    tables.upload,
    tables.recording,
    tables.withheld_range,
    tables.saved_search,
    tables.glossary_term,
)


@dataclass(frozen=True)
class Whole:
    """An interview with everything that a route can name."""

    interview: Interview
    names: dict[str, str]

    def address(self, route: Route, **other: str) -> str:
        """The route's path with its placeholders filled in."""
        known = {**self.names, **other}
        return re.sub(r"\{(\w+)(?::(?:[^{}]|\{\d+,?\d*\})*)?\}", lambda match: known[match[1]], route.path)


NONE = {
    "id": "0000000000",
    "reference": "0000000000",
    "cue": "999999",
    "stream": "999999",
    "job": "999999",
    "range": "999999",
}


async def whole(site: Site, visibility: Visibility) -> Whole:
    """One that has everything a route could give away."""
    broadcast = await site.go_live({"en": f"{SECRET} {visibility}"}, visibility)
    await broadcast.add_segments(2)
    said = f"{SECRET} {visibility}."
    await broadcast.say(draft(0, said, speaker=SECRET), draft(4_000, said, speaker="Host"))
    await broadcast.end()
    for kind in AssetKind:
        await site.put_asset(broadcast.recording_id, kind)
    async with site.services.database.write() as tx:
        key = str(broadcast.recording_id)
        job = await jobs.enqueue(tx, "transcribe", key, recording_id=broadcast.recording_id)
        held = await withheld.withhold(tx, broadcast.recording_id, 1_000, 2_000)
        await withheld.lift(tx, held.id)
        interview = await interviews.get(tx, broadcast.interview_id)
        cue = (await transcripts.of_recording(tx, broadcast.recording_id))[0]
    names = {
        "id": interview.id,
        "reference": interview.address.rsplit("/", 1)[-1],
        "cue": str(cue.id),
        "stream": str(broadcast.stream.id),
        "job": str(job),
        "range": str(held.id),
        "format": "vtt",
        "sequence": "0",
        "ms": "0",
        "pts": "0",
        "name": "media.mp4",
        "search": "999999",
        "term": str(await a_term(site)),
    }
    return Whole(interview, names)


async def a_term(site: Site) -> int:
    """One of the glossary's, there once however often this is asked."""
    entry = Entry("zeppelin", "en", {"zh": "飞艇"})
    async with site.services.database.write() as tx:
        await glossary.take(tx, [entry])
        return next(term.id for term in await glossary.current(tx) if term.entry == entry)


async def state(site: Site) -> list:
    """All that a request could change."""
    async with site.services.database.read() as connection:
        return [(await connection.execute(select(table))).all() for table in WATCHED]


async def everybody(site: Site, stack: AsyncExitStack) -> dict[Role, Client]:
    clients = {NOBODY: await stack.enter_async_context(people.visitor(site))}
    for role in ASKERS[1:]:
        clients[role] = await stack.enter_async_context(people.signed_in(site, role))
    return clients


async def ask(client: Client, route: Route, path: str, *, token: bool = True) -> people.Answer:
    """Send what the route takes; only the head of an event stream is read."""
    headers = {"X-CSRF-Token": client.token} if token and client.token else {}
    if route.path.endswith("/events"):
        async with client.session.get(client.url + path, allow_redirects=False) as response:
            return people.Answer(response.status, "", dict(response.headers))
    if route.method == "GET":
        return await client.get(path)
    if route.has_file:
        sent = None if token else ""
        return await client.send(path, ("recording", "a.mp4", b"just a letter"), token=sent)
    return await client.ask(route.method, path, headers={**headers, "If-Match": '"0"'}, json={})


def test_who_may_send_anything_is_written_down_twice():
    for route in ROUTES:
        if route.method != "GET" and route.path not in OPEN_TO_CHANGE:
            assert route.role is not NOBODY, route
        for prefix, role in LEAST.items():
            if route.path.startswith(prefix):
                assert RANK[route.role] >= RANK[role], route
    assert {route.path for route in ROUTES if "/cues" in route.path and route.role is NOBODY} == set()


@pytest.mark.parametrize("visibility", list(Visibility))
async def test_what_one_may_not_see_looks_and_acts_as_if_it_were_not_there(site: Site, visibility: Visibility):
    """Same answer as for what has never been: nobody can find out that there is something to hide."""
    there = await whole(site, visibility)
    async with AsyncExitStack() as stack:
        clients = await everybody(site, stack)
        before = await state(site)
        for role, client in clients.items():
            for route in ABOUT_ONE:
                may = RANK[role] >= RANK[route.role]
                if may and visibility in SEES[role]:
                    continue
                path, nowhere = there.address(route), there.address(route, **NONE)
                answer = await ask(client, route, path)
                label = f"{role} {route.method} {route.path}: {answer.status}"
                assert SECRET not in answer.text, label
                if may:
                    never = await ask(client, route, nowhere)
                    assert answer.status == never.status >= 400, label
                    assert plain(answer.text, path, there.names) == plain(never.text, nowhere, NONE), label
                elif role is NOBODY and route.method == "GET":
                    assert answer.location.startswith("/sign-in?next="), label
                else:
                    assert answer.status == 404, label
        assert await state(site) == before


def plain(text: str, path: str, names: dict[str, str]) -> str:
    """A page without its own address."""
    text = re.sub(r"\bcue \d+\b", "cue …", text.replace(path, "…"))
    return text.replace(names["reference"], "…").replace(names["id"], "…")


@pytest.mark.parametrize("visibility", list(Visibility))
async def test_what_one_may_see_is_there(site: Site, visibility: Visibility):
    there = await whole(site, visibility)
    async with AsyncExitStack() as stack:
        for role, client in (await everybody(site, stack)).items():
            for route in ABOUT_ONE:
                allowed = RANK[role] >= RANK[route.role] and visibility in SEES[role]
                if allowed and route.method == "GET":
                    answer = await ask(client, route, there.address(route))
                    assert answer.status == 200, f"{role} {route.path}"


@pytest.mark.parametrize("visibility", list(Visibility))
async def test_lists_and_results_hold_what_the_role_may_find(site: Site, visibility: Visibility):
    await whole(site, visibility)
    async with AsyncExitStack() as stack:
        for role, client in (await everybody(site, stack)).items():
            for path, query in LISTS.items():
                if path == "/desk" and RANK[role] < RANK[Role.PRODUCER]:
                    continue
                answer = await client.get(path + query)
                assert (SECRET in answer.text) is (visibility in LISTED[role]), f"{role} {path}"


@pytest.mark.parametrize("visibility", list(Visibility))
async def test_a_feed_holds_public_interviews_alone_whoever_asks(site: Site, visibility: Visibility):
    await whole(site, visibility)
    async with AsyncExitStack() as stack:
        for role, client in (await everybody(site, stack)).items():
            feed = await client.get("/search.atom?q=zeppelin")
            assert (SECRET in feed.text) is (visibility is Visibility.PUBLIC), role


async def test_nothing_is_changed_without_the_forms_token(site: Site):
    there = await whole(site, Visibility.PUBLIC)
    async with people.signed_in(site, Role.ADMIN) as admin:
        before = await state(site)
        for route in ROUTES:
            if route.method == "GET" or route.path in OPEN_TO_CHANGE:
                continue
            path = there.address(route)
            assert (await ask(admin, route, path, token=False)).status == 403, path
            other = {"Sec-Fetch-Site": "cross-site", "X-CSRF-Token": admin.token}
            assert (await admin.ask(route.method, path, headers=other)).status == 403, path
            other = {"Origin": "http://evil.example", "X-CSRF-Token": admin.token}
            assert (await admin.ask(route.method, path, headers=other)).status == 403, path
        assert await state(site) == before


async def test_what_belongs_to_one_interview_cannot_be_reached_through_another(site: Site):
    hidden, shown = await whole(site, Visibility.TRASHED), await whole(site, Visibility.PUBLIC)
    async with people.signed_in(site, Role.EDITOR) as editor, people.signed_in(site, Role.PRODUCER) as producer:
        before = await state(site)
        for client in (editor, producer):
            for route in ABOUT_ONE:
                foreign = [name for name in ("cue", "stream", "job") if f"{{{name}:" in route.path]
                if not foreign or "{id" not in route.path:
                    continue
                path = shown.address(route, **{name: hidden.names[name] for name in foreign})
                answer = await ask(client, route, path)
                assert answer.status >= 400, path
                assert SECRET not in answer.text.replace(shown.interview.titles["en"], ""), path
        assert await state(site) == before


# --- hiding, and sessions that end --------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [Visibility.DRAFT, Visibility.TRASHED])
async def test_hiding_by_the_desk_takes_all_of_it_away_within_two_seconds(site: Site, wanted: Visibility):
    there = await whole(site, Visibility.PUBLIC)
    async with people.signed_in(site, Role.PRODUCER) as producer, people.visitor(site) as nobody:
        async with nobody.session.get(f"{site.url}/interviews/{there.interview.id}/events") as stream:
            await stream.content.readuntil(b"\r\n\r\n")
            answer = await producer.post(f"/desk/{there.interview.id}/visibility", {"visibility": wanted})
            assert answer.status == 303

            async def ended():
                return stream.content.at_eof() or not await stream.content.read(1 << 16)

            await until_async(ended, "the event stream to end", seconds=2)
        for route in ABOUT_ONE:
            if route.role is NOBODY:
                assert (await ask(nobody, route, there.address(route))).status == 404, route.path
        for path, query in LISTS.items():
            assert SECRET not in (await nobody.get(path + query)).text, path


@pytest.mark.parametrize("how", ["signed out elsewhere", "removed", "role", "signed out"])
async def test_an_event_stream_ends_with_the_session_it_was_opened_in(site: Site, how: str):
    there = await whole(site, Visibility.DRAFT)
    async with people.signed_in(site, Role.EDITOR, "eva") as eva, people.visitor(site) as other:
        second = await people.sign_in(other, "eva")
        async with eva.session.get(f"{site.url}/interviews/{there.interview.id}/events") as stream:
            await stream.content.readuntil(b"\r\n\r\n")
            if how == "signed out elsewhere":
                assert (await second.post("/account/sessions")).status == 303
            elif how == "signed out":
                assert (await eva.post("/sign-out")).status == 303
            else:
                async with site.services.database.write() as tx:
                    if how == "removed":
                        await accounts.remove_user(tx, "eva")
                    else:
                        await accounts.change_user(tx, "eva", role=Role.PRODUCER)

            async def ended():
                return not await stream.content.read(1 << 16)

            await until_async(ended, "the event stream to end", seconds=2)
        assert (await eva.get(f"/interviews/{there.interview.id}/lines.json")).status == 404


async def test_lines_outside_the_cut_are_not_sent_to_open_pages(site: Site):
    broadcast = await site.go_live({"en": "Talk"})
    await broadcast.add_segments(2)
    async with site.services.database.write() as tx:
        await interviews.cut(tx, broadcast.interview_id, 10_000, None)
    path = f"{site.url}/interviews/{broadcast.interview_id}/events"
    async with people.visitor(site) as nobody, nobody.session.get(path) as stream:
        await stream.content.readuntil(b"\r\n\r\n")
        await broadcast.say(draft(0, SECRET), draft(12_000, "Welcome to the show"))
        sent = await stream.content.readuntil(b"Welcome to the show")
    assert SECRET.encode() not in sent


async def test_viewers_are_not_told_the_address_of_a_stream(site: Site):
    broadcast = await site.go_live({"en": "Talk"})
    await broadcast.add_segments(1)
    async with site.services.database.write() as tx:
        await streams.set_error(tx, broadcast.stream, "http://cam.example/live?key=swordfish answers 403")
    path = f"/interviews/{broadcast.interview_id}/lines.json"
    async with people.visitor(site) as nobody, people.signed_in(site, Role.EDITOR) as editor:
        for client, told in ((nobody, False), (editor, True)):
            page = await client.get((await site.interview(broadcast.interview_id)).address)
            assert ("swordfish" in page.text) is told
            assert ("swordfish" in (await client.get(path)).text) is told
