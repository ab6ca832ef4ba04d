"""One broadcast of the demo: ten minutes of dialogue, paced by the clock, as local HLS in a folder of its own.

What has to survive a crash is on disk: `broadcast.json` (who, when, until when) before the first frame, and a
line of `sentences.jsonl` for each sentence as its last sample goes on air. A broadcaster that is started again
continues a broadcast whose time is not over: later time stamps, higher segment numbers, the same address.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from streamarchive.demo.dialogue import Programme, dialogue
from streamarchive.demo.encoder import Encoder, encoding
from streamarchive.demo.picture import FRAMES_A_SECOND, Picture
from streamarchive.demo.playlist import LivePlaylist
from streamarchive.demo.studio import Block, Studio, Voiced
from streamarchive.demo.voices import Synthesiser, pcm

_logger = logging.getLogger(__name__)

_FRAME = timedelta(seconds=1 / FRAMES_A_SECOND)
_REMEMBERED = 100
"""Sentences kept in memory for `recent`."""
_WORTH_CONTINUING = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Schedule:
    """What `broadcast.json` holds. `id` names the folder and the address."""

    id: str
    seed: int
    started_at: datetime
    ends_at: datetime

    @classmethod
    def draw(cls, seed: int, length: timedelta) -> Schedule:
        """A broadcast that begins now."""
        now = datetime.now(UTC)
        return cls(f"{now:%Y%m%d-%H%M%S}-{seed % 10_000:04d}", seed, now, now + length)

    @classmethod
    def load(cls, folder: Path) -> Schedule | None:
        """The one in this folder; None where none has been written."""
        try:
            data = json.loads((folder / "broadcast.json").read_text("utf-8"))
        except (OSError, ValueError):
            return None
        times = {name: datetime.fromisoformat(data[name]) for name in ("started_at", "ends_at")}
        return cls(data["id"], data["seed"], **times)

    def save(self, folder: Path) -> None:
        """Durable once this returns."""
        data = asdict(self) | {
            "started_at": self.started_at.isoformat(),
            "ends_at": self.ends_at.isoformat(),
        }
        draft = folder / "broadcast.json.new"
        with draft.open("w", encoding="utf-8") as file:
            json.dump(data, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / "broadcast.json")

    @property
    def is_worth_continuing(self) -> bool:
        """Whether enough of its time is left."""
        return datetime.now(UTC) + _WORTH_CONTINUING < self.ends_at


@dataclass(frozen=True, slots=True)
class SpokenSentence:
    """A line of the log: what went on air and when, by the wall clock and by the stream's own time."""

    number: int
    text: str
    lang: str
    speaker: str
    requested: bool
    started_at: datetime
    ended_at: datetime
    start_ms: int
    end_ms: int

    def to_json(self) -> dict[str, Any]:
        """For the log and the control interface."""
        return asdict(self) | {
            "started_at": self.started_at.isoformat(timespec="milliseconds"),
            "ended_at": self.ended_at.isoformat(timespec="milliseconds"),
        }


class Broadcast:
    """A broadcast on air; `run` returns when its time is over or `end` was called."""

    def __init__(self, folder: Path, schedule: Schedule, synthesiser: Synthesiser) -> None:
        """Take up where the folder's files end."""
        self.folder = folder
        self.schedule = schedule
        self.programme = Programme.draw(schedule.seed)
        self.playlist = LivePlaylist(_next_segment(folder))
        self.recent: list[SpokenSentence] = []
        self._spoken = _count_lines(folder / "sentences.jsonl")
        talk = dialogue(schedule.seed + self._spoken, self.programme)
        self.studio = Studio(synthesiser, talk, schedule.seed)
        self._picture = Picture()
        self._began_at = schedule.started_at
        self._over = asyncio.Event()

    @classmethod
    def begin(cls, folder: Path, schedule: Schedule, synthesiser: Synthesiser) -> Broadcast:
        """Begin a new one in a new folder below `folder`."""
        own = folder / schedule.id
        own.mkdir(parents=True)
        schedule.save(own)
        return cls(own, schedule, synthesiser)

    def end(self) -> None:
        """Go off the air within a second."""
        self._over.set()

    async def run(self) -> None:
        """Be on air. An encoder that dies is replaced; its time stamps leave a gap."""
        try:
            while not self._finished:
                try:
                    await self._encode()
                except ConnectionError:
                    _logger.warning("the broadcast's encoder died; starting another")
                    self.playlist.interrupt()
        finally:
            self.studio.close()
        await self.playlist.end()
        self.schedule = replace(self.schedule, ends_at=min(self.schedule.ends_at, _now()))
        self.schedule.save(self.folder)

    @property
    def _finished(self) -> bool:
        return self._over.is_set() or _now() >= self.schedule.ends_at

    async def _encode(self) -> None:
        offset = (_now() - self.schedule.started_at).total_seconds()
        async with encoding(self.folder, _next_segment(self.folder), offset) as encoder:
            listing = asyncio.create_task(self._list(encoder))
            try:
                await self._play(encoder)
                await encoder.close()
                await listing
            finally:
                listing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await listing

    async def _list(self, encoder: Encoder) -> None:
        async for segment in encoder.segments():
            stale = await self.playlist.add(segment)
            if stale:
                (self.folder / stale).unlink(missing_ok=True)

    async def _play(self, encoder: Encoder) -> None:
        """Write each tenth of a second when it is over, as a live encoder would."""
        loop = asyncio.get_running_loop()
        began, count, began_at = loop.time(), 0, _now()
        while not self._finished:
            at = began_at + count * _FRAME
            block = await self.studio.block()
            levels = {block.speaker: block.level} if block.speaker else {}
            frame = self._picture.frame(at, levels)
            count += 1
            await asyncio.sleep(began + count / FRAMES_A_SECOND - loop.time())
            await encoder.write(frame, pcm(block.samples))
            self._note(block, at)

    def _note(self, block: Block, at: datetime) -> None:
        if block.begins:
            self._began_at = at
        if block.ends:
            self._log(block.ends, self._began_at)

    def _log(self, voiced: Voiced, started_at: datetime) -> None:
        start_ms = round((started_at - self.schedule.started_at).total_seconds() * 1000)
        duration_ms = voiced.speech.duration_ms
        spoken = SpokenSentence(
            number=self._spoken,
            text=voiced.utterance.sentence.text,
            lang=voiced.utterance.sentence.lang,
            speaker=voiced.utterance.speaker,
            requested=voiced.requested,
            started_at=started_at,
            ended_at=started_at + timedelta(milliseconds=duration_ms),
            start_ms=start_ms,
            end_ms=start_ms + duration_ms,
        )
        self._spoken += 1
        self.recent = [*self.recent[-_REMEMBERED + 1 :], spoken]
        with (self.folder / "sentences.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(spoken.to_json(), ensure_ascii=False) + "\n")

    def describe(self) -> Mapping[str, Any]:
        """For the control interface."""
        return {
            "id": self.schedule.id,
            "titles": self.programme.titles,
            "descriptions": self.programme.descriptions,
            "guest": {"names": self.programme.guest, "affiliations": self.programme.affiliation},
            "languages": ["en", "zh"],
            "started_at": self.schedule.started_at.isoformat(),
            "ends_at": self.schedule.ends_at.isoformat(),
        }


def unfinished(folder: Path) -> Schedule | None:
    """The newest broadcast below `folder` whose time is not over."""
    found = [schedule for own in folder.iterdir() if (schedule := Schedule.load(own))]
    waiting = [schedule for schedule in found if schedule.is_worth_continuing]
    return max(waiting, key=lambda schedule: schedule.started_at, default=None)


def _now() -> datetime:
    return datetime.now(UTC)


def _next_segment(folder: Path) -> int:
    numbers = [int(file.stem.rpartition("-")[2]) for file in folder.glob("segment-*.ts")]
    return max(numbers, default=-1) + 1


def _count_lines(file: Path) -> int:
    return len(file.read_bytes().splitlines()) if file.exists() else 0
