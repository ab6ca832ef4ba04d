"""What an interview on air looks like just now: a key frame of its newest segment, made when somebody asks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from streamarchive.errors import StreamArchiveError
from streamarchive.media.pictures import first_picture
from streamarchive.models import InterviewId, MediaSegment
from streamarchive.protocols import MediaStore

log = logging.getLogger(__name__)

FRESH_SECONDS = 10.0
"""A picture is shown for so long before a newer one is made."""
_AT_ONCE = 2
"""So many are made at the same time: whoever asks for more waits."""
_MOST = 200


@dataclass(slots=True)
class _Picture:
    jpeg: bytes | None = None
    key: str = ""
    """Of the segment that it was taken from."""
    looked_at: float = float("-inf")
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


class LivePictures:
    """The newest picture of each interview that somebody has lately asked for."""

    def __init__(self, store: MediaStore) -> None:
        """Pictures of what is kept in this store."""
        self._store = store
        self._pictures: OrderedDict[InterviewId, _Picture] = OrderedDict()
        self._making = asyncio.Semaphore(_AT_ONCE)

    async def of(self, interview_id: InterviewId, shown: list[MediaSegment]) -> tuple[str, bytes] | None:
        """A key that changes with the picture, and the JPEG, of the newest of these segments; None without one.

        A picture of a segment that is not shown any more is forgotten.
        """
        known = self._pictures.setdefault(interview_id, _Picture())
        self._pictures.move_to_end(interview_id)
        while len(self._pictures) > _MOST:
            self._pictures.popitem(last=False)
        async with known.busy:  # whoever has just made one may not have known yet what is not shown any more
            if known.key not in {segment.key for segment in shown}:
                known.jpeg, known.key, known.looked_at = None, "", float("-inf")
            if shown and time.monotonic() - known.looked_at >= FRESH_SECONDS and shown[-1].key != known.key:
                await self._make(known, shown[-1].key)
            return (known.key, known.jpeg) if known.jpeg else None

    async def _make(self, known: _Picture, key: str) -> None:
        """Without a new picture the old one goes on being shown."""
        known.looked_at = time.monotonic()
        try:
            async with self._making, self._store.local(key) as segment:
                known.jpeg, known.key = await first_picture(segment), key
        except StreamArchiveError as error:
            log.info("no picture of %s: %s", key, error)
