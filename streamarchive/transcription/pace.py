"""Whether live captions keep up, and what is left out when they do not. Pure.

The ladder, from top to bottom: provisional text in steps that grow with what a hearing costs; finished speech
only; a narrow search; leaving out what waits and going on with the newest sound. What is left out is recorded all
the same, and the final pass hears it. Lag is sound that has come and that the recogniser has not been given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from streamarchive.protocols import TranscribeOptions


class Rung(IntEnum):
    """How much is left out; each rung includes those above it."""

    FULL = 0
    """Nothing: provisional text while somebody speaks."""
    PLAIN = 1
    """No provisional text."""
    NARROW = 2
    """The search is as narrow as can be."""
    SKIPPING = 3
    """What waits is left to the final pass."""


@dataclass(frozen=True, slots=True)
class PaceRules:
    """When to step down the ladder, in milliseconds of lag."""

    shortest_step_ms: int = 1_000
    """Provisional text is heard anew after so much new sound, or later."""
    costs: float = 3.0
    """A step is at least so many times as long as a hearing takes: others need the engine too."""
    longest_step_ms: int = 6_000
    """Text that would come in longer steps is no use as provisional text."""
    plain_ms: int = 6_000
    narrow_ms: int = 12_000
    skip_ms: int = 30_000
    calm_ms: int = 3_000
    """With less lag than this for `calm_after_ms` of sound, one step up."""
    calm_after_ms: int = 20_000
    worth: float = 0.7
    """Seconds of work a second of sound: above it a long backlog is left out, below it is worked off."""


_WIDE = TranscribeOptions(beam_size=2, temperatures=(0.0, 0.4), urgent=True)
"""A narrow search: a caption that comes late is worth less than one that is put right by the final pass."""
_NARROW = TranscribeOptions(beam_size=1, temperatures=(0.0,), urgent=True)
_MEMORY = 0.5
"""Weight of the past in the mean cost of a hearing."""


@dataclass(slots=True)
class Pace:
    """One broadcast's place on the ladder."""

    rules: PaceRules = field(default_factory=PaceRules)
    rung: Rung = Rung.FULL
    taken_ms: int = 0
    """Where on the media clock the sound ends that the policy has been given and is done with."""
    newest_ms: int = 0
    """Where the sound ends that is known to have come."""
    _step_cost_ms: float = 0.0
    """What a hearing has cost lately, waiting for the engine included; that of finished speech costs no less."""
    _slowness: float | None = None
    """Work a second of finished speech lately; None: not measured on this rung."""
    _calm_since_ms: int | None = None

    @property
    def lag_ms(self) -> int:
        """How much sound waits."""
        return max(self.newest_ms - self.taken_ms, 0)

    @property
    def step_ms(self) -> int | None:
        """After how much new sound open speech is heard again; None: not at all."""
        step = max(self.rules.shortest_step_ms, round(self.rules.costs * self._step_cost_ms))
        return step if self.rung is Rung.FULL and step <= self.rules.longest_step_ms else None

    @property
    def options(self) -> TranscribeOptions:
        """How to hear finished speech."""
        return _WIDE if self.rung < Rung.NARROW else _NARROW

    @property
    def is_hopeless(self) -> bool:
        """Whether what waits has to be left out."""
        waits_too_long = self.rung >= Rung.NARROW and self.lag_ms >= self.rules.skip_ms
        return waits_too_long and self._slowness is not None and self._slowness > self.rules.worth

    def arrived(self, newest_ms: int) -> None:
        """Sound has come up to here."""
        self.newest_ms = max(self.newest_ms, newest_ms)

    def took(self, taken_ms: int) -> None:
        """The policy is done with all sound up to here; step down or up."""
        self.taken_ms = max(self.taken_ms, taken_ms)
        self.arrived(taken_ms)
        lag = self.lag_ms
        if lag >= self.rules.narrow_ms:
            self._go(max(self.rung, Rung.NARROW))
        elif lag >= self.rules.plain_ms:
            self._go(max(self.rung, Rung.PLAIN))
        elif lag >= self.rules.calm_ms:
            self._calm_since_ms = None
        else:
            self._calm(self.taken_ms)

    def spent(self, sound_ms: int, seconds: float, *, provisional: bool) -> None:
        """A hearing of so much sound has taken so long."""
        self._step_cost_ms = _mean(self._step_cost_ms, seconds * 1000)
        if not provisional and sound_ms > 0:
            slow = seconds * 1000 / sound_ms
            self._slowness = slow if self._slowness is None else _mean(self._slowness, slow)

    def skipped_to(self, at_ms: int) -> None:
        """What waited has been left out: go on from here."""
        self.taken_ms = max(self.taken_ms, at_ms)
        self._go(Rung.SKIPPING)

    def _calm(self, at_ms: int) -> None:
        if self.rung is Rung.FULL:
            # Costs are forgotten while nothing is measured, else provisional text would never come back.
            if self.step_ms is None and self._waited(at_ms):
                self._step_cost_ms = self.rules.longest_step_ms / self.rules.costs
            return
        if self._waited(at_ms):
            self._go(Rung(self.rung - 1))

    def _waited(self, at_ms: int) -> bool:
        """Whether it has been calm for long enough; begins to count if not."""
        if self._calm_since_ms is None:
            self._calm_since_ms = at_ms
        if at_ms - self._calm_since_ms < self.rules.calm_after_ms:
            return False
        self._calm_since_ms = None
        return True

    def _go(self, rung: Rung) -> None:
        if rung is not self.rung:
            self._slowness = None
        self.rung = rung
        self._calm_since_ms = None


def _mean(before: float, now: float) -> float:
    return _MEMORY * before + (1 - _MEMORY) * now if before else now
