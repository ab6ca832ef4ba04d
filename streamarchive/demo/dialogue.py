"""Who is on air and what they say: a host asks, a guest answers, in blocks of one language each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from streamarchive.demo.grammar import LANGUAGES, Grammar, Sentence, Template, grammar

_EXCHANGES_A_BLOCK = (2, 4)
"""Questions before the language changes, at least and at most."""
_ANSWERS_A_QUESTION = (1, 3)
_STAYS_ON_TOPIC = 0.8
"""How often an answer takes up a phrase of its question, where a template allows it."""

_GUESTS = (
    {"en": "Professor Lee", "zh": "李教授"},
    {"en": "Doctor Wang", "zh": "王博士"},
    {"en": "Manager Liu", "zh": "刘经理"},
    {"en": "Teacher Zhao", "zh": "赵老师"},
    {"en": "Director Zhou", "zh": "周主任"},
    {"en": "Miss Wu", "zh": "吴小姐"},
)
_COMPANIES = (
    {"en": "Blue River Motors", "zh": "蓝河汽车"},
    {"en": "Northern Star", "zh": "北方之星"},
    {"en": "Green Wheel", "zh": "绿轮公司"},
    {"en": "Silk Road Systems", "zh": "东方智行"},
    {"en": "Sky Chip", "zh": "天路科技"},
)
_TOPICS = (
    {"en": "the smart cockpit", "zh": "智能座舱"},
    {"en": "autonomous driving", "zh": "自动驾驶"},
    {"en": "the lidar", "zh": "激光雷达"},
    {"en": "the voice assistant", "zh": "语音助手"},
    {"en": "the operating system", "zh": "操作系统"},
    {"en": "the parking assistant", "zh": "自动泊车"},
    {"en": "the sensor", "zh": "传感器"},
    {"en": "the digital map", "zh": "高精地图"},
)


@dataclass(frozen=True, slots=True)
class Programme:
    """What one broadcast is called and who its guest is, in both languages; the same for the same seed."""

    titles: Mapping[str, str]
    descriptions: Mapping[str, str]
    guest: Mapping[str, str]
    affiliation: Mapping[str, str]
    topic: Mapping[str, str]

    @classmethod
    def draw(cls, seed: int) -> Programme:
        """A guest, a company and a topic."""
        random = Random(seed)
        guest, company, topic = random.choice(_GUESTS), random.choice(_COMPANIES), random.choice(_TOPICS)
        return cls(
            titles={
                "en": f"Car Talk: {topic['en']}, with {guest['en']}",
                "zh": f"车谈：{topic['zh']}，对话{guest['zh']}",
            },
            descriptions={
                "en": "A synthesised interview in two languages: every sentence is composed as it goes.",
                "zh": "合成的访谈节目，中英文交替：每句话都是即时生成的。",
            },
            guest=guest,
            affiliation=company,
            topic=topic,
        )


@dataclass(frozen=True, slots=True)
class Utterance:
    """A sentence and who says it: ``host`` or ``guest``."""

    speaker: str
    sentence: Sentence


def dialogue(seed: int, programme: Programme, languages: Sequence[str] = LANGUAGES) -> Iterator[Utterance]:
    """Endless questions and answers, the languages taking turns; the same for the same arguments."""
    random = Random(seed)
    turn = random.randrange(len(languages))
    for language in itertools.cycle((*languages[turn:], *languages[:turn])):
        words = grammar(language)
        topic = {"tech": programme.topic[language], "comp": programme.affiliation[language]}
        for _ in range(random.randint(*_EXCHANGES_A_BLOCK)):
            yield from _exchange(random, words, topic)


def _exchange(random: Random, words: Grammar, topic: Mapping[str, str]) -> Iterator[Utterance]:
    question = words.compose(random, words.questions, topic if random.random() < _STAYS_ON_TOPIC else None)
    yield Utterance("host", question)
    asked = dict(question.choices)
    for _ in range(random.randint(*_ANSWERS_A_QUESTION)):
        related = _related(words, asked) if random.random() < _STAYS_ON_TOPIC else ()
        yield Utterance("guest", words.compose(random, related or words.answers, asked))


def _related(words: Grammar, asked: Mapping[str, str]) -> tuple[Template, ...]:
    """The answers that can be about the thing, part or technology that was asked about."""
    subjects = {"tech", "part", "thing", "car"} & set(asked)
    return tuple(answer for answer in words.answers if subjects & set(answer.slots))
