"""What a person has watched: the searches, what was found for them, and where calls go."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive import jobs, webhooks
from streamarchive.catalogue import saved_searches
from streamarchive.catalogue.database import now
from streamarchive.catalogue.saved_searches import SavedSearch
from streamarchive.errors import ConflictError, DeliveryError, UsageError
from streamarchive.models import Job, JobState, User
from streamarchive.search import query, telling

from .. import auth
from ..asking import Asked
from ..keys import RENDERER, SERVICES, VISIT
from ..views import Moment, Text, moment, title_of

_HITS = 50
_ON_HOME, _FRESH = 3, timedelta(hours=24)
"""So many lines on the home page, and for so long."""


@dataclass(frozen=True, slots=True)
class Told:
    """A hit as pages show it."""

    id: int
    query: str
    title: Text
    moment: Moment
    seen: bool
    ago_ms: int


@dataclass(frozen=True, slots=True)
class Watched:
    """A saved search as its page shows it. `trouble` is why its newest call has not been taken."""

    search: SavedSearch
    url: str
    trouble: str
    stopped: bool


async def show(request: web.Request) -> web.StreamResponse:
    """The page. `?q=` fills in its form."""
    return await _show(request, typed=request.query.get("q", ""))


async def add(request: web.Request) -> web.StreamResponse:
    """Watch one more."""
    services, form = request.app[SERVICES], await request.post()
    typed, url = str(form.get("q", "")).strip(), str(form.get("webhook_url", "")).strip()
    try:
        parsed = query.parse(typed)
        if all(clause.negated for clause in parsed.clauses):
            raise UsageError("say what to listen for: a word or a phrase")
        if parsed.ignored:
            raise UsageError(f"this part is not understood: {parsed.ignored[0][:80]}")
        if url:
            await webhooks.vet(url, services.settings.networks)
        async with services.database.write() as tx:
            await saved_searches.add(tx, _user(request).id, typed, url or None)
            await auth.note(tx, request, "saved a search", typed)
    except (UsageError, DeliveryError) as error:
        return await _show(request, typed=typed, url=url, refused=str(error))
    raise web.HTTPSeeOther("/saved-searches")


async def remove(request: web.Request) -> web.StreamResponse:
    """Watch this one no longer."""
    async with request.app[SERVICES].database.write() as tx:
        await saved_searches.remove(tx, _user(request).id, int(request.match_info["search"]))
        await auth.note(tx, request, "removed a saved search", request.match_info["search"])
    raise web.HTTPSeeOther("/saved-searches")


async def see(request: web.Request) -> web.StreamResponse:
    """Put away what was told, up to the hit that the form names."""
    form = await request.post()
    named = str(form.get("up_to", ""))
    if not (named.isascii() and named.isdigit() and len(named) < 16):
        raise UsageError("the form names no hit")
    async with request.app[SERVICES].database.write() as tx:
        await saved_searches.see(tx, _user(request).id, int(named))
    raise web.HTTPSeeOther("/saved-searches" if form.get("next") == "saved" else "/")


async def again(request: web.Request) -> web.StreamResponse:
    """Make the calls of this search that have stopped once more."""
    user, wanted = _user(request), int(request.match_info["search"])
    async with request.app[SERVICES].database.write() as tx:
        for hit in await saved_searches.hits(tx, user.id):
            if hit.saved_search_id == wanted and hit.sent_at is None:
                for job in (await jobs.newest(tx, webhooks.JOB, [str(hit.id)])).values():
                    await _retry(tx, job)
    raise web.HTTPSeeOther("/saved-searches")


async def _retry(tx: AsyncConnection, job: Job) -> None:
    try:
        await jobs.retry(tx, job.id)
    except ConflictError:
        return  # asked for anew already: that one is under way


async def told(request: web.Request) -> web.StreamResponse:
    """What stands of it on the home page, by itself: an open home page asks for it now and then."""
    async with request.app[SERVICES].database.read() as connection:
        context = {"told": await fresh(connection, request)}
    return request.app[RENDERER].page(request, "told.html", context)


async def listens(connection: AsyncConnection, request: web.Request) -> bool:
    """Whether the person has anything watched."""
    user = request[VISIT].asker.user
    return user is not None and bool(await saved_searches.of_user(connection, user.id))


async def fresh(connection: AsyncConnection, request: web.Request) -> list[Told]:
    """What was said lately of what the person has watched, and they have not put away: for the home page."""
    user = request[VISIT].asker.user
    if user is None:
        return []
    return (await _told(connection, request, user, unseen_within=_FRESH))[:_ON_HOME]


async def _told(
    connection: AsyncConnection, request: web.Request, user: User, unseen_within: timedelta | None = None
) -> list[Told]:
    hits = await saved_searches.hits(connection, user.id, unseen_within=unseen_within, limit=_HITS)
    if not hits:
        return []
    moment_now = await now(connection)
    told = await telling.read(connection, await saved_searches.of_user(connection, user.id), hits)
    code = request[VISIT].language.code
    return [
        Told(
            id=one.hit.id,
            query=one.search.query,
            title=title_of(one.interview, code),
            moment=moment(telling.as_moment(one), one.interview.address),
            seen=one.hit.seen_at is not None,
            ago_ms=max(round((moment_now - one.hit.at).total_seconds() * 1000), 0),
        )
        for one in told
    ]


async def _show(request: web.Request, *, typed: str = "", url: str = "", refused: str = "") -> web.Response:
    user = _user(request)
    async with request.app[SERVICES].database.read() as connection:
        searches = await saved_searches.of_user(connection, user.id)
        told = await _told(connection, request, user)
        watched = await _watched(connection, user, searches)
    context = {"searches": watched, "told": told, "typed": typed, "url": url, "refused": refused}
    page = request.app[RENDERER].page(request, "saved_searches.html", context, status=400 if refused else 200)
    page.headers["Cache-Control"] = "no-store"
    return page


async def _watched(connection: AsyncConnection, user: User, searches: list[SavedSearch]) -> list[Watched]:
    unsent: dict[str, int] = {}
    for hit in await saved_searches.hits(connection, user.id):
        if hit.sent_at is None:
            unsent.setdefault(str(hit.id), hit.saved_search_id)
    troubles: dict[int, Job] = {}
    for key, job in (await jobs.newest(connection, webhooks.JOB, list(unsent))).items():
        if job.last_error and job.state in (JobState.QUEUED, JobState.RUNNING, JobState.PARKED):
            troubles.setdefault(unsent[key], job)
    found = []
    for search in searches:
        trouble = troubles.get(search.id)
        found.append(
            Watched(
                search,
                Asked(search.query).url(),
                (trouble.last_error or "") if trouble else "",
                trouble is not None and trouble.state is JobState.PARKED,
            )
        )
    return found


def _user(request: web.Request) -> User:
    user = request[VISIT].asker.user
    assert user is not None  # noqa: S101 - the routes take a role
    return user
