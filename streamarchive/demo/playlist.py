"""The HLS playlist of a broadcast: a sliding window over what the encoder has finished."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass

from streamarchive.demo.encoder import SEGMENT_SECONDS, EncodedSegment

WINDOW = 30
"""Segments listed."""
KEPT = 60
"""Segments kept on disk: those listed, and those that a slow client may still be fetching."""

_FIRST_SECONDS = 5


@dataclass(frozen=True, slots=True)
class _Entry:
    number: int
    segment: EncodedSegment
    discontinuity: bool


class LivePlaylist:
    """Grows by `add`; `text` is what a client gets."""

    def __init__(self, first_number: int) -> None:
        """Begin at a media sequence number: after a restart of the broadcaster it goes on counting."""
        self._next = first_number
        self._entries: deque[_Entry] = deque()
        self._discontinuities_gone = 0
        self._break = first_number > 0
        self._ended = False
        self._last_at = -math.inf
        self._news = asyncio.Condition()

    async def add(self, segment: EncodedSegment) -> str | None:
        """List one more. Returns the name of a file that is no longer wanted."""
        self._entries.append(_Entry(self._next, segment, self._break))
        self._next += 1
        self._break = False
        self._last_at = asyncio.get_running_loop().time()
        async with self._news:
            self._news.notify_all()
        if len(self._entries) <= KEPT:
            return None
        oldest = self._entries.popleft()
        self._discontinuities_gone += oldest.discontinuity
        return oldest.segment.name

    def interrupt(self) -> None:
        """What comes next does not continue what came last."""
        self._break = True

    async def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        async with self._news:
            self._news.notify_all()

    async def wait_if_due(self) -> None:
        """Wait for the next segment where it is about to be ready, and for the first one in any case.

        A client that asks shortly before a segment is finished would otherwise come back for it half a
        segment later.
        """
        age = asyncio.get_running_loop().time() - self._last_at
        due = not self._entries or 0.4 * SEGMENT_SECONDS < age < 2 * SEGMENT_SECONDS
        if self._ended or not due:
            return
        seen = self._next
        try:
            async with asyncio.timeout(SEGMENT_SECONDS if self._entries else _FIRST_SECONDS), self._news:
                await self._news.wait_for(lambda: self._next > seen or self._ended)
        except TimeoutError:
            return

    def text(self) -> str:
        """The playlist as it stands."""
        behind, window = list(self._entries)[:-WINDOW], list(self._entries)[-WINDOW:]
        passed = self._discontinuities_gone + sum(entry.discontinuity for entry in behind)
        longest = max((round(entry.segment.seconds) for entry in window), default=0)
        lines = [
            "#EXTM3U",
            "#EXT-X-VERSION:3",
            f"#EXT-X-TARGETDURATION:{max(SEGMENT_SECONDS, longest)}",
            f"#EXT-X-MEDIA-SEQUENCE:{window[0].number if window else self._next}",
            f"#EXT-X-DISCONTINUITY-SEQUENCE:{passed}",
        ]
        for entry in window:
            if entry.discontinuity:
                lines.append("#EXT-X-DISCONTINUITY")
            lines += [f"#EXTINF:{entry.segment.seconds:.3f},", entry.segment.name]
        if self._ended:
            lines.append("#EXT-X-ENDLIST")
        return "\n".join(lines) + "\n"
