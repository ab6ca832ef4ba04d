"""How late captions and search really are: measured from outside, through the site's public addresses.

A sentence counts as captioned when the event stream of its interview has brought the words of its end, and as
searchable when the JSON search finds the end of that caption in the interview. Both are counted from the last
sample of the sentence, by the clock of this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import statistics
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp

from streamarchive.demo.control import BroadcasterAwayError, BroadcasterClient, Figures, OnAir, Spoken

LAST = 20
"""Sentences the medians are taken over."""
_LONGEST_WAIT_S = 30.0
_SEARCH_EVERY_S = 0.25
_RETRY_S = 2.0
_QUERY_UNITS = 6
_ENOUGH = 0.6
"""Share of the words of a sentence's end that a caption has to have: recognisers make mistakes."""
_UNIT = re.compile(r"[\u4e00-\u9fff]|[a-z']+")


async def measure(site: str, broadcaster: BroadcasterClient) -> None:
    """Measure each broadcast as it is on air, until cancelled. `site` has no trailing slash."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        await Meter(site, broadcaster, session).run()


async def _listed(site: str, session: aiohttp.ClientSession, on_air: OnAir) -> str | None:
    """The interview of this broadcast among the newest ones of the site."""
    async with session.get(f"{site}/api/interviews", params={"limit": "10"}) as response:
        response.raise_for_status()
        found = (await response.json())["interviews"]
    begun = [one["id"] for one in found if datetime.fromisoformat(one["held_at"]) == on_air.started_at]
    return str(begun[0]) if begun else None


async def _while_on_air(broadcaster: BroadcasterClient, on_air: OnAir, work: Coroutine[Any, Any, None]) -> None:
    """Do the work until it ends or another broadcast is on air."""
    task = asyncio.create_task(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_RETRY_S)
            if (await broadcaster.status()).on_air.id != on_air.id:
                return
        await task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, aiohttp.ClientError):
            await task


@dataclass(frozen=True, slots=True)
class _Caption:
    text: str
    start_ms: int
    end_ms: int
    seen_at: datetime


class Meter:
    """Measures while `run` runs, and publishes the medians at the broadcaster."""

    def __init__(
        self,
        site: str,
        broadcaster: BroadcasterClient,
        session: aiohttp.ClientSession,
        last: int | None = LAST,
    ) -> None:
        """`site` is the address of the site, without a trailing slash; medians are over the `last` values."""
        self._site = site
        self._broadcaster = broadcaster
        self._session = session
        self.captioned: deque[float] = deque(maxlen=last)
        self.searchable: deque[float] = deque(maxlen=last)
        self._measured: set[tuple[str, int]] = set()
        self._searches: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Measure each broadcast as it is on air, until cancelled."""
        try:
            while True:
                with contextlib.suppress(BroadcasterAwayError, aiohttp.ClientError, TimeoutError):
                    on_air = (await self._broadcaster.status()).on_air
                    interview_id = await _listed(self._site, self._session, on_air)
                    if interview_id:
                        await _while_on_air(self._broadcaster, on_air, self.follow(interview_id))
                await asyncio.sleep(_RETRY_S)
        finally:
            # They ask through a session that is closed behind us.
            searches = list(self._searches)
            for search in searches:
                search.cancel()
            await asyncio.gather(*searches, return_exceptions=True)

    async def follow(self, interview_id: str) -> None:
        """Measure this interview until its event stream ends."""
        address = f"{self._site}/interviews/{interview_id}/events"
        async for event, data in self._events(address):
            if event != "lines":
                continue
            seen_at = datetime.now(UTC)
            for cue in data["added"]:
                await self._meet(interview_id, _Caption(cue["text"], cue["start_ms"], cue["end_ms"], seen_at))

    def figures(self) -> Figures:
        """The medians so far."""
        return Figures(
            caption_s=_median(self.captioned),
            searchable_s=_median(self.searchable),
            sentences=len(self.captioned),
        )

    async def _meet(self, interview_id: str, caption: _Caption) -> None:
        """Find the sentences whose end this caption brings."""
        status = await self._broadcaster.status()
        for spoken in status.spoken:
            key = (status.on_air.id, spoken.number)
            late_s = (caption.seen_at - spoken.ended_at).total_seconds()
            if key in self._measured or not 0 <= late_s < _LONGEST_WAIT_S or not _ends_with(caption, spoken):
                continue
            self._measured.add(key)
            self.captioned.append(late_s)
            search = asyncio.create_task(self._search(interview_id, caption, spoken))
            self._searches.add(search)
            search.add_done_callback(self._searches.discard)
        await self._broadcaster.publish(self.figures())

    async def _search(self, interview_id: str, caption: _Caption, spoken: Spoken) -> None:
        """Ask until the end of the caption is found."""
        words = _units(caption.text)[-_QUERY_UNITS:]
        query = {"q": '"' + ("" if spoken.lang == "zh" else " ").join(words) + '"'}
        while (late_s := (datetime.now(UTC) - spoken.ended_at).total_seconds()) < _LONGEST_WAIT_S:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with self._session.get(f"{self._site}/api/search", params=query) as response:
                    hits = (await response.json())["hits"] if response.ok else []
                if any(_is_hit(hit, interview_id, caption) for hit in hits):
                    self.searchable.append(late_s)
                    with contextlib.suppress(BroadcasterAwayError):  # the next figures hold these, too
                        await self._broadcaster.publish(self.figures())
                    return
            await asyncio.sleep(_SEARCH_EVERY_S)

    async def _events(self, address: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
        async with self._session.get(address, timeout=timeout) as response:
            response.raise_for_status()
            event = ""
            async for raw in response.content:
                line = raw.decode().rstrip("\r\n")
                if line.startswith("event:"):
                    event = line.removeprefix("event:").strip()
                elif line.startswith("data:"):
                    yield event, json.loads(line.removeprefix("data:"))


def _units(text: str) -> list[str]:
    """English words, Mandarin characters."""
    return _UNIT.findall(text.lower())


def _ends_with(caption: _Caption, spoken: Spoken) -> bool:
    """Whether the caption has the second half of the sentence, but for mistakes."""
    said, shown = _units(spoken.text), set(_units(caption.text))
    end = said[len(said) // 2 :]
    return sum(unit in shown for unit in end) >= _ENOUGH * len(end)


def _is_hit(hit: dict[str, Any], interview_id: str, caption: _Caption) -> bool:
    return bool(
        hit["interview"].split("-")[0] == interview_id
        and hit["start_ms"] < caption.end_ms
        and hit["end_ms"] > caption.start_ms
    )


def _median(values: deque[float]) -> float | None:
    return round(statistics.median(values), 1) if values else None
