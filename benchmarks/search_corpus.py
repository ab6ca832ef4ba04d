"""A made-up archive with the frequencies of natural language, the same on every run; nothing is kept in memory.

English and Chinese interviews take turns. Words are drawn by Zipf's law from a vocabulary of made-up words;
Chinese ones are of one to four characters, as in running text mostly of two. Every sixteenth cue changes
language in the middle. Words are independent of each other, so a phrase is rarer than in speech.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from streamarchive.models import InterviewId
from streamarchive.protocols import CueDocument, InterviewDocument, Operation
from streamarchive.text import BORDER_UNITS, beginning

CUES_AN_INTERVIEW = 200
CUE_MS = 4_000
_FIRST = datetime(2016, 1, 1, 9, tzinfo=UTC)
_BETWEEN = timedelta(hours=17)
_SPEAKERS = 2_000
_SWITCHES = 16
_FLATTENING = 2.7
"""What Mandelbrot added to the rank in Zipf's law."""


class Corpus:
    """So many cues, and parts of them to ask for."""

    def __init__(self, cues: int) -> None:
        self.size = cues
        source = random.Random(42)
        syllables = [
            "".join(letters) for letters in itertools.product("bcdfglmnprstvw", "aeiou", ["", "n", "r", "s"])
        ]
        self.english = _distinct(
            lambda n: "".join(source.choices(syllables, k=1 + (n > 60) + (n > 4_000))), 30_000
        )
        characters = [chr(code) for code in range(0x4E00, 0x4E00 + 4 * 3_500, 4)]
        common = [1 / (rank + 20) for rank in range(len(characters))]
        lengths = itertools.cycle([2, 2, 2, 1, 2, 3, 2, 4])
        self.chinese = _distinct(
            lambda n: "".join(source.choices(characters, common, k=1 if n < 40 else next(lengths))), 30_000
        )
        self._english_weights = _weights(len(self.english))
        self._chinese_weights = _weights(len(self.chinese))

    @property
    def interviews(self) -> int:
        """How many there are."""
        return -(-self.size // CUES_AN_INTERVIEW)

    def documents(self) -> Iterator[Operation]:
        """Everything, interview by interview."""
        for number in range(self.interviews):
            yield self.named(number)
            yield from self.cues(number)

    def named(self, number: int) -> InterviewDocument:
        """An interview's own document."""
        title = " ".join(self._words(random.Random(-number), "en", 4))
        return InterviewDocument(f"interview{number}", 1, InterviewId(f"interview{number}"), title, _held(number))

    @lru_cache(maxsize=64)  # noqa: B019 - the corpus lives as long as the program
    def cues(self, number: int) -> tuple[CueDocument, ...]:
        """The cues of an interview."""
        source = random.Random(number)
        main = "en" if number % 2 == 0 else "zh"
        other = "zh" if main == "en" else "en"
        speakers = [f"Speaker {source.randrange(_SPEAKERS)}" for _ in range(3)]
        count = min(CUES_AN_INTERVIEW, self.size - number * CUES_AN_INTERVIEW)
        texts = [self._sentence(source, main, other, switched=n % _SWITCHES == 0) for n in range(count)]
        return tuple(
            CueDocument(
                id=f"interview{number}-{n}",
                version=1,
                interview_id=InterviewId(f"interview{number}"),
                start_ms=n * CUE_MS,
                end_ms=(n + 1) * CUE_MS,
                text=text,
                lang=main,
                speaker=source.choice(speakers),
                doubtful=source.random() < 0.03,
                held_at=_held(number),
                following=beginning(texts[n + 1], BORDER_UNITS) if n + 1 < count else "",
            )
            for n, text in enumerate(texts)
        )

    def live(self, number: int, source: random.Random) -> CueDocument:
        """A cue of an interview that is on air."""
        held = _held(self.interviews + 1)
        sentence = self._sentence(source, "zh", "en", switched=False)
        text = f"{sentence} live{number}"
        interview = InterviewId(f"live{number % 50}")
        start = number // 50 * CUE_MS
        return CueDocument(
            id=f"live-{number}",
            version=1,
            interview_id=interview,
            start_ms=start,
            end_ms=start + CUE_MS,
            text=text,
            lang="zh",
            speaker=None,
            doubtful=False,
            held_at=held,
        )

    def part(self, source: random.Random, lang: str, length: int) -> str:
        """So many words or characters in a row from some cue."""
        while True:
            number = source.randrange(self.interviews) // 2 * 2 + (lang == "zh")
            if number < self.interviews:
                cue = source.choice(self.cues(number))
                pieces = cue.text.split(" ") if lang == "en" else cue.text
                pieces = [p for p in pieces if p.isascii() == (lang == "en")]
                if len(pieces) > length:
                    first = source.randrange(len(pieces) - length)
                    return (" " if lang == "en" else "").join(pieces[first : first + length])

    def _sentence(self, source: random.Random, main: str, other: str, *, switched: bool) -> str:
        if not switched:
            return _joined(main, self._words(source, main, 12 if main == "en" else 11))
        halves = [_joined(lang, self._words(source, lang, 6)) for lang in (main, other)]
        return " ".join(halves)

    def _words(self, source: random.Random, lang: str, count: int) -> list[str]:
        if lang == "en":
            return source.choices(self.english, cum_weights=self._english_weights, k=count)
        return source.choices(self.chinese, cum_weights=self._chinese_weights, k=count)


def _distinct(make: Callable[[int], str], count: int) -> list[str]:
    words: dict[str, None] = {}
    while len(words) < count:
        words[make(len(words))] = None
    return list(words)


def _weights(count: int) -> list[float]:
    return list(itertools.accumulate(1 / (rank + _FLATTENING) for rank in range(1, count + 1)))


def _joined(lang: str, words: list[str]) -> str:
    return (" " if lang == "en" else "").join(words)


def _held(number: int) -> datetime:
    return _FIRST + number * _BETWEEN
