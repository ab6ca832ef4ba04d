"""What is on air at each tenth of a second: sentences, the pauses between them, and who speaks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import numpy as np

from streamarchive.demo.dialogue import Utterance
from streamarchive.demo.picture import FRAMES_A_SECOND
from streamarchive.demo.voices import CAST, LOUDNESS, SAMPLE_RATE, Samples, Speech, Synthesiser

BLOCK = SAMPLE_RATE // FRAMES_A_SECOND
"""Samples that go with one frame."""
_ROOM_TONE = LOUDNESS * 10 ** (-36 / 20)
"""A studio is never digitally silent; this is 36 dB below speech."""
_PAUSE_SECONDS = {"guest": (0.6, 0.9), "host": (1.0, 1.4)}
"""Before somebody speaks; a new question comes after a longer one."""
_LEAD_IN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Voiced:
    """A sentence ready to go on air. `requested`: somebody asked for it."""

    utterance: Utterance
    speech: Speech
    requested: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """A tenth of a second. `begins` and `ends` name a sentence whose first or last sample lies in it."""

    samples: Samples
    speaker: str | None
    level: float
    begins: Voiced | None = None
    ends: Voiced | None = None


class Studio:
    """Plays the dialogue, and before it whatever somebody has asked for."""

    def __init__(self, synthesiser: Synthesiser, dialogue: Iterator[Utterance], seed: int) -> None:
        """Begin with a moment of quiet."""
        self._synthesiser = synthesiser
        self._dialogue = dialogue
        self._random = Random(seed)
        noise = np.random.default_rng(seed).standard_normal((10 * FRAMES_A_SECOND, BLOCK))
        self._room = (noise * _ROOM_TONE).astype(np.float32)
        self._requests: deque[Voiced] = deque()
        self._next: asyncio.Task[Voiced] | None = None
        self._current: Voiced | None = None
        self._position = 0
        self._pause = round(_LEAD_IN_SECONDS * FRAMES_A_SECOND)
        self._count = 0

    async def request(self, utterance: Utterance) -> Voiced:
        """Put a sentence on air as soon as the current one is over. Raises `TranscriptionError`."""
        voiced = await self._voice(utterance, requested=True)
        self._requests.append(voiced)
        return voiced

    @property
    def waiting(self) -> int:
        """How many requested sentences have not begun."""
        return len(self._requests)

    async def block(self) -> Block:
        """The next tenth of a second."""
        self._count += 1
        room = self._room[self._count % len(self._room)]
        if self._current is None and self._pause > 0:
            self._pause -= 1
            return Block(room, None, 0.0)
        begins = None
        if self._current is None:
            begins = self._current = await self._take()
            self._position = 0
        return self._speak(self._current, room, begins)

    def close(self) -> None:
        """Nothing more is wanted."""
        if self._next:
            self._next.cancel()

    def _speak(self, voiced: Voiced, room: Samples, begins: Voiced | None) -> Block:
        piece = voiced.speech.samples[self._position : self._position + BLOCK]
        self._position += BLOCK
        samples = room.copy()
        samples[: len(piece)] += piece
        level = min(1.0, float(np.sqrt(np.mean(piece**2))) / (2.5 * LOUDNESS))
        over = self._position >= len(voiced.speech.samples)
        if over:
            self._current = None
            self._pause = self._draw_pause()
        return Block(samples, voiced.utterance.speaker, level, begins, voiced if over else None)

    def _draw_pause(self) -> int:
        upcoming = self._next.result() if self._next and self._next.done() else None
        speaker = "guest" if self._requests or upcoming is None else upcoming.utterance.speaker
        return round(self._random.uniform(*_PAUSE_SECONDS[speaker]) * FRAMES_A_SECOND)

    async def _take(self) -> Voiced:
        self._next = self._next or self._prepare()
        if self._requests:
            return self._requests.popleft()
        voiced = await self._next
        self._next = self._prepare()
        return voiced

    def _prepare(self) -> asyncio.Task[Voiced]:
        return asyncio.create_task(self._voice(next(self._dialogue), requested=False))

    async def _voice(self, utterance: Utterance, *, requested: bool) -> Voiced:
        voice = CAST[utterance.sentence.lang][utterance.speaker]
        speech = await asyncio.to_thread(self._synthesiser.speak, voice, utterance.sentence.text)
        return Voiced(utterance, speech, requested)
