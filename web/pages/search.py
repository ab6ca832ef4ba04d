"""Search: interviews with their best moments or all moments, each a link to its second; and what narrows it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import assets, interviews, media_segments, recordings, withheld
from streamarchive.catalogue.database import now
from streamarchive.models import Asset, AssetKind, CueId, InterviewId, Recording, RecordingId, Stage
from streamarchive.protocols import Query, Sort, Total
from streamarchive.search import answers, finding, query

from .. import answering, asking
from ..access import Visit
from ..asking import MOMENTS, Asked
from ..keys import INDEX_STATE, RENDERER, SERVICES, VISIT
from ..languages import Language
from ..state import has_picture
from ..views import Found, Moment, card, in_language, moment, said_ago

PAGE = 20
_MOMENTS = 4
_FACET_VALUES = 12


async def show(request: web.Request) -> web.StreamResponse:
    """The page."""
    visit, services = request[VISIT], request.app[SERVICES]
    asked = asking.read(request.query)
    parsed = query.parse(asked.typed)
    answer, outdated = await asyncio.gather(
        answering.answer(services, asked, parsed, visit.asker.role, limit=PAGE, moments=_MOMENTS),
        request.app[INDEX_STATE].outdated(),
    )
    async with services.database.read() as connection:
        found = await _Showing.of(connection, answer.found, visit.language.code)
        chips = await _chips(connection, asked, parsed, visit)
    # What was found instead goes on as what it is, else the second page would look for it anew.
    going_on = asked if answer.fallback is None else Asked(answer.fallback.query.text, asked.view, asked.sort)
    context = {
        "query_text": asked.typed,
        "asked": asked,
        "found": found,
        "answer": answer,
        "outdated": outdated,
        "only_narrowed": all(clause.negated for clause in parsed.clauses),
        "total_interviews": getattr(answer, "total_interviews", Total(0)),
        "chips": chips,
        "views": _views(asked, visit.language),
        "sorts": _sorts(asked, visit.language),
        "facets_url": asked.url("/search/facets"),
        "feed_url": asked.url("/search.atom", view=asking.INTERVIEWS, sort=Sort.RELEVANCE),
        "next_url": going_on.url(after=answer.next_cursor) if answer.next_cursor else None,
    }
    return request.app[RENDERER].page(request, "search.html", context)


async def facets(request: web.Request) -> web.StreamResponse:
    """What a search can be narrowed by, with counts: apart, because counting takes longer than finding."""
    visit, services = request[VISIT], request.app[SERVICES]
    asked = asking.read(request.query)
    parsed = query.parse(asked.typed)
    answer = await finding.find_facets(services.database, services.search, parsed, role=visit.asker.role)
    context = {
        "query_text": asked.typed,
        "back_url": asked.url(),
        "groups": _facet_groups(asked, parsed, answer, visit.language),
        "answer": answer,
    }
    return request.app[RENDERER].page(request, "search_facets.html", context)


# --- what stands beside the results -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Choice:
    """A link to the same search in another way."""

    label: str
    url: str
    current: bool = False
    count: int | None = None
    lang: str | None = None


def _views(asked: Asked, language: Language) -> list[Choice]:
    _ = language.gettext
    labels = {asking.INTERVIEWS: _("Interviews"), MOMENTS: _("Moments")}
    return [Choice(label, asked.url(view=view), view == asked.view) for view, label in labels.items()]


def _sorts(asked: Asked, language: Language) -> list[Choice]:
    _ = language.gettext
    labels = {
        Sort.RELEVANCE: _("Best match"),
        Sort.NEWEST: _("Newest"),
        Sort.OLDEST: _("Oldest"),
        Sort.POSITION: _("As spoken"),
    }
    return [Choice(label, asked.url(sort=sort), sort == asked.sort) for sort, label in labels.items()]


async def _chips(connection: AsyncConnection, asked: Asked, parsed: Query, visit: Visit) -> list[Choice]:
    """The filters that hold, each a link to the search without it."""
    language, role = visit.language, visit.asker.role
    named = await interviews.by_ids(connection, [InterviewId(value) for value in parsed.interviews])
    chips = []
    for name, value in asking.filters(parsed):
        label, lang = value, None
        if name == "lang":
            label = language.name_of(value)
        if name == "in":
            interview = named.get(InterviewId(value))
            if interview is not None and interviews.may_find(interview, role):
                title = in_language(interview.titles, language.code)
                label, lang = (title.text, title.lang) if title else (value, None)
        chips.append(Choice(label, asked.url(typed=asking.without_filter(parsed, name, value)), lang=lang))
    return chips


def _facet_groups(
    asked: Asked, parsed: Query, answer: answers.FacetsAnswer, language: Language
) -> list[tuple[str, list[Choice]]]:
    """The kinds of filters, each with its values; one that holds leads to the search without it."""
    _ = language.gettext
    held = {(name, value.casefold()) for name, value in asking.filters(parsed)}

    def choice(name: str, value: str, label: str, count: int, lang: str | None = None) -> Choice:
        current = (name, value.casefold()) in held
        change = asking.without_filter if current else asking.with_filter
        return Choice(label, asked.url(typed=change(parsed, name, value)), current, count, lang)

    events = []
    for event, count in answer.events:
        name = in_language(event.names, language.code)
        if name is not None:
            events.append(choice("event", name.text, name.text, count, name.lang))
    groups = [
        (_("Speaker"), [choice("speaker", name, name, count) for name, count in answer.speakers.items()]),
        (_("Language"), [choice("lang", code, language.name_of(code), n) for code, n in answer.langs.items()]),
        (_("Event"), events),
        (_("Year"), [choice("year", str(year), str(year), count) for year, count in answer.years.items()]),
    ]
    return [
        (label, values[:_FACET_VALUES])
        for label, values in groups
        if len(values) > 1 or any(value.current for value in values)
    ]


# --- the results --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Showing:
    """What results need to be shown, read at once for all of them."""

    code: str
    recordings: Mapping[RecordingId, Recording]
    files: Mapping[RecordingId, Mapping[AssetKind, Asset]]
    ages: Mapping[CueId, timedelta]
    """How long ago what is on air was said."""

    @classmethod
    async def of(
        cls, connection: AsyncConnection, found: Sequence[answers.Found | answers.FoundMoment], code: str
    ) -> list[Found]:
        """The results as the page shows them; in the view of moments each has one."""
        shown = [item.interview for item in found]
        ids = {interview.recording_id for interview in shown if interview.recording_id is not None}
        showing = cls(
            code,
            await recordings.by_ids(connection, list(ids)),
            await assets.of_recordings(connection, list(ids)),
            await _ages(connection, found),
        )
        return [showing.found(item) for item in found]

    def found(self, item: answers.Found | answers.FoundMoment) -> Found:
        interview, moments, total = item.interview, self._moments(item), 1
        if isinstance(item, answers.Found):
            total = item.total
        recording_id = interview.recording_id
        files = withheld.given(interview, self.files.get(recording_id, {})) if recording_id is not None else {}
        recording = self.recordings.get(recording_id) if recording_id is not None else None
        shown = card(interview, self.code, has_picture=has_picture(interview, recording, files))
        return Found(interview.id, shown, moments, total - len(moments))

    def _moments(self, item: answers.Found | answers.FoundMoment) -> tuple[Moment, ...]:
        address = item.interview.address
        return tuple(moment(hit, address, age=self.ages.get(hit.cue.id)) for hit in _hits(item))


def _hits(item: answers.Found | answers.FoundMoment) -> tuple[answers.Moment, ...]:
    return item.moments if isinstance(item, answers.Found) else (item.moment,)


async def _ages(
    connection: AsyncConnection, found: Sequence[answers.Found | answers.FoundMoment]
) -> dict[CueId, timedelta]:
    """How long ago the moments of interviews on air were."""
    moment_now, ages = await now(connection), {}
    for item in found:
        recording_id = item.interview.recording_id
        if item.interview.stage is not Stage.LIVE or recording_id is None:
            continue
        for hit in _hits(item):
            segment = await media_segments.at(connection, recording_id, hit.cue.end_ms)
            if segment is not None:
                ages[hit.cue.id] = said_ago(segment, hit.cue.end_ms, moment_now)
    return ages
