"""The media clock: what the player of a recording shows, counted in 90 kHz ticks.

A recording consists of takes, one for each ffmpeg process that contributed to it. Within a take, time runs
with the presentation time stamps (PTS) of the packets; between takes nothing runs, so takes stand end to end
and a gap is a point::

    media clock = base of the take + PTS - lowest PTS of any stream in the take

PTS in MPEG-TS have 33 bits and begin again after 26.5 hours; `unwrap` continues them. Milliseconds exist only
at the edges (`to_ms`): adding up rounded ones drifts by 16 ms in ten minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

TICKS_PER_SECOND = 90_000
TICKS_PER_MS = 90
PTS_MODULUS = 1 << 33
"""A PTS is a number below this; the next one after it is 0."""


def to_ms(ticks: int) -> int:
    """Ticks as whole milliseconds, halves rounded up."""
    return (2 * ticks + TICKS_PER_MS) // (2 * TICKS_PER_MS)


def to_ticks(ms: int) -> int:
    """Milliseconds as ticks, exactly."""
    return ms * TICKS_PER_MS


def to_seconds(ticks: int) -> str:
    """Ticks as decimal seconds with six places, as ffmpeg and playlists write them."""
    microseconds = (ticks * 100 + 4) // 9
    sign = "-" if microseconds < 0 else ""
    whole, rest = divmod(abs(microseconds), 1_000_000)
    return f"{sign}{whole}.{rest:06d}"


def unwrap(pts: int, near: int) -> int:
    """The number congruent to `pts` (modulo 2**33) that lies closest to `near`; of two, the greater."""
    difference = (pts - near) % PTS_MODULUS
    if difference > PTS_MODULUS // 2:
        difference -= PTS_MODULUS
    return near + difference


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in ticks, from `start` to before `end`."""

    start: int
    end: int

    @property
    def duration(self) -> int:
        """Its length in ticks."""
        return self.end - self.start

    @property
    def start_ms(self) -> int:
        """Where it begins, in milliseconds."""
        return to_ms(self.start)

    @property
    def end_ms(self) -> int:
        """Where it ends, in milliseconds."""
        return to_ms(self.end)


@dataclass(frozen=True, slots=True)
class TakeClock:
    """Converts one take's PTS to the media clock and follows them across the 33-bit wrap.

    `base` is where the take begins on the media clock, `origin` its lowest PTS (None before its first
    segment) and `latest` the last unwrapped PTS seen, near which the next one is looked for.
    """

    base: int = 0
    origin: int | None = None
    latest: int = 0

    def place(self, pts: int, duration: int) -> tuple[TakeClock, Span]:
        """Where media with this PTS lies, and the clock for what follows. The first is the origin."""
        if self.origin is None:
            clock = replace(self, origin=pts, latest=pts)
        else:
            clock = replace(self, latest=unwrap(pts, self.latest))
        start = clock.at(clock.latest)
        return clock, Span(start, start + duration)

    def at(self, pts: int) -> int:
        """The media clock, in ticks, at an unwrapped PTS of this take."""
        if self.origin is None:
            message = "a take has no clock before its first segment"
            raise ValueError(message)
        return self.base + pts - self.origin
