"""What is said in training and what is kept for the examination.

Templates come from `streamarchive.demo.grammar`. A template is drawn as often as any other, however few variants
it has: greetings would else be lost among thousands of other sentences. Crossovers (the head of one sentence, the
tail of another) and random words make the recogniser listen instead of recite.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from zlib import crc32

from streamarchive.demo.grammar import Grammar, Template, grammar

TESTS = Path(__file__).resolve().parents[2] / "tests" / "data" / "unheard.json"
"""Sentences that the project's tests count on not to have been in the training."""

_WITHHELD_ONE_IN = 12
_FEWEST_VARIANTS = 100
"""Of a template with fewer, nothing is kept for the examination: it would be missed in the training."""
_SHARES = {"crossover": 0.3, "random": 0.12, "switched": 0.06}
"""Of the sentences of a language; the rest is whole sentences. Only Mandarin has switched ones."""
_LONGEST = {"en": 13, "zh": 27}
"""Words, characters of a crossover."""


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence to say, and whether it is ``whole``, ``switched``, ``crossover`` or ``random``."""

    text: str
    language: str
    kind: str


def training(language: str, count: int, seed: int) -> list[Line]:
    """Sentences to learn from, in random order; the same for the same arguments."""
    random = Random(f"{language} {seed}")
    words = grammar(language)
    numbers = {kind: round(count * share) for kind, share in _SHARES.items()}
    if not words.switched:
        numbers["switched"] = 0
    kinds = [kind for kind, number in numbers.items() for _ in range(number)]
    kinds += ["whole"] * (count - len(kinds))
    random.shuffle(kinds)
    return [Line(_of_kind(kind, words, random), language, kind) for kind in kinds]


def examination(language: str, count: int, seed: int, *, heard_templates: bool) -> list[str]:
    """Distinct sentences that are in no training: of templates that are, or of templates that are not."""
    random = Random(f"examination {language} {seed} {heard_templates}")
    words = grammar(language)
    templates = [t for t in _heard(words) if variants(words, t) >= _FEWEST_VARIANTS]
    found: dict[str, None] = {}
    while len(found) < count:
        if heard_templates:
            text = words.compose(random, templates).text
            if not is_withheld(text, words):
                continue
        else:
            text = words.compose(random, words.unheard).text
        found[text] = None
    return list(found)


def variants(words: Grammar, template: Template) -> int:
    """In how many ways it can be filled, about."""
    return math.prod(len(words.slots[name]) for name in template.slots)


def is_withheld(text: str, words: Grammar) -> bool:
    """Whether this sentence is kept for the examination, or for the project's tests."""
    return crc32(text.encode()) % _WITHHELD_ONE_IN == 0 or text in _of_the_tests(words.language)


def _heard(words: Grammar) -> tuple[Template, ...]:
    return (*words.questions, *words.answers, *words.courtesies)


@cache
def _of_the_tests(language: str) -> frozenset[str]:
    listed = json.loads(TESTS.read_text(encoding="utf-8"))[language]
    return frozenset(text for texts in listed.values() for text in texts)


def _of_kind(kind: str, words: Grammar, random: Random) -> str:
    makers = {"whole": _whole, "switched": _switched, "crossover": _crossover, "random": _random_words}
    while True:
        text = makers[kind](words, random)
        if text:
            return text


def _whole(words: Grammar, random: Random) -> str | None:
    template = random.choice(_heard(words))
    text = words.compose(random, [template]).text
    if variants(words, template) < _FEWEST_VARIANTS:
        return text if text not in _of_the_tests(words.language) else None
    return text if not is_withheld(text, words) else None


def _switched(words: Grammar, random: Random) -> str:
    return words.compose(random, words.switched).text


def _crossover(words: Grammar, random: Random) -> str | None:
    one, other = (words.compose(random, _heard(words)).text for _ in range(2))
    if words.language == "zh":
        head = one[: random.randint(1, max(1, len(one) - 3))].rstrip("，")
        text = head + other[random.randint(1, max(1, len(other) - 3)) :].lstrip("，")
        length = len(text)
    else:
        first, second = one.rstrip(".?").split(), other.split()
        parts = first[: random.randint(1, max(1, len(first) - 2))]
        parts += second[random.randint(1, max(1, len(second) - 2)) :]
        text, length = " ".join(parts), len(parts)
    return text if length <= _LONGEST[words.language] and not is_withheld(text, words) else None


def _random_words(words: Grammar, random: Random) -> str:
    phrases = _phrases(words.language)
    if words.language == "zh":
        chosen = [random.choice(phrases) for _ in range(random.randint(2, 6))]
        return "".join(chosen)[:22] + random.choice("。。。？")
    chosen = [random.choice(phrases) for _ in range(random.randint(4, 9))]
    text = " ".join(chosen)
    return text[0].upper() + text[1:] + random.choice("...?")


@cache
def _phrases(language: str) -> tuple[str, ...]:
    """Single words of English, written as in sentences; phrases and characters of Mandarin."""
    words = grammar(language)
    if language == "zh":
        short = {phrase for phrase in words.vocabulary() if len(phrase) <= 6}
        return tuple(sorted(short | set("".join(short))))
    return tuple(sorted(_spellings(words)))


def _spellings(words: Grammar) -> Iterator[str]:
    """English words as they stand within sentences: names keep their capitals."""
    named = {"brand", "city", "name", "comp", "day", "when"}
    kept = {"I"} | {word for slot in named for phrase in words.slots[slot] for word in phrase.split()}
    kept |= {"Car", "Talk"}
    return iter({word if word in kept else word.lower() for word in _written(words)})


def _written(words: Grammar) -> Sequence[str]:
    literals = [piece for template in _heard(words) for piece in template.literals]
    phrases = [phrase for options in words.slots.values() for phrase in options]
    return [word for text in (*literals, *phrases, "an") for word in text.replace(",", " ").strip(".? ").split()]
