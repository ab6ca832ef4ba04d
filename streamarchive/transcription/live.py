"""When something said on air becomes a caption.

A policy gets sound as it arrives and gives back lines that stand: it decides when enough has been heard to
give a stretch to the engine, and how much of the answer is certain. Policies that revise what they have shown
need no other interface; they hold back what they may still change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from streamarchive.protocols import TranscribeOptions, Transcriber, Window
from streamarchive.transcription import audio
from streamarchive.transcription.listener import Listener
from streamarchive.transcription.passes import Step, heard_in
from streamarchive.transcription.windows import FRAME_SAMPLES, CuttingRules, Span

if TYPE_CHECKING:
    from streamarchive.protocols import Samples

LIVE_OPTIONS = TranscribeOptions(beam_size=2, temperatures=(0.0, 0.4), urgent=True)
"""A narrow search: a caption that comes late is worth less than one that is put right by the final pass."""

LIVE_RULES = CuttingRules(pause=12, longest=781, widest_pause=62)
"""A pause of 384 ms ends a caption; somebody who does not pause is cut after 25 s, where it hurts least."""


class LivePolicy(Protocol):
    """One broadcast's captions; sound is fed in order, without gaps."""

    async def feed(self, samples: Samples) -> list[Step]:
        """Take sound; the lines that are certain now."""

    async def flush(self) -> list[Step]:
        """No sound has come for a while: the lines of what has been said so far."""

    async def finish(self) -> list[Step]:
        """No more sound will come: all lines that are left."""


@dataclass(slots=True)
class PausePolicy:
    """A caption for each stretch of speech between two pauses.

    When the engine is behind, what has been said meanwhile goes to it in one window, which costs as much as a
    short one: it catches up by itself.
    """

    engine: Transcriber
    languages: tuple[str, ...]
    offset_ms: int
    """The media clock at the first sample that will be fed."""
    options: TranscribeOptions = LIVE_OPTIONS
    rules: CuttingRules = LIVE_RULES
    _listener: Listener = field(init=False)

    def __post_init__(self) -> None:
        """Begin to listen."""
        self._listener = Listener(self.engine.voice, self.rules)

    async def feed(self, samples: Samples) -> list[Step]:
        """Take sound; the lines of the speech that has ended."""
        windows = await self._listener.feed(samples) + self._listener.complete()
        return await self._transcribe(windows)

    async def flush(self) -> list[Step]:
        """The lines of what has been said so far."""
        return await self._transcribe(self._listener.cut())

    async def finish(self) -> list[Step]:
        """All lines that are left."""
        return await self._transcribe(await self._listener.finish())

    async def _transcribe(self, windows: list[Span]) -> list[Step]:
        steps = [await self._step(window) for window in windows]
        self._listener.forget()
        quiet = self._listener.quiet_until
        if quiet is not None:
            steps.append(Step((), self._at(quiet)))
        return steps

    async def _step(self, span: Span) -> Step:
        window = Window(self._listener.samples(span), self._at(span.start), self.languages)
        return Step(await heard_in(window, self.engine, self.options), self._at(span.end))

    def _at(self, frame: int) -> int:
        return self.offset_ms + audio.samples_to_ms(frame * FRAME_SAMPLES)
