"""What an interview on air looks like just now: a key frame of its newest segment, made when somebody asks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from streamarchive.errors import StreamArchiveError
from streamarchive.media.pictures import first_picture
from streamarchive.models import Interview, InterviewId, MediaSegment
from streamarchive.protocols import MediaStore

from .playlists import Recorded

log = logging.getLogger(__name__)

FRESH_SECONDS = 10.0
"""A picture is shown for so long before a newer one is made."""
_AT_ONCE = 2
"""So many are made at the same time: whoever asks for more waits."""
_MOST = 200


@dataclass(slots=True)
class _Picture:
    jpeg: bytes | None = None
    segment: MediaSegment | None = None
    """That it was taken from."""
    looked_at: float = float("-inf")
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


class LivePictures:
    """The newest picture of each interview that somebody has lately asked for."""

    def __init__(self, store: MediaStore) -> None:
        """Pictures of what is kept in this store."""
        self._store = store
        self._pictures: OrderedDict[InterviewId, _Picture] = OrderedDict()
        self._making = asyncio.Semaphore(_AT_ONCE)

    async def of(self, interview: Interview, recorded: Recorded) -> tuple[str, bytes] | None:
        """A key that changes with the picture, and the JPEG, of the newest segment shown; None without one.

        A picture of a segment that is not shown any more is forgotten.
        """
        known = self._pictures.setdefault(interview.id, _Picture())
        self._pictures.move_to_end(interview.id)
        while len(self._pictures) > _MOST:
            self._pictures.popitem(last=False)
        async with known.busy:  # whoever has just made one may not have known yet what is not shown any more
            if known.segment is not None and not recorded.still_shows(interview, known.segment):
                known.jpeg, known.segment, known.looked_at = None, None, float("-inf")
            newest = recorded.newest_shown(interview)
            if newest and time.monotonic() - known.looked_at >= FRESH_SECONDS and newest != known.segment:
                await self._make(known, newest)
            return (known.segment.key, known.jpeg) if known.segment and known.jpeg else None

    async def _make(self, known: _Picture, segment: MediaSegment) -> None:
        """Without a new picture the old one goes on being shown."""
        known.looked_at = time.monotonic()
        try:
            async with self._making, self._store.local(segment.key) as file:
                known.jpeg, known.segment = await first_picture(file), segment
        except StreamArchiveError as error:
            log.info("no picture of %s: %s", segment.key, error)
