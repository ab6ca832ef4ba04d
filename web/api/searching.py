"""Search as JSON: what the page shows, with the same rights."""

from __future__ import annotations

from aiohttp import web

from streamarchive.errors import UsageError
from streamarchive.search import finding, query
from streamarchive.search.answers import as_json
from streamarchive.search.suggesting import Kind, Suggestion

from .. import answering, asking
from ..asking import Asked
from ..keys import SERVICES, SUGGESTER, VISIT
from .answers import answer_with, number

_MOST, _MOMENTS = 100, 10


async def search(request: web.Request) -> web.StreamResponse:
    """`?q=` with `view`, `sort`, `after` and `limit`: the moments of the interviews found, or all moments."""
    services, asked = request.app[SERVICES], _asked(request)
    limit = min(number(request, "limit", 20), _MOST) or 1
    role = request[VISIT].asker.role
    parsed = query.parse(asked.typed)
    answer = await answering.answer(services, asked, parsed, role, limit=limit, moments=_MOMENTS)
    return answer_with(as_json(answer, services.settings.site))


async def facets(request: web.Request) -> web.StreamResponse:
    """How many moments of the answer each speaker, language, event and year has."""
    services, asked = request.app[SERVICES], _asked(request)
    parsed = query.parse(asked.typed)
    found = await finding.find_facets(services.database, services.search, parsed, role=request[VISIT].asker.role)
    return answer_with(
        {
            "speakers": dict(found.speakers),
            "languages": dict(found.langs),
            "events": [{"names": dict(event.names), "count": count} for event, count in found.events],
            "years": {str(year): count for year, count in found.years.items()},
            "exact": found.exact,
            "timed_out": found.timed_out,
            "index_away": found.index_away,
        }
    )


async def suggest(request: web.Request) -> web.StreamResponse:
    """`?q=` as far as it is typed: `{"suggestions": [{"kind", "label", "text", "lang", "url"}]}`."""
    visit = request[VISIT]
    typed = request.query.get("q", "").strip()[: query.MAX_LENGTH]
    _ = visit.language.gettext
    labels = {
        Kind.TITLE: _("Interview"),
        Kind.GUEST: _("Guest"),
        Kind.TERM: _("Term"),
        Kind.PHRASE: _("Often said"),
    }
    found = await request.app[SUGGESTER].matching(typed, visit.asker.role)
    return answer_with(
        {
            "suggestions": [
                {
                    "kind": one.kind,
                    "label": labels[one.kind],
                    "text": one.text,
                    "lang": one.lang,
                    "url": _url(one),
                }
                for one in found
            ]
        }
    )


def _url(one: Suggestion) -> str:
    """Where choosing it leads: a title to its interview, anything else to what is found for it."""
    if one.kind is Kind.TITLE and one.interviews is not None and len(one.interviews) == 1:
        return f"/interviews/{next(iter(one.interviews))}"
    # Only what is often said is meant word for word: a term is found by its counterparts in other languages, too.
    said = one.text.replace('"', " ").strip()
    return Asked(f'"{said}"' if one.kind is Kind.PHRASE and " " in said else said).url()


def _asked(request: web.Request) -> Asked:
    asked = asking.read(request.query)
    if not asked.typed:
        raise UsageError(f"say what to search for: {request.path}?q=…")
    return asked
