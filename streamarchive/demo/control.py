"""Talking to the broadcaster: what is on air, and the wishes of people at the demo's pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any

import aiohttp

from streamarchive.errors import StreamArchiveError, UsageError

_TIMEOUT = aiohttp.ClientTimeout(total=3)
_WISH_TIMEOUT = aiohttp.ClientTimeout(total=30)
"""What is to be said is synthesised first."""


class BroadcasterAwayError(StreamArchiveError):
    """The broadcaster does not answer (it may be starting)."""

    retryable = True


@dataclass(frozen=True, slots=True)
class OnAir:
    """The current broadcast."""

    id: str
    url: str
    titles: Mapping[str, str]
    descriptions: Mapping[str, str]
    guest_names: Mapping[str, str]
    guest_affiliations: Mapping[str, str]
    languages: tuple[str, ...]
    started_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Spoken:
    """A sentence that has been on air; `ended_at` is when its last sample was."""

    number: int
    text: str
    lang: str
    speaker: str
    requested: bool
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True)
class Figures:
    """How late captions and search are, in seconds after the last sample of a sentence: medians, measured."""

    caption_s: float | None = None
    searchable_s: float | None = None
    sentences: int = 0
    """Sentences measured."""


@dataclass(frozen=True, slots=True)
class Status:
    """What the broadcaster answers."""

    on_air: OnAir
    waiting: int
    spoken: tuple[Spoken, ...]
    figures: Figures


class BroadcasterClient:
    """The control interface at `address`, e.g. ``http://127.0.0.1:8090``; an async context manager.

    Every method raises `BroadcasterAwayError` while it does not answer.
    """

    def __init__(self, address: str) -> None:
        """Connects with the first call."""
        self._address = address.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def status(self) -> Status:
        """What is on air and what was said last."""
        return _status(await self._call("GET", "/status"))

    async def say(self, lang: str, template: str, choices: Sequence[str]) -> str:
        """Have the guest say a sentence next; its text. Raises `UsageError` where it cannot be said."""
        wish = {"lang": lang, "template": template, "choices": list(choices)}
        return str((await self._call("POST", "/say", wish))["text"])

    async def end(self) -> None:
        """End the current broadcast; the next begins at once."""
        await self._call("POST", "/end", {})

    async def publish(self, figures: Figures) -> None:
        """Keep the figures, for `status`."""
        values = {
            "caption_s": figures.caption_s,
            "searchable_s": figures.searchable_s,
            "sentences": figures.sentences,
        }
        await self._call("POST", "/figures", values)

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        timeout = _TIMEOUT if method == "GET" else _WISH_TIMEOUT
        try:
            async with self._session.request(
                method, self._address + path, json=body, timeout=timeout
            ) as response:
                answer: dict[str, Any] = await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise BroadcasterAwayError("the demo's broadcaster does not answer; it may be starting") from error
        if response.status >= 400:
            raise UsageError(str(answer.get("error", "the broadcaster refused")))
        return answer

    async def __aenter__(self) -> BroadcasterClient:
        """Nothing is opened before it is used."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of connections."""
        await self.close()

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _status(answer: Mapping[str, Any]) -> Status:
    broadcast = answer["broadcast"]
    on_air = OnAir(
        id=broadcast["id"],
        url=broadcast["url"],
        titles=broadcast["titles"],
        descriptions=broadcast["descriptions"],
        guest_names=broadcast["guest"]["names"],
        guest_affiliations=broadcast["guest"]["affiliations"],
        languages=tuple(broadcast["languages"]),
        started_at=datetime.fromisoformat(broadcast["started_at"]),
        ends_at=datetime.fromisoformat(broadcast["ends_at"]),
    )
    spoken = tuple(
        Spoken(
            number=line["number"],
            text=line["text"],
            lang=line["lang"],
            speaker=line["speaker"],
            requested=line["requested"],
            started_at=datetime.fromisoformat(line["started_at"]),
            ended_at=datetime.fromisoformat(line["ended_at"]),
        )
        for line in answer["sentences"]
    )
    return Status(on_air, answer["waiting"], spoken, Figures(**answer["figures"]))
