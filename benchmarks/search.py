"""How long indexing and searching take: `python benchmarks/search.py [--cues 20000] [URL…]`.

Without a URL it measures the embedded index in a temporary folder. The texts are made up, half of them Chinese,
with the frequencies of natural language (Zipf); words are independent, so phrases are rarer than in speech.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from streamarchive.models import InterviewId
from streamarchive.protocols import CueDocument, Operation, Portion, SearchIndex, Source
from streamarchive.search import open_index
from streamarchive.search.query import parse

CUES_AN_INTERVIEW = 200
QUERIES = 100
APPENDS = 100
_HELD_AT = datetime(2026, 4, 25, tzinfo=UTC)


class Corpus:
    """Cues with words of natural frequencies, the same on every run."""

    def __init__(self, count: int) -> None:
        self._random = random.Random(42)
        syllables = [a + b for a in "bcdfglmnprstv" for b in "aeiou"]
        self.latin = ["".join(self._random.choices(syllables, k=1 + n % 4)) for n in range(20_000)]
        self.han = [chr(0x4E00 + n * 5) for n in range(4_000)]
        self._latin_weights = list(itertools.accumulate(1 / (n + 3) for n in range(len(self.latin))))
        self._han_weights = list(itertools.accumulate(1 / (n + 10) for n in range(len(self.han))))
        self.random.shuffle(self.latin)
        self.cues = [self._cue(n) for n in range(count)]

    @property
    def random(self) -> random.Random:
        """The source of everything made up here."""
        return self._random

    def _cue(self, number: int) -> CueDocument:
        latin = (number // CUES_AN_INTERVIEW) % 2 == 0
        interview = InterviewId(f"interview{number // CUES_AN_INTERVIEW}")
        at_ms = number % CUES_AN_INTERVIEW * 4_000
        text = self._sentence() if latin else self._chinese()
        lang = "en" if latin else "zh"
        return _document(f"{interview}-{number}", interview, at_ms, text, lang)

    def _sentence(self) -> str:
        return " ".join(self._random.choices(self.latin, cum_weights=self._latin_weights, k=12))

    def _chinese(self) -> str:
        return "".join(self._random.choices(self.han, cum_weights=self._han_weights, k=20))

    def part(self, lang: str, length: int) -> str:
        """So many words or characters in a row from some cue."""
        text = self._random.choice(
            [cue.text for cue in self._random.choices(self.cues, k=50) if cue.lang == lang]
        )
        pieces: Sequence[str] = text.split() if lang == "en" else text
        first = self._random.randrange(len(pieces) - length)
        return (" " if lang == "en" else "").join(pieces[first : first + length])


def _document(document_id: str, interview: InterviewId, at_ms: int, text: str, lang: str) -> CueDocument:
    return CueDocument(
        id=document_id,
        version=1,
        interview_id=interview,
        start_ms=at_ms,
        end_ms=at_ms + 4_000,
        text=text,
        lang=lang,
        speaker=None,
        doubtful=False,
        held_at=_HELD_AT,
    )


def queries(corpus: Corpus) -> dict[str, Callable[[], str]]:
    """What people type, by kind."""
    return {
        "one of the 20 most common words": lambda: corpus.random.choice(corpus.latin[:20]),
        "a word of some sentence": lambda: corpus.part("en", 1),
        "two words, anywhere in an interview": lambda: f"{corpus.part('en', 1)} {corpus.part('en', 1)}",
        "a phrase of three words": lambda: f'"{corpus.part("en", 3)}"',
        "one Chinese character": lambda: corpus.part("zh", 1),
        "two Chinese characters": lambda: corpus.part("zh", 2),
        "four Chinese characters": lambda: corpus.part("zh", 4),
        "a word and two Chinese characters": lambda: f"{corpus.part('en', 1)} {corpus.part('zh', 2)}",
    }


async def measure(url: str, corpus: Corpus) -> None:
    """Index everything, write some more one by one, then ask."""
    index = open_index(url)
    try:
        await index.prepare()
        began = time.perf_counter()
        await index.rebuild(_source(corpus.cues))
        took = time.perf_counter() - began
        print(f"{(await index.health()).sentence}: {len(corpus.cues) / took:,.0f} cues a second ({took:.1f} s)")
        await _appends(index, corpus)
        for name, typed in queries(corpus).items():
            await _ask(index, name, typed)
    finally:
        await index.close()


def _source(cues: Sequence[Operation]) -> Source:
    async def portions(after: int) -> AsyncIterator[Portion]:
        for first in range(after, len(cues), 1_000):
            yield Portion(cues[first : first + 1_000], first + 1_000)

    return portions


async def _appends(index: SearchIndex, corpus: Corpus) -> None:
    times = []
    for number in range(APPENDS):
        document = _document(f"live-{number}", InterviewId("live"), number, corpus.part("zh", 15), "zh")
        began = time.perf_counter()
        await index.write([document])
        times.append(time.perf_counter() - began)
    _report("write one cue, durably", times)


async def _ask(index: SearchIndex, name: str, typed: Callable[[], str]) -> None:
    times, found = [], []
    for _ in range(QUERIES):
        query = parse(typed())
        began = time.perf_counter()
        found.append((await index.search(query)).total.value)
        times.append(time.perf_counter() - began)
    _report(name, times, f"{sorted(found)[len(found) // 2]} moments")


def _report(name: str, times: list[float], note: str = "") -> None:
    ordered = sorted(1_000 * each for each in times)
    middle, high = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
    print(f"  {name:<36} p50 {middle:7.1f} ms   p95 {high:7.1f} ms   {note}")


def main() -> None:
    """Measure every index named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("urls", nargs="*", metavar="URL")
    parser.add_argument("--cues", type=int, default=20_000)
    arguments = parser.parse_args()
    corpus = Corpus(arguments.cues)
    with tempfile.TemporaryDirectory() as folder:
        for url in arguments.urls or [f"sqlite:///{Path(folder) / 'search.sqlite'}"]:
            asyncio.run(measure(url, corpus))


if __name__ == "__main__":
    main()
