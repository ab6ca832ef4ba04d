"""The closed world of the demo recogniser: the sentences its checkpoint was trained to hear.

A template such as ``The {part} is {adv} {adj}.`` is filled from the lists of its slots. Lists and
templates, for English and Mandarin, are data beside this module.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from random import Random

from streamarchive.errors import UsageError

LANGUAGES = ("en", "zh")

_SLOT = re.compile(r"\{(\w+)\}")
_ARTICLE = re.compile(r"\ba (?=[aeiou])")
_LONGEST_MANDARIN = 28
"""Characters; longer sentences were not in the training."""


@dataclass(frozen=True, slots=True)
class Template:
    """A sentence with holes; it is its own name."""

    text: str

    @property
    def slots(self) -> tuple[str, ...]:
        """The names of its holes in order; the same name may come twice."""
        return tuple(_SLOT.findall(self.text))

    @property
    def literals(self) -> tuple[str, ...]:
        """The fixed text before, between and after the holes: one piece more than there are holes."""
        return tuple(_SLOT.split(self.text)[::2])


@dataclass(frozen=True, slots=True)
class Sentence:
    """A filled template: what is said and what its holes were filled with."""

    text: str
    lang: str
    choices: tuple[tuple[str, str], ...]
    """(slot, phrase) in order."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """Templates and slots of one language."""

    language: str
    questions: tuple[Template, ...]
    answers: tuple[Template, ...]
    courtesies: tuple[Template, ...]
    unheard: tuple[Template, ...]
    """Never in the training, though each of their words is."""
    switched: tuple[Template, ...]
    """With words of the other language in them."""
    slots: Mapping[str, tuple[str, ...]]

    def fill(self, template: Template, choices: Sequence[str]) -> Sentence:
        """The sentence with one phrase a hole. Raises `UsageError` where a phrase does not belong there."""
        names = template.slots
        if len(names) != len(choices):
            raise UsageError(f"this sentence has {len(names)} places to fill, but {len(choices)} were given")
        for name, phrase in zip(names, choices, strict=True):
            if phrase not in self.slots[name]:
                raise UsageError(f"{phrase!r} is not one of the phrases that can stand in this place")
        pieces = [template.literals[0]]
        for phrase, literal in zip(choices, template.literals[1:], strict=True):
            pieces += [phrase, literal]
        return Sentence(self._polish("".join(pieces)), self.language, tuple(zip(names, choices, strict=True)))

    def compose(
        self, random: Random, templates: Sequence[Template], topic: Mapping[str, str] | None = None
    ) -> Sentence:
        """A sentence of one of these templates; slots that `topic` names are filled with its phrases."""
        while True:
            sentence = self._compose_once(random, random.choice(templates), topic or {})
            if self.language != "zh" or len(sentence.text) <= _LONGEST_MANDARIN:
                return sentence

    def template(self, text: str) -> Template:
        """The question or answer of this text. Raises `UsageError` if there is none."""
        found = Template(text)
        if found in self.questions or found in self.answers:
            return found
        raise UsageError(f"{text!r} is not a sentence the demo recogniser knows")

    def vocabulary(self) -> frozenset[str]:
        """What the recogniser was trained on: English words, or Mandarin phrases."""
        phrases = {phrase for options in self.slots.values() for phrase in options}
        for template in (*self.questions, *self.answers, *self.courtesies):
            phrases.update(template.literals)
        pattern = r"[\u4e00-\u9fff]+" if self.language == "zh" else r"[A-Za-z']+"
        found = {word for phrase in phrases for word in re.findall(pattern, phrase)}
        return frozenset(found if self.language == "zh" else {word.lower() for word in found} | {"an"})

    def _compose_once(self, random: Random, template: Template, topic: Mapping[str, str]) -> Sentence:
        choices: list[str] = []
        for name in template.slots:
            phrase = topic.get(name)
            if phrase is None or phrase in choices:
                phrase = random.choice([option for option in self.slots[name] if option not in choices])
            choices.append(phrase)
        return self.fill(template, choices)

    def _polish(self, text: str) -> str:
        if self.language != "en":
            return text
        text = _ARTICLE.sub("an ", text)
        return text[0].upper() + text[1:]


@cache
def grammar(language: str) -> Grammar:
    """The grammar of a language code. Raises `UsageError` for one the demo does not speak."""
    if language not in LANGUAGES:
        raise UsageError(f"the demo does not speak {language!r}; it speaks {' and '.join(LANGUAGES)}")
    data = tomllib.loads(files(__package__).joinpath("data", f"grammar-{language}.toml").read_text("utf-8"))

    def templates(kind: str) -> tuple[Template, ...]:
        return tuple(Template(text) for text in data.get(kind, ()))

    return Grammar(
        language=data["language"],
        questions=templates("questions"),
        answers=templates("answers"),
        courtesies=templates("courtesies"),
        unheard=templates("unheard"),
        switched=templates("switched"),
        slots={name: tuple(options) for name, options in data["slots"].items()},
    )
