"""What every search index must do, run over the embedded one and over a real Elasticsearch."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from streamarchive.errors import SearchError, SearchUnavailableError, SettingsError
from streamarchive.models import InterviewId
from streamarchive.protocols import (
    CueDocument,
    InterviewDocument,
    Operation,
    Portion,
    Results,
    SearchIndex,
    Source,
    Tombstone,
    Total,
)
from streamarchive.search import open_index
from streamarchive.search.query import parse
from tests.services import free_port
from tests.waiting import until_async

HELD_AT = datetime(2026, 4, 25, 10, 0, tzinfo=UTC)
pytestmark = pytest.mark.usefixtures("patient_search")

ENGINES = ["embedded", "elasticsearch", "elasticsearch_9"]
_urls: dict[int, str] = {}


@contextmanager
def _address(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    if request.param == "embedded":
        yield f"sqlite:///{folder / 'search.sqlite'}"
        return
    address = f"{request.getfixturevalue(f'{request.param}_url')}/test-{uuid4().hex}"
    yield address
    destroy(address)


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An index of this test's own."""
    with _address(request, tmp_path) as address:
        yield address


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[SearchIndex]:
    index = open_index(url)
    _urls[id(index)] = url
    try:
        yield index
    finally:
        await index.close()


@pytest.fixture
async def index(url: str) -> AsyncIterator[SearchIndex]:
    async with opened(url) as index:
        await index.prepare()
        yield index


def ask_server(address: str, method: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(address, method=method)) as answer:
        return json.load(answer)


def destroy(url: str) -> None:
    """Take an index away behind its users' backs."""
    if url.startswith("sqlite:"):
        Path(url.removeprefix("sqlite:///")).unlink()
        return
    server, _, _ = url.rpartition("/")
    for name in ask_server(f"{url}*/_alias", "GET"):
        ask_server(f"{server}/{name}", "DELETE")


def cue(
    document_id: str,
    interview: str,
    text: str,
    *,
    at_ms: int = 0,
    version: int = 1,
    lang: str = "en",
    speaker: str | None = None,
    doubtful: bool = False,
) -> CueDocument:
    return CueDocument(
        id=document_id,
        version=version,
        interview_id=InterviewId(interview),
        start_ms=at_ms,
        end_ms=at_ms + 1000,
        text=text,
        lang=lang,
        speaker=speaker,
        doubtful=doubtful,
        held_at=HELD_AT,
    )


def named(interview: str, text: str, *, version: int = 1) -> InterviewDocument:
    return InterviewDocument(interview, version, InterviewId(interview), text, HELD_AT)


async def find(index: SearchIndex, typed: str, **options: object) -> Results:
    return await index.search(parse(typed), **options)


def documents(results: Results) -> set[str]:
    return {hit.document_id for interview in results.interviews for hit in interview.moments}


def interviews(results: Results) -> list[str]:
    return [str(found.interview_id) for found in results.interviews]


def marked(results: Results) -> list[str]:
    return [
        hit.text[start:end] for found in results.interviews for hit in found.moments for start, end in hit.spans
    ]


async def seen(index: SearchIndex) -> None:
    """Make what has been written visible now; that it becomes so by itself has a test of its own."""
    url = _urls[id(index)]
    if url.startswith("http"):
        await asyncio.to_thread(ask_server, f"{url}/_refresh", "POST")


async def _finds(index: SearchIndex, typed: str) -> bool:
    return (await find(index, typed)).total.value > 0


async def put(index: SearchIndex, *operations: Operation) -> None:
    await index.write(operations)
    await seen(index)


def batches(*lists: Sequence[Operation]) -> Source:
    """These, in as many portions."""

    async def source(after: int) -> AsyncIterator[Portion]:
        for number, each in enumerate(lists, 1):
            if number > after:
                yield Portion(each, number)

    return source


# --- what is found --------------------------------------------------------------------------------------

SAID = {
    "a1": "The battery lasts 600 km on an 800V platform.",
    "a2": "今天我们聊智能座舱，和５Ｇ手机。",
    "a3": "Lane keeping works in the rain with L4.",
    "b1": "電動車的續航很好。",
    "b2": "我们和埃隆·马斯克聊 smart cockpit 的未来",
    "b3": "Don't ask about Tesla's battery platform.",
}


async def _say(url: str) -> None:
    async with opened(url) as index:
        await put(
            index,
            *(cue(name, f"int{name[0]}", text, at_ms=int(name[1]) * 1000) for name, text in SAID.items()),
            named("inta", "Car talk with Zhang Wei 张炜\nBeijing 2026"),
            named("intb", "Night drive\n北京车展"),
        )


@pytest.fixture(params=ENGINES, scope="module")
def spoken_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with _address(request, tmp_path_factory.mktemp("spoken")) as address:
        with ThreadPoolExecutor() as thread:  # apart from the event loops of the tests
            thread.submit(asyncio.run, _say(address)).result()
        yield address


@pytest.fixture
async def spoken(spoken_url: str) -> AsyncIterator[SearchIndex]:
    """What `SAID` has, to read."""
    async with opened(spoken_url) as index:
        yield index


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("battery", {"a1", "b3"}),
        ("BATTERY", {"a1", "b3"}),
        ("ｂａｔｔｅｒｙ", {"a1", "b3"}),
        ("batter", set()),
        ("800V", {"a1"}),
        ("l4", {"a3"}),
        ("lane-keeping", {"a3"}),
        ('"lane keeping works"', {"a3"}),
        ('"keeping lane"', set()),
        ("dont", {"b3"}),
        ("tesla", {"b3"}),
        ("智能座舱", {"a2"}),
        ("智能", {"a2"}),
        ("能座", {"a2"}),
        ("座智", set()),
        ("舱", {"a2"}),
        ("车", {"b1"}),
        ("聊", {"a2", "b2"}),
        ("我们", {"a2", "b2"}),
        ("5G手机", {"a2"}),
        ("5g 手机", {"a2"}),
        ("5g手", {"a2"}),
        ("手机5g", set()),
        ("电动车", {"b1"}),
        ("電動車", {"b1"}),
        ("续航", {"b1"}),
        ("埃隆马斯克", {"b2"}),
        ("马斯克", {"b2"}),
        ('"聊 smart cockpit 的未来"', {"b2"}),
        ("cockpit的", {"b2"}),
        ("座舱和", {"a2"}),
        ("“智能座舱”", {"a2"}),
        ("无人驾驶", set()),
    ],
)
async def test_words_phrases_and_characters_are_found(
    spoken: SearchIndex, typed: str, expected: set[str]
) -> None:
    results = await find(spoken, typed)
    assert documents(results) == expected
    assert results.total.value == len(expected)
    assert results.total_interviews.value == len({name[0] for name in expected})
    assert not results.timed_out


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("5g手", ["５Ｇ手"]),
        ("电动车 续航", ["電動車", "續航"]),
        ("埃隆马斯克 tesla", ["埃隆·马斯克", "Tesla's"]),
        ('"聊 smart"', ["聊 smart"]),
    ],
)
async def test_what_was_found_is_marked_in_the_shown_text(
    spoken: SearchIndex, typed: str, expected: list[str]
) -> None:
    assert sorted(marked(await find(spoken, typed))) == sorted(expected)


async def test_a_moment_carries_what_a_page_shows(index: SearchIndex) -> None:
    await put(index, cue("1", "one", "Hello there", at_ms=1500, version=7, lang="en", speaker="Zhang Wei"))
    (found,) = (await find(index, "hello")).interviews
    (hit,) = found.moments
    assert (hit.document_id, hit.interview_id, hit.version) == ("1", "one", 7)
    assert (hit.start_ms, hit.end_ms, hit.text) == (1500, 2500, "Hello there")
    assert (hit.lang, hit.speaker, hit.spans) == ("en", "Zhang Wei", ((0, 5),))


async def test_clauses_may_be_met_by_different_moments_of_one_interview(spoken: SearchIndex) -> None:
    results = await find(spoken, "battery rain")
    assert interviews(results) == ["inta"]
    assert documents(results) == {"a1", "a3"}
    assert results.total.value == 2
    assert interviews(await find(spoken, "续航 rain")) == []


async def test_the_names_of_an_interview_count_as_said_in_it(spoken: SearchIndex) -> None:
    results = await find(spoken, "battery 张炜")
    assert interviews(results) == ["inta"]
    assert documents(results) == {"a1"}
    assert interviews(await find(spoken, 'battery "night drive"')) == ["intb"]


async def test_an_interview_met_by_its_names_alone_is_found_without_moments(spoken: SearchIndex) -> None:
    results = await find(spoken, "北京车展")
    assert interviews(results) == ["intb"]
    assert results.interviews[0].moments == ()
    assert (results.total.value, results.total_interviews.value, results.interviews[0].total) == (0, 1, 0)


async def test_excluded_words_drop_the_moments_that_contain_them(spoken: SearchIndex) -> None:
    assert documents(await find(spoken, "battery -tesla")) == {"a1"}
    assert documents(await find(spoken, '我们 -"埃隆马斯克"')) == {"a2"}
    assert documents(await find(spoken, "platform -battery")) == set()
    assert documents(await find(spoken, "battery platform -km")) == {"b3"}


async def test_only_exclusions_find_nothing(spoken: SearchIndex) -> None:
    for typed in ("-battery", "lang:en", "", "!!!"):
        assert (await find(spoken, typed)).total_interviews.value == 0


async def test_filters_narrow_to_languages_speakers_and_interviews(index: SearchIndex) -> None:
    await put(
        index,
        cue("1", "one", "range and 续航", lang="en", speaker="Zhang Wei"),
        cue("2", "one", "续航 again", lang="zh", speaker="李明"),
        cue("3", "two", "range only", lang="en"),
        named("two", "续航 night"),
    )
    assert documents(await find(index, "续航 lang:zh")) == {"2"}
    assert documents(await find(index, "续航 lang:zh lang:en")) == {"1", "2"}
    assert documents(await find(index, "range speaker:zhang")) == {"1"}
    assert documents(await find(index, "续航 speaker:李 speaker:wei")) == {"1", "2"}
    assert documents(await find(index, "range in:two")) == {"3"}
    assert documents(await find(index, "range 续航 lang:en in:two")) == {"3"}
    assert interviews(await find(index, "续航 in:two lang:zh")) == []
    assert interviews(await find(index, "range in:three")) == []


async def test_hidden_interviews_are_in_neither_hits_nor_totals(spoken: SearchIndex) -> None:
    results = await find(spoken, "battery", hidden=[InterviewId("inta"), InterviewId("unknown")])
    assert documents(results) == {"b3"}
    assert (results.total.value, results.total_interviews.value) == (1, 1)
    both = [InterviewId("inta"), InterviewId("intb")]
    assert await find(spoken, "battery", hidden=both) == Results(Total(0), Total(0), ())


async def test_moments_with_more_clauses_come_first_and_doubtful_ones_last(index: SearchIndex) -> None:
    await put(
        index,
        cue("one", "far", "apple apple apple"),
        cue("other", "far", "pear and more and more"),
        cue("single", "near", "pear pear"),
        cue("doubtful", "near", "pear", doubtful=True),
        cue("both", "near", "a long line of words about an apple, a plum, a quince, a cherry and a pear"),
        cue("filler", "else", "nothing of the kind"),
    )
    results = await find(index, "apple pear", moments=10)
    assert interviews(results) == ["near", "far"]
    assert [hit.document_id for hit in results.interviews[0].moments] == ["both", "single", "doubtful"]


async def test_the_answer_comes_in_pages_with_the_best_moments_of_each(index: SearchIndex) -> None:
    await put(
        index, *(cue(f"{i}-{n}", f"int{i}", "same words here", at_ms=n) for i in range(7) for n in range(i + 1))
    )
    pages, cursor = [], ""
    while not pages or cursor:
        pages.append(await find(index, "words", cursor=cursor, limit=3, moments=2))
        cursor = pages[-1].next_cursor
    assert [len(page.interviews) for page in pages] == [3, 3, 1]
    assert {(page.total.value, page.total_interviews.value) for page in pages} == {(28, 7)}
    found = [each for page in pages for each in page.interviews]
    assert {str(each.interview_id): each.total for each in found} == {f"int{i}": i + 1 for i in range(7)}
    assert all(len(each.moments) == min(each.total, 2) for each in found)
    assert all(hit.interview_id == each.interview_id for each in found for hit in each.moments)


# --- writing --------------------------------------------------------------------------------------------


async def test_a_newer_version_replaces_an_older_one(index: SearchIndex) -> None:
    await put(index, cue("1", "one", "first words 座舱", version=1))
    await put(index, cue("1", "one", "second words 续航", version=2))
    assert documents(await find(index, "second")) == {"1"}
    assert documents(await find(index, "续航")) == {"1"}
    assert documents(await find(index, "first")) == set()
    assert documents(await find(index, "座舱")) == set()
    assert (await find(index, "words")).total.value == 1


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 3, 3)])
async def test_writes_may_come_late_twice_and_in_any_order(index: SearchIndex, order: tuple[int, ...]) -> None:
    for version in order:
        await index.write([cue("1", "one", f"version{version} here", version=version)])
    await seen(index)
    assert marked(await find(index, "version3")) == ["version3"]
    assert (await find(index, "here")).total.value == 1


async def test_in_one_batch_the_highest_version_wins(index: SearchIndex) -> None:
    await put(index, *(cue("1", "one", f"version{v}", version=v) for v in (2, 5, 3)), Tombstone("2", 4))
    assert documents(await find(index, "version5")) == {"1"}
    assert documents(await find(index, "version3")) == set()


async def test_what_is_deleted_stays_deleted_against_late_writes(index: SearchIndex) -> None:
    await put(index, cue("1", "one", "gone soon", version=1), cue("2", "one", "stays", version=1))
    await put(index, Tombstone("1", 3), Tombstone("never-was", 3))
    assert documents(await find(index, "gone")) == set()
    await put(index, cue("1", "one", "gone soon", version=2), cue("never-was", "one", "gone too", version=3))
    assert documents(await find(index, "gone")) == set()
    await put(index, cue("1", "one", "gone no more", version=4))
    assert documents(await find(index, "gone")) == {"1"}
    assert (await find(index, "stays")).total.value == 1


async def test_an_older_deletion_is_ignored(index: SearchIndex) -> None:
    await put(index, cue("1", "one", "still here", version=5))
    await put(index, Tombstone("1", 4))
    assert documents(await find(index, "still")) == {"1"}


async def test_a_document_may_move_to_another_interview(index: SearchIndex) -> None:
    await put(index, cue("1", "one", "moving words"), cue("2", "two", "other words"))
    await put(index, cue("1", "two", "moving words", version=2))
    assert interviews(await find(index, "moving other")) == ["two"]


async def test_an_interview_can_be_renamed_and_removed(index: SearchIndex) -> None:
    await put(index, named("one", "Old name"), cue("1", "one", "words"))
    await put(index, named("one", "New name", version=2))
    assert interviews(await find(index, "new words")) == ["one"]
    assert interviews(await find(index, "old words")) == []
    await put(index, Tombstone("one", 3))
    assert interviews(await find(index, "new")) == []
    assert interviews(await find(index, "words")) == ["one"]


async def test_what_is_written_is_seen_by_another_connection(url: str, index: SearchIndex) -> None:
    async with opened(url) as other:
        await other.prepare()
        await index.write([cue("1", "one", "across connections")])
        await until_async(lambda: _finds(other, "across"), "the other connection to see it", seconds=5)


WRITER = """
import asyncio, json, os, sys
from datetime import UTC, datetime
from streamarchive.protocols import CueDocument
from streamarchive.search import open_index

async def main(url, name, count, catalogue):
    index = open_index(url)
    await index.prepare()
    for n in range(count):
        if os.path.exists(catalogue + ".over"):
            break
        with open(catalogue, "a") as file:
            print(f"{name}-{n}", file=file)
        text = f"{name} says word{n}"
        held_at = datetime(2026, 4, 25, tzinfo=UTC)
        await index.write([CueDocument(f"{name}-{n}", 1, name, n, n + 1, text, "en", None, False, held_at)])
        print(n, flush=True)
    await index.close()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
"""


async def test_several_processes_write_and_read_at_once(url: str) -> None:
    """Nothing is prepared here: the processes meet an index that does not exist yet."""
    command = [sys.executable, "-W", "error", "-c", WRITER, url]
    writers = [
        await asyncio.create_subprocess_exec(*command, name, "25", "/dev/null", stdout=subprocess.PIPE)
        for name in ("anna", "bert", "carl")
    ]
    async with opened(url) as index:
        await index.prepare()
        for writer in writers:
            assert await writer.wait() == 0
        await seen(index)
        results = await find(index, "says")
        assert (results.total.value, results.total_interviews.value) == (75, 3)


async def test_what_write_has_acknowledged_survives_kill_9(url: str) -> None:
    command = [sys.executable, "-c", WRITER, url, "anna", "100000", "/dev/null"]
    writer = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    lines = [await writer.stdout.readline() for _ in range(20)]
    writer.kill()
    acknowledged = len(lines) + len((await writer.stdout.read()).split())
    await writer.wait()
    async with opened(url) as index:
        await index.prepare()
        await seen(index)
        assert (await find(index, "says")).total.value >= acknowledged
        assert (await find(index, f"word{acknowledged - 1}")).total.value == 1


# --- rebuilding -----------------------------------------------------------------------------------------


async def test_a_rebuild_replaces_everything(index: SearchIndex) -> None:
    await put(index, cue("1", "one", "old line"), cue("2", "one", "kept line"))
    written = await index.rebuild(batches([cue("2", "one", "kept line")], [cue("3", "two", "new line")]))
    assert written == 2
    assert documents(await find(index, "line")) == {"2", "3"}
    assert (await index.health()).documents == 2
    await put(index, cue("3", "two", "newer line", version=2))
    assert documents(await find(index, "newer")) == {"3"}


async def test_a_rebuild_takes_in_what_is_written_meanwhile(url: str, index: SearchIndex) -> None:
    await put(index, cue("1", "one", "original line"), cue("2", "one", "doomed line"))

    async with opened(url) as other:

        async def catalogue(_after: int) -> AsyncIterator[Portion]:
            await other.write([cue("1", "one", "corrected line", version=2), cue("4", "one", "fresh line")])
            await other.write([Tombstone("2", 2)])
            known = [cue("1", "one", "original line"), cue("2", "one", "doomed line"), cue("3", "one", "third")]
            yield Portion(known, 1)
            await seen(other)
            assert documents(await find(other, "line", moments=10)) == {"1", "4"}, "the old index answers"
            await other.write([cue("3", "one", "third line corrected", version=2)])

        await index.rebuild(catalogue)
        for each in (index, other):
            assert documents(await find(each, "line", moments=10)) == {"1", "3", "4"}
            assert documents(await find(each, "corrected")) == {"1", "3"}
            assert documents(await find(each, "original")) == set()


async def half(_after: int) -> AsyncIterator[Portion]:
    """A source that fails half-way."""
    yield Portion([cue("2", "one", "half line")], 1)
    raise RuntimeError("the catalogue went away")


async def test_an_interrupted_rebuild_leaves_the_index_as_it_was(index: SearchIndex) -> None:
    await put(index, cue("1", "one", "old line"))
    with pytest.raises(RuntimeError, match="went away"):
        await index.rebuild(half)
    assert documents(await find(index, "line")) == {"1"}
    assert "reindex" in (await index.health()).sentence


async def test_the_next_rebuild_goes_on_where_an_interrupted_one_stopped(index: SearchIndex) -> None:
    """With what was written meanwhile, and without asking for what it has."""
    await put(index, cue("1", "one", "old line"))
    with pytest.raises(RuntimeError, match="went away"):
        await index.rebuild(half)
    await put(index, cue("3", "one", "later line"))
    await index.prepare()
    assert await index.rebuild(batches([cue("2", "one", "asked again")], [cue("4", "one", "last line")])) == 1
    assert documents(await find(index, "line")) == {"2", "3", "4"}
    assert "reindex" not in (await index.health()).sentence


async def test_a_rebuild_may_begin_afresh(index: SearchIndex) -> None:
    with pytest.raises(RuntimeError, match="went away"):
        await index.rebuild(half)
    assert await index.rebuild(batches([cue("4", "one", "last line")]), afresh=True) == 1
    assert documents(await find(index, "line")) == {"4"}


async def test_what_another_version_left_half_built_is_discarded(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        pretend_version(before, 0)
        async with opened(url) as older:
            with pytest.raises(RuntimeError, match="went away"):
                await older.rebuild(half)
    async with opened(url) as index:
        assert await index.rebuild(batches([cue("4", "one", "last line")])) == 1
        assert documents(await find(index, "line")) == {"4"}


def pretend_version(patch: pytest.MonkeyPatch, analyzer_version: int) -> None:
    """Have indexes made, for a while, as another version of this program makes them."""
    for module in ("generations", "embedded", "elastic_indexes"):
        patch.setattr(f"streamarchive.search.{module}.ANALYZER_VERSION", analyzer_version)
    patch.setattr("streamarchive.search.elastic_indexes.LAYOUT", f"of {analyzer_version}")


async def test_a_change_of_the_analysis_is_told_and_goes_live_while_everybody_searches(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one search fails or misses what is there."""
    lines = [cue(str(n), f"int{n % 7}", f"common line {n}", at_ms=n * 1_000) for n in range(400)]
    with monkeypatch.context() as before:
        pretend_version(before, 0)
        async with opened(url) as older:
            await older.rebuild(batches(lines))
    async with opened(url) as index, opened(url) as site:
        health = await index.health()
        assert (health.ok, health.analyzer_current) == (True, False)
        assert "reindex" in health.sentence
        found: list[tuple[int, bool]] = []
        done = asyncio.Event()
        searching = asyncio.create_task(_search_until(done, site, "common", found))
        await index.prepare()
        rebuilds = 0
        while rebuilds < 3 or len(found) < 10:
            await index.rebuild(batches(*(lines[n : n + 50] for n in range(0, 400, 50))))
            rebuilds += 1
            assert not searching.done()
        done.set()
        await searching
        assert set(found) == {(400, False)}
        assert (await index.health()).analyzer_current


async def _search_until(
    done: asyncio.Event, index: SearchIndex, text: str, found: list[tuple[int, bool]]
) -> None:
    """Hits, and whether the time was up, of one search after the other."""
    while not done.is_set():
        results = await find(index, text)
        found.append((results.total.value, results.timed_out))


async def test_a_step_that_was_not_done_in_time_makes_the_answer_partial(
    elasticsearch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which interviews meet both clauses is asked first. A real server answers, but says that it had no time."""
    address = f"{elasticsearch_url}/test-{uuid4().hex}"
    async with opened(address) as index:
        await index.rebuild(batches([cue("1", "int1", "smart battery"), cue("2", "int2", "battery")]))
        ask = index._client.msearch

        async def hurried(**arguments: Any) -> Any:
            answers = await ask(**arguments)
            answers["responses"][0]["timed_out"] = True
            return answers

        assert not (await find(index, "smart battery")).timed_out
        monkeypatch.setattr(index._client, "msearch", hurried)
        for typed, total in (("smart battery", 1), ("smart zeppelin", 0)):
            results, facets = await find(index, typed), await index.facets(parse(typed))
            moments = await index.moments(parse(typed))
            assert (results.total.value, moments.total.value) == (total, total)
            assert results.timed_out
            assert moments.timed_out
            assert (facets.timed_out, facets.exact) == (True, False)
        assert not (await index.facets(parse("battery"))).timed_out, "counting one clause is one step"
    destroy(address)


async def test_an_older_version_does_not_write_to_the_index_of_a_newer(
    url: str, index: SearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it wrote nobody would find; so its outbox waits."""
    with monkeypatch.context() as meanwhile:
        pretend_version(meanwhile, 1_000)
        async with opened(url) as newer:
            await newer.rebuild(batches([cue("1", "one", "new line")]))
    for refused in (index.write([cue("2", "one", "old line")]), index.rebuild(batches([]))):
        with pytest.raises(SearchUnavailableError, match="newer StreamArchive"):
            await refused


REBUILDER = """
import asyncio, sys
from streamarchive.protocols import Portion
from streamarchive.search import open_index

async def stuck(after):
    yield Portion([], 1)
    print("building", flush=True)
    await asyncio.Event().wait()

asyncio.run(open_index(sys.argv[1]).rebuild(stuck))
"""


async def test_a_rebuild_that_was_killed_does_not_hinder_the_next(url: str, index: SearchIndex) -> None:
    await put(index, cue("1", "one", "old line"))
    rebuilder = await asyncio.create_subprocess_exec(sys.executable, "-c", REBUILDER, url, stdout=subprocess.PIPE)
    assert rebuilder.stdout is not None
    assert await rebuilder.stdout.readline() == b"building\n"
    rebuilder.kill()
    await rebuilder.wait()
    await put(index, cue("2", "one", "another line"))
    assert documents(await find(index, "line")) == {"1", "2"}
    await index.prepare()
    assert await index.rebuild(batches([cue("1", "one", "asked again")], [cue("3", "one", "new line")])) == 1
    assert documents(await find(index, "line")) == {"2", "3"}


async def test_a_rebuild_loses_nothing_that_processes_write_meanwhile(
    url: str, index: SearchIndex, tmp_path: Path
) -> None:
    """As with the outbox, the catalogue knows what is written before the index does."""
    catalogue = tmp_path / "catalogue"
    catalogue.touch()

    async def known(_after: int) -> AsyncIterator[Portion]:
        names = catalogue.read_text().split()
        for first in range(0, len(names), 10):
            some = [cue(each, "anna", each.replace("-", " says word")) for each in names[first : first + 10]]
            yield Portion(some, first)

    command = [sys.executable, "-W", "error", "-c", WRITER, url, "anna", "100000", str(catalogue)]
    writer = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    done = asyncio.ensure_future(writer.stdout.read())
    await until_async(lambda: _finds(index, "says"), "the writer to begin")
    for _ in range(3):
        await index.rebuild(known)
        assert not done.done()
    catalogue.with_name("catalogue.over").touch()
    written = len((await done).split())
    assert await writer.wait() == 0
    await seen(index)
    assert (await find(index, "says")).total.value == written > 0


# --- whatever is typed ----------------------------------------------------------------------------------


def _nonsense(count: int) -> Iterable[str]:
    source = random.Random(4)
    pieces = [
        '"', "“", "”", "「", "-", "*", "?", "(", ")", "{", "}", "[", "]", "^", "~", ":", "\\", "/", "'", "’",
        "AND", "OR", "NOT", "NEAR(", "lang:", "speaker:", "in:", "text:", "rowid:", "a", "battery", "座舱", "车",
        "\x00", "\ud800", "\u200b", "\u0301", "ﷺ", "ŉ", "𠮷", "🚗", "\n", " ", "=", "%", "_", "$", ";", "--",
        "DROP", "+", "٣",
    ]  # fmt: skip
    for _ in range(count):
        yield "".join(source.choice([*pieces, " "]) for _ in range(source.randint(0, 30)))


async def test_no_query_is_an_error(spoken: SearchIndex) -> None:
    for typed in _nonsense(500):
        results = await find(spoken, typed)
        assert results.total.value >= 0, typed


async def test_strange_texts_can_be_indexed_and_found(index: SearchIndex) -> None:
    texts = ["a" * 40_000, "𠮷野家", "ﷺ", "café", "x\x00y", "🚗", "नमस्ते दुनिया", "สวัสดี", "한국어 말", "", "‏שלום"]
    await put(index, *(cue(str(n), "one", text, at_ms=n) for n, text in enumerate(texts)))
    for number, text in enumerate(texts):
        if parse(text).clauses:
            assert str(number) in documents(await find(index, text, moments=20)), text


async def test_both_engines_find_the_same(tmp_path: Path, elasticsearch_url: str) -> None:
    source = random.Random(7)
    words = ["car", "battery", "智能", "座舱", "车", "L4", "range", "续航", "的", "Zhang"]

    def line() -> str:
        return source.choice(["", " "]).join(source.choices(words, k=source.randint(1, 8)))

    operations: list[Operation] = [
        cue(str(n), f"int{n % 12}", line(), at_ms=n, lang=source.choice(["en", "zh"])) for n in range(300)
    ]
    operations += [named(f"int{n}", line()) for n in range(0, 12, 2)]
    typed = [f"{line()} {source.choice(['', '-car', 'lang:zh', '-的', '-L4 lang:en'])}" for _ in range(80)]
    typed += [source.choice(words) for _ in range(30)] + [f'"{line()}"' for _ in range(30)]
    answers = []
    elastic_url = f"{elasticsearch_url}/test-{uuid4().hex}"
    for url in (f"sqlite:///{tmp_path}/search.sqlite", elastic_url):
        async with opened(url) as index:
            await index.rebuild(batches(operations))
            answers.append([_comparable(await find(index, each, limit=100, moments=100)) for each in typed])
    destroy(elastic_url)
    for each, embedded, elastic in zip(typed, *answers, strict=True):
        assert embedded == elastic, each
    assert sum(answer[0] > 0 for answer in answers[0]) > 60


def _comparable(results: Results) -> tuple[int, int, dict[str, object]]:
    found = {
        str(each.interview_id): (each.total, {(hit.document_id, hit.spans) for hit in each.moments})
        for each in results.interviews
    }
    return results.total.value, results.total_interviews.value, found


# --- when something is wrong ----------------------------------------------------------------------------


async def test_health_counts_documents(index: SearchIndex) -> None:
    await put(index, cue("1", "one", "a"), cue("2", "one", "b"), named("one", "c"))
    await put(index, Tombstone("2", 2))
    health = await index.health()
    assert health.ok
    assert health.analyzer_current
    assert health.documents == 2


async def test_an_index_may_be_deleted_at_any_moment(url: str, index: SearchIndex) -> None:
    await put(index, cue("1", "one", "lost line"))
    destroy(url)
    if url.startswith("http"):
        with pytest.raises(SearchUnavailableError, match=r"no index .* reindex"):
            await find(index, "lost line")
    else:
        assert (await find(index, "lost line")).total.value == 0
    await put(index, cue("2", "one", "next line"))
    assert documents(await find(index, "line")) == {"2"}
    destroy(url)
    await put(index, cue("3", "one", "third line"))
    destroy(url)
    await index.rebuild(batches([cue("4", "one", "fourth line")]))
    assert documents(await find(index, "line")) == {"4"}


async def test_a_server_that_is_away_is_said_to_be() -> None:
    async with opened(f"http://127.0.0.1:{free_port()}") as index:
        for call in (
            lambda: index.prepare(),
            lambda: index.write([cue("1", "one", "a")]),
            lambda: find(index, "a"),
            lambda: index.rebuild(batches([])),
        ):
            with pytest.raises(SearchUnavailableError, match="Elasticsearch"):
                await call()
        health = await index.health()
        assert not health.ok
        assert "Elasticsearch" in health.sentence


async def test_a_file_that_is_no_index_is_said_to_be_and_rebuilt(tmp_path: Path) -> None:
    path = tmp_path / "search.sqlite"
    path.write_bytes(b"this is not a database" * 1000)
    async with opened(f"sqlite:///{path}") as index:
        with pytest.raises(SearchError, match=r"damaged.*reindex"):
            await find(index, "a")
        assert not (await index.health()).ok
        await index.rebuild(batches([cue("1", "one", "a line")]))
        assert documents(await find(index, "line")) == {"1"}


async def test_a_folder_that_cannot_be_used_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with opened(f"sqlite:///{tmp_path}/file/search.sqlite") as index:
        with pytest.raises(SearchUnavailableError, match="cannot be used"):
            await index.prepare()
        with pytest.raises(SearchUnavailableError):
            await index.rebuild(batches([]))


async def test_one_rebuild_of_the_embedded_file_at_a_time(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path / 'search.sqlite'}") as index:

        async def nested(_after: int) -> AsyncIterator[Portion]:
            yield Portion([cue("1", "one", "line")], 1)
            with pytest.raises(SearchError, match="another process is rebuilding"):
                await index.rebuild(batches([]))

        assert await index.rebuild(nested) == 1
        assert documents(await find(index, "line")) == {"1"}


async def test_of_two_rebuilds_on_a_server_the_first_to_end_counts(elasticsearch_url: str) -> None:
    """The later one goes on with what the earlier has done."""
    url = f"{elasticsearch_url}/test-{uuid4().hex}"
    async with opened(url) as index:

        async def overtaken(_after: int) -> AsyncIterator[Portion]:
            yield Portion([cue("1", "one", "first line")], 1)
            assert await index.rebuild(batches([], [cue("2", "one", "second line")])) == 1
            yield Portion([cue("3", "one", "third line")], 2)

        with pytest.raises(SearchError, match="another rebuild"):
            await index.rebuild(overtaken)
        assert documents(await find(index, "line")) == {"1", "2"}
    destroy(url)


@pytest.mark.parametrize(
    "url", ["ftp://x", "sqlite://x", "sqlite:///", "solr://x", "http://x/UPPER", "http://x:y"]
)
def test_an_address_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(SettingsError):
        open_index(url)
