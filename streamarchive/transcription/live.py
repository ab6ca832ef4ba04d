"""When something said on air becomes a caption.

A policy gets sound as it arrives and gives back lines that stand, and what may still change: it decides when
enough has been heard to give a stretch to the engine, and how much of the answer is certain.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from streamarchive.models import CueDraft, Word
from streamarchive.protocols import Expectation, Transcriber, Window, WindowResult
from streamarchive.transcription import audio, cues, guards
from streamarchive.transcription.hypotheses import agreed, prompt_from, split, text_of, whole_sentences, words_of
from streamarchive.transcription.listener import Listener
from streamarchive.transcription.pace import Pace
from streamarchive.transcription.turns import Turns
from streamarchive.transcription.windows import FRAME_MS, FRAME_SAMPLES, CuttingRules, Span

if TYPE_CHECKING:
    from streamarchive.protocols import Samples

LIVE_RULES = CuttingRules(pause=12, longest=906, widest_pause=62)
"""A pause of 384 ms ends a caption; somebody who does not pause is cut after 29 s, where it hurts least."""
_FORCED_FRAMES = 25_000 // FRAME_MS
"""Whatever is agreed upon of speech that has gone on for so long is taken, sentence or not."""
_REACH_FRAMES = 120 // FRAME_MS
"""How far from the border of two words the quietest moment between them is looked for."""


@dataclass(frozen=True, slots=True)
class Said:
    """What has been heard and may still change; an empty text says that there is nothing any more."""

    text: str = ""
    lang: str = ""
    certain: int = 0
    """How many characters at its beginning two hearings have agreed on."""
    start_ms: int = 0


@dataclass(frozen=True, slots=True)
class LiveStep:
    """Lines that stand, up to where nothing remains to be done, and what is said beyond (None: as before)."""

    cues: tuple[CueDraft, ...]
    covered_ms: int
    said: Said | None = None


class LivePolicy(Protocol):
    """One broadcast's captions; sound is fed in order, without gaps."""

    async def feed(self, samples: Samples) -> list[LiveStep]:
        """Take sound; the lines that are certain now."""

    async def flush(self) -> list[LiveStep]:
        """No sound has come for a while: the lines of what has been said so far."""

    async def finish(self) -> list[LiveStep]:
        """No more sound will come: all lines that are left."""


@dataclass
class PausePolicy:
    """A caption for each stretch of speech between two pauses.

    When the engine is behind, what has been said meanwhile goes to it in one window, which costs as much as a
    short one: it catches up by itself.
    """

    engine: Transcriber
    languages: tuple[str, ...]
    offset_ms: int
    """The media clock at the first sample that will be fed."""
    pace: Pace = field(default_factory=Pace)
    turns: Turns = field(default_factory=Turns)
    """Shared by all broadcasts that share the engine."""
    expected: Mapping[str, Expectation] = field(default_factory=dict)
    rules: CuttingRules = LIVE_RULES
    _listener: Listener = field(init=False)
    _prompt: str | None = None
    """What has been taken of the speech that goes on; none behind a pause, where it would do harm."""

    def __post_init__(self) -> None:
        """Begin to listen."""
        self._listener = Listener(self.engine.voice, self.rules)

    async def feed(self, samples: Samples) -> list[LiveStep]:
        """Take sound; the lines of the speech that has ended."""
        return await self._hear(await self._listener.feed(samples) + self._listener.complete())

    async def flush(self) -> list[LiveStep]:
        """The lines of what has been said so far."""
        return await self._hear(self._listener.cut())

    async def finish(self) -> list[LiveStep]:
        """All lines that are left."""
        return await self._hear(await self._listener.finish())

    async def _hear(self, windows: list[Span]) -> list[LiveStep]:
        """The lines of finished speech; then sound that nothing reaches back into is let go of."""
        steps = [await self._finished(window) for window in windows]
        self._listener.forget()
        quiet = self._listener.quiet_until
        if quiet is not None:
            steps.append(LiveStep((), self._at(quiet)))
        self.pace.took(self.offset_ms + audio.samples_to_ms(self._listener.length))
        return steps

    async def _finished(self, span: Span) -> LiveStep:
        result = await self._ask(span, provisional=False)
        self._prompt = None
        return LiveStep(tuple(cues.drafts(result, self.languages)), self._at(span.end), Said())

    async def _ask(self, span: Span, *, provisional: bool) -> WindowResult:
        """What the engine hears; a hearing of speech that goes on is not tried twice."""
        window = Window(self._listener.samples(span), self._at(span.start), self.languages, self._prompt)
        options = replace(self.pace.options, expected=self.expected)
        if provisional:
            options = replace(options, temperatures=(0.0,))
        asked_at = time.monotonic()
        async with self._turn(asked_at, provisional=provisional):
            [result] = [result async for result in self.engine.transcribe([window], options)]
        sound_ms = (span.end - span.start) * FRAME_MS
        self.pace.spent(sound_ms, time.monotonic() - asked_at, provisional=provisional)
        return result

    def _turn(self, now: float, *, provisional: bool) -> AbstractAsyncContextManager[None]:
        """Finished speech goes before provisional text, then who has waited longest."""
        return self.turns.turn((float(provisional), now - self.pace.lag_ms / 1000))

    def _at(self, frame: int) -> int:
        return self.offset_ms + audio.samples_to_ms(frame * FRAME_SAMPLES)


@dataclass
class AgreementPolicy(PausePolicy):
    """The same, and while somebody speaks: what two hearings in a row agree on stands (LocalAgreement-2).

    All of the speech that goes on is heard again in steps. Sentences that both hearings have begun with, and gone
    on behind, become captions at once and scroll out; the next hearing begins behind them. The rest is shown as
    provisional. A pause ends it all as in the other policy, with a hearing of its own.
    """

    _before: tuple[Word, ...] = ()
    """What the hearing before has heard in the speech that goes on."""
    _heard_at: int = 0
    """The frame up to which that was."""

    async def feed(self, samples: Samples) -> list[LiveStep]:
        """Take sound; the lines that stand now, and what may still change."""
        steps = await super().feed(samples)
        span = self._listener.open
        if span is None or not self._is_due(span):
            return steps
        steps.append(await self._hear_again(span))
        self._listener.forget()
        return steps

    async def _finished(self, span: Span) -> LiveStep:
        self._before = ()
        return await super()._finished(span)

    def _is_due(self, span: Span) -> bool:
        """Whether to hear it again. In a short silence the end may be near: then one hearing is enough."""
        step_ms = self.pace.step_ms
        if step_ms is None or self._listener.pausing:
            return False
        return (span.end - max(self._heard_at, span.start)) * FRAME_MS >= step_ms

    async def _hear_again(self, span: Span) -> LiveStep:
        result = await self._ask(span, provisional=True)
        self._heard_at = span.end
        words = words_of(result)
        certain = 0 if _is_doubtful(result, span) else agreed(self._before, words)
        taken = whole_sentences(words, certain)
        if not taken and span.end - span.start >= _FORCED_FRAMES:
            taken = max(certain - 1, 0)
        head, tail = split(result, taken)
        said = _said(tail, certain - taken, self.languages)
        self._before = words[taken:]
        if not taken:
            return LiveStep((), self.offset_ms, said)
        self._prompt = prompt_from(f"{self._prompt or ''} {text_of(head)}")
        border_ms = (words[taken - 1].end_ms + words[taken].start_ms) // 2
        frame = self._listener.cut_near((border_ms - self.offset_ms) // FRAME_MS, _REACH_FRAMES)
        at_ms = self._at(frame)
        return LiveStep(tuple(_until(at_ms, draft) for draft in cues.drafts(head, self.languages)), at_ms, said)


def _is_doubtful(result: WindowResult, span: Span) -> bool:
    """Whether it would have been tried again at another temperature: nothing of it is taken."""
    seconds = (span.end - span.start) * FRAME_MS / 1000
    return guards.must_retry(text_of(result), result.average_logprob, result.no_speech_probability, seconds)


def _until(at_ms: int, draft: CueDraft) -> CueDraft:
    """A line that ends where the next hearing begins, if not before."""
    words = tuple(replace(w, start_ms=min(w.start_ms, at_ms), end_ms=min(w.end_ms, at_ms)) for w in draft.words)
    return replace(draft, end_ms=min(draft.end_ms, at_ms), words=words)


def _said(tail: WindowResult, certain: int, languages: tuple[str, ...]) -> Said:
    """What is left of a hearing, as provisional text; `certain` of its words have been heard twice."""
    drafts = cues.drafts(tail, languages)
    if not drafts:
        return Said()
    sure, _ = split(tail, certain)
    return Said(text_of(tail), drafts[-1].lang, len(text_of(sure)), drafts[0].start_ms)
