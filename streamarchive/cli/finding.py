"""`search` and `reindex`."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

from streamarchive.catalogue import transcripts
from streamarchive.catalogue.database import Database
from streamarchive.cli import console
from streamarchive.errors import SearchError, UsageError
from streamarchive.models import Role
from streamarchive.protocols import Portion, Sort, Source
from streamarchive.search import feed, finding, query
from streamarchive.search.answers import Answer, FallbackKind, as_json
from streamarchive.services import Services, open_services
from streamarchive.settings import Settings


async def search(settings: Settings, options: argparse.Namespace) -> None:
    """Print the moments at which all of it was said; drafts included, trashed ones not."""
    parsed = query.parse(" ".join(options.query))
    if all(clause.negated for clause in parsed.clauses):
        raise UsageError("say a word to look for: filters and exclusions only narrow what words find")
    async with open_services(settings) as services:
        await _prepare(services)
        answer = await finding.find(
            services.database,
            services.search,
            parsed,
            role=Role.ADMIN,
            sort=Sort(options.sort),
            limit=options.limit,
            moments=10,
        )
    if options.json:
        console.out_json(as_json(answer, settings.site))
        return
    for sentence in _remarks(answer):
        console.note(sentence)
    for found in answer.found:
        console.out(f"{found.interview.title()}  {settings.site}{found.interview.address}")
        for moment in found.moments:
            seconds = moment.cue.start_ms // 1000
            said = f"{moment.cue.text} {moment.continued}".rstrip()
            console.out(f"  {seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}  {said}")
    if not answer.found:
        console.note("Nothing was found.")


async def _prepare(services: Services) -> None:
    """An index that is away is told with the answer."""
    with suppress(SearchError):
        await services.search.prepare()


def _remarks(answer: Answer) -> Iterator[str]:
    """What to know of an answer that is not quite what was asked for."""
    if answer.query.ignored:
        yield f"Not understood, so left out: {' '.join(answer.query.ignored)}"
    if answer.index_away:
        yield "The search index cannot be used: only titles, guests and events were looked at."
    if answer.timed_out:
        yield "Searching took too long: this is what was found in time, and there may be more."
    if answer.fallback is not None and answer.found:
        kind = "These sound like it" if answer.fallback.kind is FallbackKind.PINYIN else "Did you mean this"
        yield f"Nothing was found for {answer.query.text!r}. {kind}: {answer.fallback.query.text}"


async def reindex(settings: Settings, options: argparse.Namespace) -> None:
    """Build the index anew beside the old one, or go on with that; searches go on meanwhile."""
    async with open_services(settings) as services:
        with console.progress("Indexing") as progress:
            count = await services.search.rebuild(_shown(services.database, progress), afresh=options.afresh)
            progress(1.0)
        health = await services.search.health()
    if options.json:
        console.out_json({"written": count, "documents": health.documents})
    else:
        console.out(
            f"The search index has been replaced; {count} documents were written. It is {health.sentence}."
        )


def _shown(database: Database, progress: console.Progress) -> Source:
    """Everything there is, telling how much of it has been taken."""

    async def source(after: int) -> AsyncIterator[Portion]:
        if after:
            console.note("Going on where an earlier reindex stopped (--afresh begins anew).")
        async with database.read() as connection:
            last = await transcripts.newest_id(connection)
        async for portion in feed.everything(database, after):
            yield portion
            progress(min(portion.checkpoint / last, 1.0) if last else 1.0)

    return source
