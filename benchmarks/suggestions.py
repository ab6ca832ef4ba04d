"""How long suggestions take while somebody types: `python benchmarks/suggestions.py [--interviews 20000]`.

Every beginning of what people type, a letter or character at a time, is completed from titles in two languages,
guests, terms and phrases with natural frequencies (Zipf), a tenth of the interviews hidden from the asker.
Beside it the naive way, which looks at everything that could be offered, on the same input in one run; both must
offer the same.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import random
import time
from collections.abc import Collection, Iterator, Sequence

from streamarchive import text
from streamarchive.models import InterviewId
from streamarchive.search.suggesting import Kind, Suggestion, Suggestions

TYPED = 40
NAIVE_KEYS = 40
"""So many are enough to see what looking at everything costs."""


def offered(interviews: int) -> list[Suggestion]:
    """Titles of six words or eight characters, as many guests as interviews by four, terms and phrases."""
    chance = random.Random(42)
    syllables = [a + b for a in "bcdfglmnprstv" for b in "aeiou"]
    latin = ["".join(chance.choices(syllables, k=1 + n % 4)) for n in range(20_000)]
    han = [chr(0x4E00 + n * 5) for n in range(3_000)]
    weights = [list(itertools.accumulate(1 / (n + 10) for n in range(len(words)))) for words in (latin, han)]

    def english(words: int) -> str:
        return " ".join(chance.choices(latin, cum_weights=weights[0], k=words)).capitalize()

    def chinese(characters: int) -> str:
        return "".join(chance.choices(han, cum_weights=weights[1], k=characters))

    guests = [(english(2).title(), chinese(chance.choice((2, 3)))) for _ in range(max(interviews // 4, 1))]
    found = []
    for number in range(interviews):
        only = frozenset({InterviewId(f"{number:010}")})
        name = chance.choice(guests)
        found += [
            Suggestion(Kind.TITLE, english(6), "en", only),
            Suggestion(Kind.TITLE, chinese(8), "zh", only),
            Suggestion(Kind.GUEST, name[0], "en", only),
            Suggestion(Kind.GUEST, name[1], "zh", only),
        ]
    found += [Suggestion(Kind.TERM, english(2), "en", None) for _ in range(500)]
    found += [Suggestion(Kind.TERM, chinese(4), "zh", None) for _ in range(500)]
    known = [InterviewId(f"{number:010}") for number in range(interviews)]
    found += [Suggestion(Kind.PHRASE, english(2), "en", frozenset(chance.sample(known, 3))) for _ in range(400)]
    return found


def keys(choices: Sequence[Suggestion]) -> Iterator[str]:
    """What stands in the search box after every key, of some words out of what there is."""
    chance = random.Random(7)
    for one in chance.sample(list(choices), TYPED):
        words = one.text.split()[:2]
        typed = " ".join(words).lower() if len(words) > 1 else one.text[:4]
        yield from (typed[:end] for end in range(1, min(len(typed), 12) + 1))


def one_by_one(
    known: Sequence[tuple[Suggestion, tuple[str, ...]]], typed: str, hidden: Collection[InterviewId]
) -> set[str]:
    """What is to be found, without its order and without what sounds alike."""
    wanted = [token.text for token in text.tokens(typed)]
    last = len(wanted) - 1
    return {
        one.text
        for one, words in known
        if wanted
        and any(
            words[at + last].startswith(wanted[-1]) and list(words[at : at + last]) == wanted[:-1]
            for at in range(len(words) - last)
        )
        and (one.interviews is None or one.interviews - set(hidden))
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interviews", type=int, default=20_000)
    options = parser.parse_args()
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, Python {platform.python_version()}")
    choices = offered(options.interviews)
    hidden = {InterviewId(f"{number:010}") for number in range(0, options.interviews, 10)}
    began = time.perf_counter()
    suggestions = Suggestions(choices)
    first = time.perf_counter() - began
    began = time.perf_counter()
    suggestions = Suggestions(choices)
    again = time.perf_counter() - began
    print(f"{len(choices):,} choices, made ready in {first:.1f} s, after a change in {again:.1f} s")
    typed = list(keys(choices))
    times = []
    for so_far in typed:
        began = time.perf_counter()
        suggestions.matching(so_far, hidden)
        times.append(time.perf_counter() - began)
    known = [(one, tuple(token.text for token in text.tokens(one.text))) for one in choices]
    naive = []
    for so_far in typed[:NAIVE_KEYS]:
        began = time.perf_counter()
        expected = one_by_one(known, so_far, hidden)
        naive.append(time.perf_counter() - began)
        found = {one.text for one in suggestions.matching(so_far, hidden, limit=len(choices))}
        # Of guests and terms that differ in capitals one is offered.
        missing = {each.casefold() for each in expected} - {each.casefold() for each in found}
        if missing:
            raise SystemExit(f"{so_far!r} is not completed to {sorted(missing)[:3]}")
    for name, took in (("suggestions", times), ("one by one", naive)):
        ordered = sorted(1_000 * each for each in took)
        p50, p95, p99 = (ordered[min(int(len(ordered) * part), len(ordered) - 1)] for part in (0.5, 0.95, 0.99))
        print(f"  {name:<12} {len(took):5} keys   p50 {p50:7.2f}   p95 {p95:7.2f}   p99 {p99:7.2f} ms")
    ratio = sorted(naive)[len(naive) // 2] / sorted(times)[len(times) // 2]
    print(f"  at the median {ratio:.0f} times as fast")


if __name__ == "__main__":
    main()
