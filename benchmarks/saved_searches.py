"""How long comparing new cues with saved searches takes: `python benchmarks/saved_searches.py [--cues 20000]`.

The lookup by the rarest term beside the naive way, which analyses a cue once and looks for each query in it, on
the same cues and queries in one run. Half of the texts are Chinese, with natural frequencies (Zipf); the
queries are one to three words, or two to four characters, that occur in them.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import random
import time
from collections.abc import Sequence

from streamarchive import text
from streamarchive.models import Cue, CueId, RecordingId, TranscriptId
from streamarchive.protocols import Query
from streamarchive.search.query import parse
from streamarchive.search.watching import Lookup, Spoken

QUERIES = (1, 100, 1_000)
NAIVE_CUES = 200
"""So many are enough to see what comparing one by one costs."""


def texts(count: int) -> list[str]:
    """Sentences of twelve words or twenty characters, the same on every run."""
    chance = random.Random(42)
    syllables = [a + b for a in "bcdfglmnprstv" for b in "aeiou"]
    latin = ["".join(chance.choices(syllables, k=1 + n % 4)) for n in range(20_000)]
    han = [chr(0x4E00 + n * 5) for n in range(4_000)]
    weights = [list(itertools.accumulate(1 / (n + 10) for n in range(len(words)))) for words in (latin, han)]
    return [
        " ".join(chance.choices(latin, cum_weights=weights[0], k=12))
        if number % 2
        else "".join(chance.choices(han, cum_weights=weights[1], k=20))
        for number in range(count)
    ]


def queries(said: Sequence[str], count: int) -> dict[int, Query]:
    """What people would listen for: parts of what is said."""
    chance, found = random.Random(7), {}
    for number in range(count):
        sentence = chance.choice(said)
        if " " in sentence:
            words, length = sentence.split(), chance.randrange(1, 4)
            first = chance.randrange(len(words) - length)
            found[number] = parse(f'"{" ".join(words[first : first + length])}"')
        else:
            length = chance.randrange(2, 5)
            first = chance.randrange(len(sentence) - length)
            found[number] = parse(sentence[first : first + length])
    return found


def spoken(said: Sequence[str]) -> list[Spoken]:
    """Cues between their neighbours."""
    cues = [
        Cue(
            CueId(number),
            TranscriptId(1),
            RecordingId(1),
            number * 4_000,
            number * 4_000 + 4_000,
            sentence,
            "",
            (),
            None,
            None,
            0,
            1,
            human=False,
            read=False,
        )
        for number, sentence in enumerate(said)
    ]
    return [Spoken(cue, before, after) for before, cue, after in zip(cues, cues[1:], cues[2:], strict=False)]


def _one_by_one(said: str, phrases: Sequence[Sequence[text.Token]]) -> set[int]:
    tokens = text.tokens(said)
    return {number for number, phrase in enumerate(phrases) if text.places(tokens, phrase)}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cues", type=int, default=20_000)
    options = parser.parse_args()
    said = texts(options.cues)
    row = spoken(said)
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, Python {platform.python_version()}")
    began = time.perf_counter()
    for sentence in said:
        text.terms(text.tokens(sentence))
    analysed = (time.perf_counter() - began) / len(said)
    print(f"{len(said):,} cues; what the index does to each anyway (tokens, terms): {analysed * 1e6:.0f} µs\n")
    print("searches   build ms   lookup µs/cue   cues/s   one by one µs/cue   ratio    hits")
    for count in QUERIES:
        wanted = queries(said, count)
        began = time.perf_counter()
        lookup = Lookup(wanted, said[-1_000:])
        built = time.perf_counter() - began
        began = time.perf_counter()
        hits = sum(len(lookup.matches(one)) for one in row)
        each = (time.perf_counter() - began) / len(row)
        phrases = [text.tokens(query.clauses[0].text) for query in wanted.values()]
        began = time.perf_counter()
        naive = [_one_by_one(one.cue.text, phrases) for one in row[:NAIVE_CUES]]
        slow = (time.perf_counter() - began) / NAIVE_CUES
        for found, one in zip(naive, row, strict=False):
            if not found <= {match.query_id for match in lookup.matches(one)}:
                raise SystemExit("the lookup misses what comparing one by one finds")
        print(
            f"{count:8,}   {built * 1e3:8.1f}   {each * 1e6:13.0f}   {1 / each:6,.0f}"
            f"   {slow * 1e6:17,.0f}   {slow / each:4.0f} x   {hits:,}"
        )


if __name__ == "__main__":
    main()
