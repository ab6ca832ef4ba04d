"""What every page of the demo shows at its foot: what is on air, how late captions are, and the controls."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from streamarchive.catalogue.database import Database
from streamarchive.demo import director, recogniser
from streamarchive.demo.control import BroadcasterAwayError, BroadcasterClient, Figures
from streamarchive.demo.grammar import LANGUAGES, grammar
from streamarchive.models import Interview

from .languages import Language

_FRESH_SECONDS = 1.5

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Strip:
    """The values of the strip. `interview` is the one on air; None while there is none."""

    vocabulary: Mapping[str, int]
    """Words the recogniser was trained on, by language."""
    interview: Interview | None
    figures: Figures

    def measured(self, language: Language) -> str:
        """The figures in a sentence: medians."""
        _ = language.gettext
        if self.figures.searchable_s is None:
            return _("Measuring how late captions and search are …")
        sentence = _(
            "Measured over %(count)s sentences: caption %(caption)s s, searchable %(searchable)s s"
            " after the last sample."
        )
        return sentence % {
            "count": self.figures.sentences,
            "caption": self.figures.caption_s,
            "searchable": self.figures.searchable_s,
        }


class Desk:
    """The demo's side of the site: asks the broadcaster, no more often than needed."""

    def __init__(self, control: str, database: Database) -> None:
        """`control` is the address of the broadcaster's control interface."""
        self.broadcaster = BroadcasterClient(control)
        for code in LANGUAGES:
            grammar(code)  # pages need it; read from the disk here, not on the event loop
        self.strip = Strip(recogniser.words(), None, Figures())
        self._database = database
        self._read_at = 0.0

    async def look(self) -> Strip:
        """The strip as it is now; what was known last while the broadcaster is away."""
        if time.monotonic() - self._read_at >= _FRESH_SECONDS:
            self._read_at = time.monotonic()
            try:
                status = await self.broadcaster.status()
            except BroadcasterAwayError:
                return self.strip
            async with self._database.read() as connection:
                interview = await director.interview_on_air(connection, status.on_air)
            self.strip = Strip(self.strip.vocabulary, interview, status.figures)
        return self.strip


DESK = web.AppKey("desk", Desk)


@web.middleware
async def keep_strip_fresh(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Pages are rendered in one go, so what the strip shows is read before."""
    await request.app[DESK].look()
    return await handler(request)


def add_desk(app: web.Application, control: str, database: Database) -> None:
    """Make this site the demo's."""
    app[DESK] = Desk(control, database)
    app.middlewares.append(keep_strip_fresh)
    app.on_cleanup.append(_close)


async def _close(app: web.Application) -> None:
    await app[DESK].broadcaster.close()
