"""Sound in, windows out: voice activity, cutting and packing over sound that comes in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamarchive.transcription.voice import Score, VoiceStream
from streamarchive.transcription.windows import (
    DEFAULT_RULES,
    FRAME_SAMPLES,
    CuttingRules,
    Span,
    SpeechTracker,
    WindowPlanner,
)

if TYPE_CHECKING:
    from streamarchive.protocols import Samples


class Listener:
    """The sound that is still needed, and what is known about it. A span counts in frames from its beginning."""

    def __init__(self, score: Score, rules: CuttingRules = DEFAULT_RULES) -> None:
        self._voice = VoiceStream(score)
        self._tracker = SpeechTracker(rules)
        self._planner = WindowPlanner(rules)
        self._held: list[Samples] = []
        self._first = 0
        self.length = 0
        """Samples fed so far; the first one held is number `_first`."""

    async def feed(self, piece: Samples) -> list[Span]:
        """Take a piece; the windows that are complete."""
        self._held.append(piece)
        self.length += len(piece)
        spans = self._tracker.feed(await self._voice.feed(piece))
        return list(self._planner.feed(spans, self._tracker.earliest_needed))

    def complete(self) -> list[Span]:
        """The window that is open, without what may still follow; none if there is no finished speech."""
        return list(self._planner.finish())

    def cut(self) -> list[Span]:
        """Everything said so far, though its speaker has not paused."""
        span = self._tracker.cut()
        spans = [span] if span is not None else []
        return [*self._planner.feed(spans, self._tracker.frames), *self._planner.finish()]

    @property
    def open(self) -> Span | None:
        """What somebody is saying and has not ended, as far as it is known; None while nobody speaks."""
        since = self._tracker.open_since
        return None if since is None else Span(since, self._tracker.frames)

    @property
    def pausing(self) -> bool:
        """Whether the speaker has fallen silent, though not for long enough to have ended."""
        return self._tracker.pausing

    def cut_near(self, frame: int, reach: int) -> int:
        """Let go of the open speech up to about this frame, where it hurts least; the frame it was."""
        frame = self._tracker.quietest(frame, reach)
        self._tracker.cut(frame)
        return frame

    async def finish(self) -> list[Span]:
        """The sound ends; the windows that were still open."""
        spans = self._tracker.feed(await self._voice.finish()) + self._tracker.finish()
        return [*self._planner.feed(spans, self._tracker.frames), *self._planner.finish()]

    def samples(self, span: Span) -> Samples:
        """The samples of a window that is still held."""
        import numpy as np

        start = span.samples.start - self._first
        return np.concatenate(self._held)[start : start + span.samples.stop - span.samples.start]

    def forget(self) -> None:
        """Let go of the pieces that no later window can reach into."""
        needed = self._needed * FRAME_SAMPLES
        while self._held and self._first + len(self._held[0]) <= needed:
            self._first += len(self._held.pop(0))

    @property
    def quiet_until(self) -> int | None:
        """The frame up to which nothing is left to do; None while a window is open."""
        return self._tracker.earliest_needed if self._planner.open_since is None else None

    @property
    def _needed(self) -> int:
        open_window = self._planner.open_since
        needed = self._tracker.earliest_needed
        return needed if open_window is None else min(open_window, needed)
