"""What the search box can suggest, kept at hand: read again when the catalogue has changed.

Titles, guests and terms are compared with the catalogue on every request, so a rename counts at once; what is
often said is counted aside, from the lines made last, at most every few minutes: what has been cut or corrected
away goes then. Who may find what is asked for every answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import changes, glossary, interviews, transcripts, withheld
from streamarchive.catalogue.database import Database
from streamarchive.models import Interview, Role
from streamarchive.search.suggesting import Kind, Suggestion, Suggestions, phrases

_COUNT_EVERY_SECONDS = 300.0
_LINES_COUNTED = 5_000
_INTERVIEWS = 20_000


class Suggester:
    """One for the application."""

    def __init__(self, database: Database, count_every: float = _COUNT_EVERY_SECONDS) -> None:
        self._database = database
        self._count_every = count_every
        self._state: object = None
        self._offered = Suggestions(())
        self._phrases: list[Suggestion] = []
        self._counted_change = -1
        self._withheld = (0, 0)
        self._count_at = 0.0
        self._counting: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def matching(self, typed: str, role: Role) -> list[Suggestion]:
        """What to suggest to somebody of this role who has typed this."""
        async with self._database.read() as connection:
            async with self._lock:
                await self._refresh(connection)
                offered = self._offered  # as this connection sees the catalogue: others may know more to hide
            hidden = await interviews.hidden_from(connection, role)
        return offered.matching(typed, hidden)

    async def _refresh(self, connection: AsyncConnection) -> None:
        terms = await glossary.terms(connection)
        if (held := await withheld.state(connection)) != self._withheld:
            # What is withheld is not suggested from now on, however often it was said.
            self._withheld, self._phrases, self._counted_change, self._count_at = held, [], -1, 0.0
        state = (await interviews.state(connection), tuple(terms), self._counted_change)
        if state != self._state:
            known = await interviews.latest(connection, Role.ADMIN, limit=_INTERVIEWS)
            offered = [*_named(known), *(Suggestion(Kind.TERM, term, lang, None) for lang, term in terms)]
            self._offered = await asyncio.to_thread(Suggestions, [*offered, *self._phrases])
            self._state = state
        if self._counting is None and time.monotonic() >= self._count_at:
            self._counting = asyncio.create_task(self._count())

    async def _count(self) -> None:
        try:
            async with self._database.read() as connection:
                newest = await changes.newest_id(connection)
                if newest == self._counted_change:
                    return
                said = await transcripts.shown_lately(connection, _LINES_COUNTED)
                held = await withheld.state(connection)
            found = await asyncio.to_thread(phrases, said)
            if held == self._withheld:
                self._phrases, self._counted_change = found, newest
        finally:
            self._count_at, self._counting = time.monotonic() + self._count_every, None

    async def settled(self) -> None:
        """Wait until what is often said has been counted, if that is under way."""
        if self._counting is not None:
            await self._counting

    async def close(self) -> None:
        """Stop counting."""
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.wait({self._counting})


def _named(known: list[Interview]) -> Iterator[Suggestion]:
    for interview in known:
        only = frozenset({interview.id})
        for lang, title in interview.titles.items():
            if title:
                yield Suggestion(Kind.TITLE, title, lang, only)
        for guest in interview.guests:
            for lang, name in guest.names.items():
                if name:
                    yield Suggestion(Kind.GUEST, name, lang, only)
