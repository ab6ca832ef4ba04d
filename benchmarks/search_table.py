"""Forty queries with known answers, typed by hand, and what finds them.

Lines are numbered; a line that begins with a number of spaces continues the sentence of the one before. What is
wanted is the line in which the words begin.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from typing import Any, NamedTuple

from streamarchive.models import InterviewId
from streamarchive.protocols import CueDocument, SearchIndex
from streamarchive.search.query import parse

LINES = """
Welcome to Car Talk, today from the show in Beijing.
We talk about batteries with Zhang Wei, who builds solid
state cells for long distance trucks.
The battery lasts six hundred kilometres on an 800V
platform, and charging takes twelve minutes.
Fast chargers are everywhere now, even in small towns.
I charged it twice on the way here.
Range anxiety is mostly a thing of the past.
Lane keeping works in the rain, L4 does
not, at least not yet.
Nobody wants a car that brakes for no
reason on the motorway.
Don't ask me about Tesla's plans for China.
Large language models are moving into the dashboard.
Our smart cockpit understands what you
mean before you have finished the sentence.
That is what drivers tell us in surveys.
The keeping of lanes is harder in snow.
Models large and small share one language layer.
State of charge is a number, solid evidence is better.
大家好，欢迎收看今天的节目。
我们在北京车展的现场，聊一聊智能
座舱和自动驾驶的未来。
这台车的续航有六百公里，充电只要十
二分钟。
電動車的電池越來越便宜了。
软件定义汽车，这个软件每个月更新。
在台灣他們說軟體，不說別的。
激光雷达能在夜里看见两
百米以外的行人。
埃隆·马斯克说不需要激光雷达。
我用５Ｇ手机连车，延迟很低。
他说高速上的自动泊
车还做不到。
座椅很智能，舱内很安静。
动车不是电动车，自行车也不是。
能座下五个人的座位才算数。
未来的驾驶，自动得很彻底。
百公里电耗只有十三度，很省电。
和 OEM 一起开发 smart cockpit 的团队在上海。
我们的 lane keeping 在雨天也
能用，without any map at all.
北京的冬天对电池不太友好。
二十分钟充满，八百伏平台。
Thank you for watching, see you next time.
谢谢收看，我们下次见。
""".strip().splitlines()


class Case(NamedTuple):
    """What somebody types and the numbers of the lines, from 0, in which it begins."""

    typed: str
    lines: frozenset[int]


def _find(*beginnings: str) -> frozenset[int]:
    """Lines by a part of theirs that no other has."""
    found = []
    for part in beginnings:
        (line,) = [n for n, text in enumerate(LINES) if part in text]
        found.append(line)
    return frozenset(found)


CASES = [
    Case(typed, _find(*parts))
    for typed, *parts in [
        ('"solid state cells"', "We talk about batteries"),
        ('"state cells"', "state cells"),
        ('"800V platform"', "six hundred"),
        ("800V", "six hundred"),
        ('"platform and charging"', "platform, and"),
        ('"lane keeping works"', "Lane keeping works"),
        ('"L4 does not"', "Lane keeping works"),
        ('"for no reason"', "brakes for no"),
        ('"what you mean"', "Our smart cockpit"),
        ('"large language models"', "Large language"),
        ('"range anxiety"', "Range anxiety"),
        ('"smart cockpit"', "Our smart cockpit", "OEM"),
        ("dont", "Don't ask"),
        ("tesla", "Don't ask"),
        ("motorway", "motorway"),
        ("BEIJING", "Welcome"),
        ('"zhang wei"', "We talk about batteries"),
        ('"solid evidence"', "State of charge"),
        ('"keeping of lanes"', "The keeping of lanes"),
        ('"next time"', "Thank you"),
        ("智能座舱", "聊一聊智能"),
        ("座舱和自动驾驶", "座舱和自动"),
        ("续航", "这台车的续航"),
        ("續航", "这台车的续航"),
        ("十二分钟", "充电只要十"),
        ("二分钟", "二分钟。"),
        ("电动车", "電動車", "动车不是"),
        ("電動車", "電動車", "动车不是"),
        ("电池", "電動車", "北京的冬天"),
        ("電池", "電動車", "北京的冬天"),
        ("软件", "软件定义", "軟體"),
        ("两百米", "夜里看见"),
        ("激光雷达", "激光雷达能", "埃隆"),
        ("埃隆马斯克", "埃隆"),
        ("5G手机", "５Ｇ"),
        ("自动泊车", "自动泊"),
        ("自动驾驶", "座舱和自动"),
        ("百公里", "这台车的续航", "百公里电耗"),
        ('"smart cockpit 的团队"', "OEM"),
        ("雨天也能用", "在雨天也"),
    ]
]


def documents() -> list[CueDocument]:
    """The lines as cues of one interview."""
    held = datetime(2026, 4, 25, tzinfo=UTC)
    return [
        CueDocument(
            id=f"line-{n}",
            version=1,
            interview_id=InterviewId("table"),
            start_ms=n * 4_000,
            end_ms=n * 4_000 + 4_000,
            text=text,
            lang="en" if text.isascii() else "zh",
            speaker=None,
            doubtful=False,
            held_at=held,
            following="".join(LINES[n + 1 : n + 2]),
        )
        for n, text in enumerate(LINES)
    ]


class Score(NamedTuple):
    """Means over all queries."""

    recall: float
    precision: float
    missed: list[str]


async def score(ask: Callable[[str], Awaitable[Collection[int]]]) -> Score:
    """How a way to search answers the queries."""
    recalls, precisions, missed = [], [], []
    for case in CASES:
        found = set(await ask(case.typed))
        right = len(found & case.lines)
        recalls.append(right / len(case.lines))
        precisions.append(right / len(found) if found else 1.0)
        if right < len(case.lines):
            missed.append(case.typed)
    return Score(sum(recalls) / len(CASES), sum(precisions) / len(CASES), missed)


async def ours(index: SearchIndex) -> Score:
    """An index of this project that holds `documents()` besides others."""

    async def ask(typed: str) -> Collection[int]:
        found = await index.moments(parse(f"{typed} in:table"), limit=100)
        return [int(hit.document_id.removeprefix("line-")) for hit in found.hits]

    return await score(ask)


async def naive(client: Any, name: str) -> Score:  # noqa: ANN401 - AsyncElasticsearch, imported where it is used
    """One Elasticsearch index as one would first make it: `standard` analyser on the text, `query_string`."""
    mappings = {"properties": {"text": {"type": "text", "analyzer": "standard"}}}
    await client.indices.create(index=name, mappings=mappings)
    for number, text in enumerate(LINES):
        await client.index(index=name, id=str(number), document={"text": text})
    await client.indices.refresh(index=name)

    async def ask(typed: str) -> Collection[int]:
        query = {"query_string": {"query": typed, "default_field": "text", "default_operator": "AND"}}
        answer = await client.search(index=name, query=query, size=100)
        return [int(each["_id"]) for each in answer["hits"]["hits"]]

    try:
        return await score(ask)
    finally:
        await client.indices.delete(index=name)
