"""How fast both engines load, answer and learn of new cues, and what they find that a naive set-up does not.

    python benchmarks/search.py [--cues 1000000] [--engine embedded] [--engine elasticsearch]

The archive is made up (see `search_corpus.py`), half English, half Chinese, with the word frequencies of natural
language. Each engine is loaded, warmed up, asked every kind of query one after the other, and asked again while
fifty cues a second arrive. Elasticsearch is started with a heap of 1 GB, or named by TEST_ELASTICSEARCH_URL.
Everything is in temporary folders. With a million cues it takes about twenty minutes on two cores.

Wanted, of 100 queries 95 within: embedded 20 ms, a common word by interviews 60 ms, facets 150 ms more;
Elasticsearch 50 ms, by interviews or with facets 150 ms. At least 3,000 cues a second loaded; a cue findable
within 1.5 s of its commit.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import platform
import random
import resource
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import search_table
from elasticsearch import AsyncElasticsearch
from search_corpus import Corpus

from streamarchive.protocols import Portion, Query, SearchIndex, Sort
from streamarchive.search import open_index
from streamarchive.search.query import parse
from streamarchive.services import open_services
from tests import factories, index_faults, services
from tests.indexes import remove_index
from tests.waiting import until_async
from workers import indexer

PORTION = 2_000
WARM_UP = 60
ARRIVALS = 50
"""Cues a second."""
_STEP_SECONDS = 0.2
FRESH = 40
DEEP_PAGES = 30

Ask = Callable[[SearchIndex, Query], Awaitable[object]]


@dataclass(frozen=True)
class Kind:
    """What is typed, how it is asked, and in how many milliseconds 95 of 100 shall be answered."""

    name: str
    typed: Callable[[Corpus, random.Random], str]
    ask: Ask
    embedded_ms: float
    elastic_ms: float


def _common(corpus: Corpus, source: random.Random) -> str:
    return source.choice(corpus.english[:20])


def _rare(corpus: Corpus, source: random.Random) -> str:
    return source.choice(corpus.english[2_000:20_000])


def _two(corpus: Corpus, source: random.Random) -> str:
    return f"{corpus.part(source, 'en', 1)} {corpus.part(source, 'en', 1)}"


def _phrase(corpus: Corpus, source: random.Random) -> str:
    return f'"{corpus.part(source, "en", 3)}"'


def _mixed(corpus: Corpus, source: random.Random) -> str:
    return f"{corpus.part(source, 'en', 1)} {corpus.part(source, 'zh', 2)}"


async def _moments(index: SearchIndex, query: Query) -> object:
    return await index.moments(query)


async def _grouped(index: SearchIndex, query: Query) -> object:
    return await index.search(query)


async def _facets(index: SearchIndex, query: Query) -> object:
    return await index.facets(query)


KINDS = [
    Kind("common word", _common, _moments, 20, 50),
    Kind("rare word", _rare, _moments, 20, 50),
    Kind("two words", _two, _moments, 20, 50),
    Kind("phrase", _phrase, _moments, 20, 50),
    Kind("two Han characters", lambda corpus, source: corpus.part(source, "zh", 2), _moments, 20, 50),
    Kind("seven Han characters", lambda corpus, source: corpus.part(source, "zh", 7), _moments, 20, 50),
    Kind("mixed", _mixed, _moments, 20, 50),
    Kind("common word by interviews", _common, _grouped, 60, 150),
    Kind("two words by interviews", _two, _grouped, 60, 150),
    Kind("facets of a common word", _common, _facets, 150, 150),
    Kind("facets of two words", _two, _facets, 150, 150),
]


# --- measuring ------------------------------------------------------------------------------------------


async def measure(
    name: str, index: SearchIndex, url: str, corpus: Corpus, count: int, size: Callable[[], Awaitable[str]]
) -> None:
    """Everything about one engine."""
    print(f"\n{name}: {corpus.size:,} cues")
    await index.prepare()
    await index.rebuild(_Loading(corpus).source)
    print(f"  {await size()}")
    await index.write(search_table.documents())
    await _warmed(index, corpus)
    await _questions(index, corpus, count, name, "idle")
    await _deep_page(index, corpus, count, name, "idle")
    async with _arrivals(index, corpus):
        await _questions(index, corpus, count, name, "busy")
        await _deep_page(index, corpus, count, name, "busy")
        await _freshness(index, url)


class _Loading:
    """Feeds a rebuild and reports its rate, without the time it takes to make things up."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    async def source(self, after: int) -> AsyncIterator[Portion]:
        documents = itertools.islice(self._corpus.documents(), after, None)
        began, making, given = time.perf_counter(), 0.0, after
        while True:
            asked = time.perf_counter()
            portion = list(itertools.islice(documents, PORTION))
            making += time.perf_counter() - asked
            if not portion:
                break
            given += len(portion)
            yield Portion(portion, given)
        took = time.perf_counter() - began - making
        print(f"  loaded in {took:.0f} s: {self._corpus.size / took:,.0f} cues a second (wanted 3,000)")


async def _warmed(index: SearchIndex, corpus: Corpus) -> None:
    """Caches are filled and a server's code is compiled before anything is measured."""
    for kind in KINDS:
        source = random.Random(kind.name)
        await _timed(kind.ask, index, [parse(kind.typed(corpus, source)) for _ in range(WARM_UP)])


async def _questions(index: SearchIndex, corpus: Corpus, count: int, name: str, state: str) -> None:
    for kind in KINDS:
        source = random.Random(kind.name + state)
        wanted = kind.embedded_ms if name == "embedded" else kind.elastic_ms
        queries = [parse(kind.typed(corpus, source)) for _ in range(count)]
        _report(f"{state}: {kind.name}", await _timed(kind.ask, index, queries), wanted)


async def _timed(ask: Ask, index: SearchIndex, queries: list[Query]) -> list[float]:
    times = []
    for query in queries:
        began = time.perf_counter()
        await ask(index, query)
        times.append(time.perf_counter() - began)
    return times


async def _deep_page(index: SearchIndex, corpus: Corpus, count: int, name: str, state: str) -> None:
    """The thirtieth page and those after it, of common words; as fast as the first ones."""
    times: list[float] = []
    for word in itertools.islice(itertools.cycle(corpus.english[:10]), count):
        query, cursor = parse(word), ""
        for page in range(DEEP_PAGES + 10):
            began = time.perf_counter()
            answer = await index.moments(query, cursor=cursor, sort=Sort.RELEVANCE)
            if page >= DEEP_PAGES:
                times.append(time.perf_counter() - began)
            cursor = answer.next_cursor
            if not cursor:
                break
        if len(times) >= count:
            break
    if times:
        _report(f"{state}: deep page", times[:count], 20 if name == "embedded" else 50)


@contextlib.asynccontextmanager
async def _arrivals(index: SearchIndex, corpus: Corpus) -> AsyncIterator[None]:
    """Fifty cues a second from fifty interviews on air, as the indexer brings them."""

    async def arrive() -> None:
        source = random.Random(1)
        for first in itertools.count(0, round(ARRIVALS * _STEP_SECONDS)):
            due = time.perf_counter() + _STEP_SECONDS
            await index.write(
                [corpus.live(n, source) for n in range(first, first + round(ARRIVALS * _STEP_SECONDS))]
            )
            await asyncio.sleep(max(due - time.perf_counter(), 0))

    task = asyncio.create_task(arrive())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _freshness(index: SearchIndex, url: str) -> None:
    """From the commit of a cue in a catalogue, by way of its outbox and the indexer, until a search finds it."""
    times, stop = [], asyncio.Event()
    with tempfile.TemporaryDirectory() as folder:
        async with open_services(index_faults.settings_of(Path(folder), url)) as archive:
            air = await factories.on_air(archive.database)
            indexing = asyncio.create_task(indexer.run(archive, stop))
            try:
                for number in range(FRESH):
                    said = factories.line(number * 2_000, f"fresh{number}word")
                    await factories.heard(archive.database, air.recording_id, said)
                    began = time.perf_counter()
                    await until_async(partial(_finds, index, said.text), f"{said.text} to be found")
                    times.append(time.perf_counter() - began)
            finally:
                stop.set()
                await indexing
    _report("busy: a committed cue is found", times, 1_500)


async def _finds(index: SearchIndex, word: str) -> bool:
    return bool((await index.moments(parse(word))).hits)


def _report(name: str, times: list[float], wanted: float | None) -> None:
    ordered = sorted(1_000 * each for each in times)
    p50, p95, p99 = (ordered[min(int(len(ordered) * part), len(ordered) - 1)] for part in (0.5, 0.95, 0.99))
    verdict = "" if wanted is None else f"   wanted {wanted:4.0f} {'ok' if p95 <= wanted else 'MISSED'}"
    print(f"  {name:<34} p50 {p50:7.1f}   p95 {p95:7.1f}   p99 {p99:7.1f} ms{verdict}", flush=True)


# --- the two engines ------------------------------------------------------------------------------------


async def embedded(corpus: Corpus, count: int) -> search_table.Score:
    """An SQLite file in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'search.sqlite'}"
        index = open_index(url)

        async def size() -> str:
            held = await asyncio.to_thread(_size, folder) / 1e6
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            return f"{held:,.0f} MB on disk; this process took at most {peak:,.0f} MB of memory"

        try:
            await measure("embedded", index, url, corpus, count, size)
            return await search_table.ours(index)
        finally:
            await index.close()


def _size(folder: str) -> int:
    return sum(file.stat().st_size for file in Path(folder).iterdir())


async def elasticsearch(corpus: Corpus, count: int) -> tuple[search_table.Score, search_table.Score]:
    """A server of its own; the score of this project's index and of a naive one."""
    with _server() as server:
        url = f"{server}/benchmark-search"
        index = open_index(url)
        client = AsyncElasticsearch(server)

        async def size() -> str:
            stats = await client.indices.stats(index="benchmark-search", metric="store")
            store = stats["_all"]["total"]["store"]["size_in_bytes"]
            (node,) = (await client.nodes.stats(metric="jvm"))["nodes"].values()
            used = node["jvm"]["mem"]["heap_used_in_bytes"]
            return f"{store / 1e6:,.0f} MB on disk; heap in use {used / 1e6:,.0f} MB"

        try:
            await measure("elasticsearch", index, url, corpus, count, size)
            await client.indices.refresh(index="benchmark-search")
            return await search_table.ours(index), await search_table.naive(client, "benchmark-naive")
        finally:
            await client.close()
            await index.close()
            await asyncio.to_thread(remove_index, url)


@contextlib.contextmanager
def _server() -> Iterator[str]:
    if given := os.environ.get("TEST_ELASTICSEARCH_URL"):
        yield given.rstrip("/")
        return
    with services.elasticsearch_node(heap="1g") as node:
        yield node.url


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cues", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=100, help="of each kind")
    parser.add_argument("--engine", action="append", choices=["embedded", "elasticsearch"])
    arguments = parser.parse_args()
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {os.cpu_count()} cores, Python {platform.python_version()},")
    print(f"SQLite {sqlite3.sqlite_version}, Elasticsearch {services.ELASTICSEARCH_VERSION}")
    corpus = Corpus(arguments.cues)
    engines = arguments.engine or ["embedded", "elasticsearch"]
    scores: dict[str, search_table.Score] = {}
    if "embedded" in engines:
        scores["embedded"] = asyncio.run(embedded(corpus, arguments.queries))
    if "elasticsearch" in engines:
        scores["elasticsearch"], scores["naive"] = asyncio.run(elasticsearch(corpus, arguments.queries))
    print(f"\n{len(search_table.CASES)} queries with known answers (naive: `standard` analyser, `query_string`)")
    for name, score in scores.items():
        found = f"recall {score.recall:6.1%}   precision {score.precision:6.1%}   {len(score.missed)} missed"
        print(f"  {name:<14} {found}")
        for typed in score.missed:
            print(f"      {typed}")


if __name__ == "__main__":
    main()
