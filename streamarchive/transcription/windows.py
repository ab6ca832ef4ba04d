"""Which stretches of audio the recogniser gets: speech, cut at pauses, packed to at most 30 s. Pure.

Everything counts in voice frames of 512 samples at 16 kHz (32 ms, see `streamarchive.transcription.voice`),
so a window's bounds are exact in samples. A window is one contiguous stretch, short pauses included: time in
the window plus its start is time in the recording, with nothing to map and nothing to round.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

FRAME_SAMPLES = 512
FRAME_MS = 32

_SPEECH = 0.5
_SILENCE = 0.35
"""Between the two a frame stays what the one before it was."""
_DISTANCE = 0.1


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of voice frames, `end` not included."""

    start: int
    end: int

    @property
    def samples(self) -> slice:
        """The same in samples."""
        return slice(self.start * FRAME_SAMPLES, self.end * FRAME_SAMPLES)


@dataclass(frozen=True, slots=True)
class CuttingRules:
    """Lengths in voice frames; the defaults suit a pass over finished audio."""

    pause: int = 10
    """Silence that ends a span of speech (320 ms)."""
    shortest: int = 3
    """Shorter spans are noise (96 ms)."""
    padding: int = 7
    """Added on both sides of speech, at most half of the pause (224 ms)."""
    longest: int = 920
    """No span or window is longer (29.4 s; the recogniser takes 30)."""
    widest_pause: int = 156
    """A longer pause is not worth the recogniser's time: the next window begins behind it (5 s)."""


DEFAULT_RULES = CuttingRules()


@dataclass(slots=True)
class SpeechTracker:
    """Turns probabilities of speech into padded spans, as they come.

    A span is known once the pause behind it is, or when it has become as long as a window may be: then it is
    cut where speech was least likely within its second half.
    """

    rules: CuttingRules = DEFAULT_RULES
    frames: int = 0
    """Frames fed so far."""
    _start: int | None = None
    _quiet_since: int | None = None
    _floor: int = 0
    """Nothing may begin before: the end of the span before, its padding included."""
    _recent: list[float] = field(default_factory=list)
    """Probabilities since `_start`, for the cut of a span that is too long."""
    _goes_on: bool = False
    """Whether the open span was cut off from the one before it: then it is speech, however short."""

    def feed(self, probabilities: Iterable[float]) -> list[Span]:
        """Take further frames; the spans that are now certain."""
        found: list[Span] = []
        for probability in probabilities:
            span = self._step(probability)
            if span is not None:
                found.append(span)
        return found

    def finish(self) -> list[Span]:
        """The audio ends here; the span that was still open, if any."""
        if self._start is None:
            return []
        end = self.frames if self._quiet_since is None else self._quiet_since
        span = self._close(end, self.frames)
        return [span] if span else []

    def cut(self, frame: int | None = None) -> Span | None:
        """End the open span though its speaker has not paused: now, or at a frame of it."""
        if self._start is None:
            return None
        return self._cut_at(self.frames if frame is None else min(max(frame, self._start), self.frames))

    @property
    def open_since(self) -> int | None:
        """Where the open span begins, padding included; None while nobody speaks."""
        return None if self._start is None else self._padded_start(self._start)

    @property
    def pausing(self) -> bool:
        """Whether the speaker of the open span has fallen silent, for less than a pause so far."""
        return self._quiet_since is not None

    def quietest(self, near: int, reach: int) -> int:
        """A frame of the open span in which speech is unlikely, at most `reach` frames from `near`.

        Each frame of distance has to be worth a tenth in probability.
        """
        assert self._start is not None  # noqa: S101 - for the type checker
        start, last = self._start, self.frames - 1
        near = min(max(near, start), last)
        frames = range(max(near - reach, start), min(near + reach, last) + 1)
        return min(frames, key=lambda at: self._recent[at - start] + _DISTANCE * abs(at - near))

    @property
    def earliest_needed(self) -> int:
        """No later span begins before this frame: audio before it can go."""
        if self._start is not None:
            return self._padded_start(self._start)
        return max(self._floor, self.frames - self.rules.padding)

    def _step(self, probability: float) -> Span | None:
        frame = self.frames
        self.frames += 1
        if self._start is None:
            if probability >= _SPEECH:
                self._start, self._quiet_since, self._recent = frame, None, [probability]
            return None
        self._recent.append(probability)
        if probability >= _SPEECH:
            self._quiet_since = None
        elif probability < _SILENCE and self._quiet_since is None:
            self._quiet_since = frame
        if self._quiet_since is not None and self.frames - self._quiet_since >= self.rules.pause:
            return self._close(self._quiet_since, self.frames)
        if self.frames - self._padded_start(self._start) >= self.rules.longest:
            return self._cut_at(self._quietest())
        return None

    def _close(self, end: int, known: int) -> Span | None:
        """End the open span at `end`; frames up to `known` have been seen and are silent."""
        assert self._start is not None  # noqa: S101 - for the type checker; every caller has looked
        start, self._start, self._quiet_since = self._start, None, None
        heard, self._recent = self._recent[: end - start], []
        goes_on, self._goes_on = self._goes_on, False
        if end - start < self.rules.shortest and not (goes_on and max(heard, default=0.0) >= _SPEECH):
            return None
        pad = min(self.rules.padding, (known - end + 1) // 2) if known > end else 0
        span = Span(self._padded_start(start), end + pad)
        self._floor = span.end
        return span

    def _cut_at(self, frame: int) -> Span:
        """End the open span at `frame` and open the next one there."""
        assert self._start is not None  # noqa: S101
        span = Span(self._padded_start(self._start), frame)
        self._recent = self._recent[frame - self._start :]
        self._start = self._floor = frame
        self._quiet_since, self._goes_on = None, True
        if not self._recent:
            self._start, self._goes_on = None, False
        return span

    def _quietest(self) -> int:
        assert self._start is not None  # noqa: S101
        half = len(self._recent) // 2
        later = self._recent[half:]
        return self._start + half + min(range(len(later)), key=lambda at: (later[at], -at))

    def _padded_start(self, start: int) -> int:
        return max(self._floor, start - self.rules.padding, 0)


@dataclass(slots=True)
class WindowPlanner:
    """Packs spans of speech into windows, as they come."""

    rules: CuttingRules = DEFAULT_RULES
    _open: Span | None = None

    def feed(self, spans: Iterable[Span], known: int) -> Iterator[Span]:
        """Take further spans; no later one begins before frame `known`. Finished windows."""
        for span in spans:
            if self._open is None:
                self._open = span
            elif self._fits(span):
                self._open = Span(self._open.start, span.end)
            else:
                yield self._open
                self._open = span
        if self._open is not None and known - self._open.end > self.rules.widest_pause:
            yield self._open
            self._open = None

    def finish(self) -> Iterator[Span]:
        """No more spans will come; the window that was still open, if any."""
        if self._open is not None:
            yield self._open
            self._open = None

    @property
    def open_since(self) -> int | None:
        """Where the unfinished window begins; None when there is none."""
        return None if self._open is None else self._open.start

    def _fits(self, span: Span) -> bool:
        assert self._open is not None  # noqa: S101
        pause = span.start - self._open.end
        return pause <= self.rules.widest_pause and span.end - self._open.start <= self.rules.longest
