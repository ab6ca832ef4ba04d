"""Answering a search in its view, for the page and the API alike; and whether the index is up to date."""

from __future__ import annotations

import time

from streamarchive.models import Role
from streamarchive.protocols import Query, SearchIndex
from streamarchive.search import finding
from streamarchive.search.answers import Answer, MomentsAnswer
from streamarchive.services import Services

from .asking import MOMENTS, Asked

_LOOK_EVERY_SECONDS = 60.0


async def answer(
    services: Services, asked: Asked, parsed: Query, role: Role, *, limit: int, moments: int
) -> Answer | MomentsAnswer:
    """What is found. While the index is away every view has interviews: moments are not known then."""
    if asked.view == MOMENTS:
        found = await finding.find_moments(
            services.database,
            services.search,
            parsed,
            role=role,
            sort=asked.sort,
            cursor=asked.after,
            limit=limit,
        )
        if not found.index_away:
            return found
    return await finding.find(
        services.database,
        services.search,
        parsed,
        role=role,
        sort=asked.sort,
        cursor=asked.after,
        limit=limit,
        moments=moments,
    )


class IndexState:
    """Whether an index is of this version, looked at now and then: asking costs about what a search does."""

    def __init__(self, index: SearchIndex) -> None:
        self._index = index
        self._outdated = False
        self._look_at = 0.0

    async def outdated(self) -> bool:
        """Whether another version made it, so that it finds less than it should. One that is away is not that."""
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_EVERY_SECONDS
            health = await self._index.health()
            self._outdated = health.ok and not health.analyzer_current
        return self._outdated
