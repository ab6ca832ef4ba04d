"""What both engines answer, against an oracle that scans the texts, and page by page."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamarchive.models import InterviewId
from streamarchive.protocols import (
    CueDocument,
    InterviewDocument,
    Moments,
    Query,
    Results,
    SearchIndex,
    Sort,
    Tombstone,
    Total,
)
from streamarchive.search import portions
from streamarchive.search.query import parse
from tests.contract.search_oracle import Document, Oracle
from tests.contract.test_search import (
    ENGINES,
    _address,
    _nonsense,
    cue,
    documents,
    find,
    interviews,
    marked,
    opened,
    put,
    seen,
)

pytestmark = pytest.mark.usefixtures("patient_search")
FIRST = datetime(2024, 12, 1, 9, tzinfo=UTC)
WORDS = [
    "car", "cars", "battery", "batteries", "charge", "charging", "the", "the", "zhang", "wei", "L4", "5G", "800V",
    "800", "V", "智能", "座舱", "车", "的", "的", "软件", "軟體", "張", "伟", "smart", "cockpit",
]  # fmt: skip
_T = TypeVar("_T")


def corpus() -> list[Document]:
    """Thirty interviews of up to fourteen cues; words are few, so they meet often, across borders too."""
    source = random.Random(11)

    def line(most: int = 6) -> str:
        return source.choice(["", " ", " "]).join(source.choices(WORDS, k=source.randint(1, most)))

    found: list[Document] = []
    for number in range(30):
        name = InterviewId(f"int{number}")
        held = FIRST + number * timedelta(days=9)
        if number % 3:
            found.append(InterviewDocument(name, 1, name, line(), held))
        texts = [line() for _ in range(source.randint(1, 14))]
        starts = sorted(source.sample(range(0, 200_000, 500), len(texts)))
        for n, (text, start) in enumerate(zip(texts, starts, strict=True)):
            found.append(
                CueDocument(
                    id=f"{name}-{n}",
                    version=1,
                    interview_id=name,
                    start_ms=start,
                    end_ms=start + 400,
                    text=text,
                    lang=source.choice(["en", "zh"]),
                    speaker=source.choice([None, "Zhang Wei", "李伟", "Anna"]),
                    doubtful=source.random() < 0.2,
                    held_at=held,
                    following=texts[n + 1] if n + 1 < len(texts) else "",
                )
            )
    return found


CORPUS = corpus()
ORACLE = Oracle(CORPUS)


@pytest.fixture(params=ENGINES, scope="module")
def filled_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    async def fill(url: str) -> None:
        async with opened(url) as index:
            await put(index, *CORPUS)

    with _address(request, tmp_path_factory.mktemp("filled")) as address:
        with ThreadPoolExecutor() as thread:  # apart from the event loops of the tests
            thread.submit(asyncio.run, fill(address)).result()
        yield address


@pytest.fixture
async def filled(filled_url: str) -> AsyncIterator[SearchIndex]:
    """What `CORPUS` has, to read."""
    async with opened(filled_url) as index:
        yield index


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with _address(request, tmp_path_factory.mktemp("index")) as address:
        yield address


@pytest.fixture
async def index(url: str) -> AsyncIterator[SearchIndex]:
    """An empty one."""
    async with opened(url) as index:
        await index.prepare()
        yield index


# --- against the oracle -----------------------------------------------------------------------------------

_PHRASES = st.builds(
    lambda words, between: between.join(words),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=4),
    st.sampled_from(["", " "]),
)
_PARTS = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(WORDS),
    _PHRASES.map(lambda phrase: f'"{phrase}"'),
    _PHRASES,
    st.sampled_from(
        ["-the", "-的", '-"the car"', "lang:zh", "lang:en", "speaker:伟", "speaker:zhang", "in:int7"]
    ),
)
QUERIES = st.lists(_PARTS, min_size=1, max_size=4).map(lambda parts: parse(" ".join(parts)))


@given(query=QUERIES, sort=st.sampled_from(list(Sort)))
@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_both_engines_answer_as_a_scan_of_all_texts_does(filled_url: str, query: Query, sort: Sort) -> None:
    async def answers() -> tuple[Results, Moments]:
        async with opened(filled_url) as index:
            return (
                await index.search(query, sort=sort, limit=100, moments=100),
                await index.moments(query, sort=sort, limit=1_000),
            )

    results, moments = asyncio.run(answers())
    expected = ORACLE.interviews(query, sort)
    assert {str(e.interview_id): [hit.document_id for hit in e.moments] for e in results.interviews} == expected
    assert interviews(results) == list(expected)
    assert [hit.document_id for hit in moments.hits] == ORACLE.moments(query, sort)
    assert results.total == moments.total == Total(len(moments.hits))
    assert results.total_interviews == Total(len(expected))
    assert all(hit.spans for hit in moments.hits)


async def test_facets_count_the_moments_of_the_answer(filled: SearchIndex) -> None:
    by_id = {document.id: document for document in CORPUS}
    for typed in ("the", "的", "the 的", "car lang:zh", '"the the"', "battery -the", "nothing"):
        query = parse(typed)
        cues = [by_id[each] for each in ORACLE.moments(query, Sort.NEWEST)]
        facets = await filled.facets(query, hidden=[InterviewId("int3")])
        shown = [each for each in cues if isinstance(each, CueDocument) and each.interview_id != "int3"]
        assert facets.langs == Counter(each.lang for each in shown)
        assert facets.speakers == Counter(each.speaker for each in shown if each.speaker)
        assert facets.interviews == Counter(each.interview_id for each in shown)
        assert list(facets.langs.values()) == sorted(facets.langs.values(), reverse=True)
        assert facets.exact


async def test_3000_fuzzed_queries_are_no_errors(filled: SearchIndex) -> None:
    for number, typed in enumerate(_nonsense(3_000)):
        query = parse(typed)
        answer: Results | Moments
        if number % 2:
            answer = await filled.search(query, limit=3, cursor=typed)
        else:
            answer = await filled.moments(query, limit=3, cursor=typed)
        assert answer.total.value >= 0, typed


# --- borders, stems, wordings -----------------------------------------------------------------------------


def _said(*lines: str, gap_ms: int = 4_000) -> list[CueDocument]:
    return [
        replace(cue(str(n), "one", text, at_ms=n * gap_ms), following="".join(lines[n + 1 : n + 2]))
        for n, text in enumerate(lines)
    ]


@pytest.mark.parametrize(
    ("typed", "where", "marks"),
    [
        ('"large language models"', {"0"}, ["large language"]),
        ('"language models"', {"0"}, ["language"]),
        ('"models work"', {"1"}, ["models work"]),
        ("智能座舱", {"2"}, ["智能"]),
        ("能座", {"2"}, ["能"]),
        ("智能座", {"2"}, ["智能"]),
        ("座舱", {"3"}, ["座舱"]),
        ('"work 我们"', {"1"}, ["work"]),
        ('"work 我"', {"1"}, ["work"]),
        ('"language work"', set(), []),
        ("舱我", set(), []),
    ],
)
async def test_a_phrase_across_a_border_is_found_where_it_begins(
    index: SearchIndex, typed: str, where: set[str], marks: list[str]
) -> None:
    await put(index, *_said("We train large language", "models work.", "我们聊智能", "座舱的未来", "我"))
    results = await find(index, typed)
    assert documents(results) == where
    assert marked(results) == marks
    crossing = [hit.crosses_border for each in results.interviews for hit in each.moments]
    assert crossing == [(bool(where) and where <= {"0", "2"}) or "work 我" in typed] * len(where)


async def test_what_the_next_cue_says_is_not_taken_for_this_ones(index: SearchIndex) -> None:
    await put(index, *_said("nothing here", "battery range", "座舱"))
    assert documents(await find(index, "battery")) == {"1"}
    assert documents(await find(index, '"battery range"')) == {"1"}
    assert documents(await find(index, "座舱")) == {"2"}
    assert documents(await find(index, "here -battery")) == {"0"}
    assert documents(await find(index, 'here -"here battery"')) == set()


async def test_other_forms_of_a_word_are_found_after_the_word_itself(index: SearchIndex) -> None:
    await put(index, *_said("charging stations", "it charged", "the charge"))
    moments = await index.moments(parse("charge"))
    assert [hit.document_id for hit in moments.hits] == ["2", "0", "1"]
    assert [hit.text[a:b] for hit in moments.hits for a, b in hit.spans] == ["charge", "charging", "charged"]
    assert documents(await find(index, '"charge"')) == {"2"}


@pytest.mark.parametrize(
    ("typed", "where"),
    [
        ("軟體", {"0", "1", "2"}),
        ("软件", {"0", "1", "2"}),
        ("800V", {"3", "4"}),
        ("800 v", {"3", "4"}),
        ("L 4", {"5"}),
    ],
)
async def test_other_wordings_are_found(index: SearchIndex, typed: str, where: set[str]) -> None:
    await put(index, *_said("这个软件", "這個軟體", "這個軟件", "an 800V bus", "800 V there", "at L4"))
    results = await find(index, typed, moments=10)
    assert documents(results) == where
    assert len(marked(results)) == len(where) + (typed == "800 v")


async def test_alternatives_meet_a_clause_each(index: SearchIndex) -> None:
    await put(index, *_said("智能座舱很好", "a smart idea", "in the cockpit"))
    query = parse("smart cockpit")
    query = replace(query, clauses=tuple(replace(c, alternatives=("智能座舱",)) for c in query.clauses))
    moments = await index.moments(query)
    assert [hit.document_id for hit in moments.hits] == ["0", "1", "2"]


async def test_words_that_resemble_one_are_known(index: SearchIndex) -> None:
    await put(index, *_said("battery batteries lattice", "cockpit cockpits", "battery", "智能 座舱 L4"))
    assert await index.similar("battory") == ("battery",)
    assert await index.similar("cokcpit") == ("cockpit",)
    assert await index.similar("BATTERYS") == ("battery", "batteries")
    for word in ("", "xyz", "智能", "two words", "zzzzzz"):
        assert await index.similar(word) == ()


# --- pages ------------------------------------------------------------------------------------------------


async def _pages(ask: Callable[[str], Awaitable[_T]], between: Callable[[int], Awaitable[None]]) -> list[_T]:
    pages, cursor = [], ""
    while not pages or cursor:
        pages.append(await ask(cursor))
        cursor = pages[-1].next_cursor  # type: ignore[attr-defined]
        await between(len(pages))
    return pages


async def _nothing(_number: int) -> None:
    """Nothing happens between two pages."""


@pytest.mark.parametrize("sort", Sort)
@pytest.mark.parametrize("typed", ["the", "的 car", "charge lang:zh"])
async def test_pages_together_are_the_whole(filled: SearchIndex, sort: Sort, typed: str) -> None:
    query = parse(typed)
    pages = await _pages(lambda cursor: filled.moments(query, sort=sort, cursor=cursor, limit=7), _nothing)
    whole = ORACLE.moments(query, sort)
    assert [hit.document_id for page in pages for hit in page.hits] == whole
    assert {page.total for page in pages} == {Total(len(whole))}
    grouped = await _pages(lambda cursor: filled.search(query, sort=sort, cursor=cursor, limit=3), _nothing)
    assert [str(each.interview_id) for page in grouped for each in page.interviews] == list(
        ORACLE.interviews(query, sort)
    )


@pytest.mark.parametrize("sort", Sort)
async def test_pages_neither_repeat_nor_skip_while_new_cues_arrive(index: SearchIndex, sort: Sort) -> None:
    def said(interview: int, number: int) -> CueDocument:
        at = cue(f"{interview}-{number}", f"int{interview}", "words", at_ms=number * 1_000)
        return replace(at, held_at=FIRST + interview * timedelta(days=1))

    old = [said(interview, number) for interview in range(5, 15) for number in range(10, 13)]
    await put(index, *old)

    async def more(number: int) -> None:
        for interview in (0, 7, 14, 20):
            await index.write([said(interview, 20 + number), said(interview, number)])
        await seen(index)

    query = parse("words")
    pages = await _pages(lambda cursor: index.moments(query, sort=sort, cursor=cursor, limit=4), more)
    found = [hit.document_id for page in pages for hit in page.hits]
    assert len(found) == len(set(found))
    assert {each.id for each in old} <= set(found)
    grouped = await _pages(lambda cursor: index.search(query, sort=sort, cursor=cursor, limit=2), more)
    shown = [each.interview_id for page in grouped for each in page.interviews]
    assert len(shown) == len(set(shown))
    assert {each.interview_id for each in old} <= set(shown)


@pytest.mark.parametrize("sort", Sort)
@pytest.mark.parametrize(
    "typed", ["the", "的 car", "the 的 battery", "charge lang:zh", "the speaker:zhang -的", "软件 in:int7"]
)
async def test_what_is_read_in_portions_is_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sort: Sort, typed: str
) -> None:
    """The embedded index, as if a handful of matches were very many."""
    monkeypatch.setattr(portions, "MAX_MATCHES", 3)
    monkeypatch.setattr(portions, "MAX_INTERVIEWS", 2)
    query = parse(typed)
    async with opened(f"sqlite:///{tmp_path / 'search.sqlite'}") as index:
        await put(index, *CORPUS)
        pages = await _pages(lambda cursor: index.moments(query, sort=sort, cursor=cursor, limit=4), _nothing)
        grouped = await _pages(lambda cursor: index.search(query, sort=sort, cursor=cursor, limit=4), _nothing)
    found = [hit.document_id for page in pages for hit in page.hits]
    shown = [str(each.interview_id) for page in grouped for each in page.interviews]
    whole, interviews = ORACLE.moments(query, sort), list(ORACLE.interviews(query, sort))
    if sort is Sort.RELEVANCE:  # the order is that of each portion
        found, whole, shown, interviews = sorted(found), sorted(whole), sorted(shown), sorted(interviews)
    assert found == whole
    assert shown == interviews
    assert pages[-1].total == Total(len(whole))
    assert grouped[-1].total_interviews == Total(len(interviews))
    assert all(page.total.value <= len(whole) for page in pages)


async def test_a_cursor_that_makes_no_sense_asks_for_the_beginning(filled: SearchIndex) -> None:
    query = parse("the")
    first = await filled.moments(query, limit=3)
    for cursor in ("x", "!!", "é", "W10", "eyJhIjoxfQ", "A" * 5_000, "WzEsMiwzXQ", "WyJ4IiwxLDEsMSwxXQ"):
        assert await filled.moments(query, limit=3, cursor=cursor) == first
        assert (await filled.search(query, limit=3, cursor=cursor)).interviews
    assert (await filled.moments(query, limit=0)).hits == ()


# --- what changes -----------------------------------------------------------------------------------------


async def test_an_interview_may_be_held_at_another_time(index: SearchIndex) -> None:
    def at(day: int, version: int, interview: str) -> InterviewDocument:
        held = FIRST + timedelta(days=day)
        return InterviewDocument(interview, version, InterviewId(interview), "words of its own", held)

    await put(index, at(1, 1, "one"), at(2, 1, "two"))
    await put(index, *(replace(cue(n, n, "words"), held_at=FIRST + timedelta(days=d)) for n, d in (("one", 1),)))
    assert interviews(await find(index, "words", sort=Sort.NEWEST)) == ["two", "one"]
    moved = replace(cue("c", "one", "words", version=2), held_at=FIRST + timedelta(days=3))
    await put(index, at(3, 2, "one"), moved)
    results = await find(index, "words", sort=Sort.NEWEST)
    assert interviews(results) == ["one", "two"]
    await put(index, Tombstone("c", 3))
    assert documents(await find(index, "words")) == set()
