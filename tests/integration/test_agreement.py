"""Whether catalogue and index agree is told, and mended, over both engines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from streamarchive import cli
from streamarchive.catalogue import corrections, interviews, outbox, transcripts
from streamarchive.models import Cue, InterviewId, RecordingId, RunStage
from streamarchive.protocols import CueDocument, Portion, Tombstone
from streamarchive.search import feed
from streamarchive.search.agreement import Agreement, Difference, compare
from streamarchive.services import Services, open_services
from streamarchive.settings import load_settings
from tests import factories
from tests.factories import line
from tests.indexes import expected, remove_index, stored
from workers import indexer

pytestmark = pytest.mark.usefixtures("patient_search")


@pytest.fixture(params=["embedded", "elasticsearch"])
def search_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "embedded":
        return f"sqlite:///{tmp_path}/search.sqlite"
    return f"{request.getfixturevalue('elasticsearch_url')}/test-{uuid4().hex}"


@pytest.fixture
async def archive(search_url: str, tmp_path: Path) -> AsyncIterator[Services]:
    """An archive whose index has everything: two interviews, ten lines each."""
    settings = load_settings({"data_dir": tmp_path, "search": search_url}, environ={}, dotenv=None)
    async with open_services(settings) as services:
        await services.search.prepare()
        for title in ("Batteries", "Cockpits"):
            _, recording_id = await factories.uploaded(services.database, title)
            lines = [line(at * 2_000, f"{title} {at}") for at in range(10)]
            await factories.heard(services.database, recording_id, *lines, stage=RunStage.FINAL)
        await indexer.catch_up(services)
        yield services
    remove_index(search_url)


async def first(archive: Services) -> tuple[InterviewId, RecordingId, list[Cue]]:
    async with archive.database.read() as connection:
        interview = (await interviews.by_ids(connection, await interviews.all_ids(connection))).values()
        found = next(each for each in interview if each.titles == {"en": "Batteries"})
        assert found.recording_id is not None
        return found.id, found.recording_id, await transcripts.of_recording(connection, found.recording_id)


async def lose_outbox(archive: Services) -> None:
    """What search should have learned is lost, as if the outbox had been emptied by hand."""
    async with archive.database.write() as tx:
        await outbox.remove(tx, await outbox.oldest(tx, 10_000))


async def differences(archive: Services, *, mend: bool = False) -> dict[Difference, int]:
    found: Agreement = await compare(archive.database, archive.search, mend=mend)
    return {kind: count for kind, count in found.differences.items() if count}


async def mended(archive: Services) -> None:
    """Mend, and see that every document is there in the version that there should be, and no other."""
    await differences(archive, mend=True)
    await indexer.catch_up(archive)
    assert await differences(archive) == {}
    assert await stored(archive) == await expected(archive)


async def test_an_index_that_is_up_to_date_agrees(archive: Services) -> None:
    found = await compare(archive.database, archive.search, mend=False)
    assert (found.expected, found.stored, found.complete) == (22, 22, True)
    assert await archive.search.damage() == ""


async def test_what_waits_in_the_outbox_is_no_difference(archive: Services) -> None:
    interview_id, _, [cue, *_] = await first(archive)
    async with archive.database.write() as tx:
        await corrections.edit(tx, cue.id, cue.revision, "waits", None)
        await interviews.set_titles(tx, interview_id, {"en": "Waits"})
    assert await differences(archive) == {}


async def test_what_never_reached_the_index_is_found_missing_and_mended(archive: Services) -> None:
    _, recording_id, _ = await first(archive)
    await factories.interview(archive.database, "Unheard")
    async with archive.database.write() as tx:
        await corrections.insert(tx, recording_id, 30_000, 31_000, "never indexed", "en", None)
    await lose_outbox(archive)
    # The last line before the new one is followed by another one now.
    assert await differences(archive) == {Difference.MISSING: 2, Difference.OUTDATED: 1}
    await mended(archive)


async def test_a_correction_that_never_reached_the_index_is_found_and_mended(archive: Services) -> None:
    interview_id, _, cues = await first(archive)
    async with archive.database.write() as tx:
        await corrections.edit(tx, cues[4].id, cues[4].revision, "corrected", None)
        await interviews.set_titles(tx, interview_id, {"en": "Renamed"})
    await lose_outbox(archive)
    assert await differences(archive) == {Difference.OUTDATED: 3}
    await mended(archive)


async def test_what_is_gone_and_never_went_from_the_index_is_found_and_mended(archive: Services) -> None:
    """A deleted line, the lines outside a cut, and those of a recording that is shown no more."""
    _, _, cues = await first(archive)
    async with archive.database.write() as tx:
        await corrections.delete(tx, cues[4].id, cues[4].revision, None)
    await lose_outbox(archive)
    assert await differences(archive) == {Difference.SURPLUS: 1, Difference.OUTDATED: 1}
    await mended(archive)
    interview_id, recording_id, _ = await first(archive)
    async with archive.database.write() as tx:
        await interviews.cut(tx, interview_id, 6_000, None)
    await lose_outbox(archive)
    assert (await differences(archive))[Difference.SURPLUS] == 3
    await mended(archive)
    _, other = await factories.uploaded(archive.database, "Lidar")
    async with archive.database.write() as tx:
        await interviews.attach(tx, interview_id, other)
    await lose_outbox(archive)
    assert (await differences(archive))[Difference.SURPLUS] == 6
    await mended(archive)
    async with archive.database.write() as tx:  # and back: what was buried comes up again
        await interviews.attach(tx, interview_id, recording_id)
    await mended(archive)


async def test_an_index_ahead_of_a_catalogue_that_was_put_back_is_found_and_mended(archive: Services) -> None:
    _, _, cues = await first(archive)
    [document, other] = [
        operation
        async for portion in feed.everything(archive.database)
        for operation in portion.operations
        if isinstance(operation, CueDocument) and operation.id.endswith(tuple(f"-{cue.id}" for cue in cues[:2]))
    ]
    unheard = replace(document, id=f"{document.interview_id}-999999", version=7)
    await archive.search.write([replace(document, version=50), Tombstone(other.id, 60), unheard])
    assert await differences(archive) == {Difference.AHEAD: 2, Difference.SURPLUS: 1}
    await mended(archive)


async def test_an_index_that_was_emptied_is_filled_again(archive: Services, search_url: str) -> None:
    remove_index(search_url)
    await archive.search.prepare()
    assert await differences(archive) == {Difference.MISSING: 22}
    await mended(archive)


async def test_nothing_differs_while_everything_changes(archive: Services) -> None:
    """Comparing beside an indexer and writers finds no difference that is none."""
    stop = asyncio.Event()
    indexing = asyncio.create_task(indexer.run(archive, stop))
    written = [0]
    writing = asyncio.create_task(_write_until(archive, stop, written))
    compared = 0
    while (compared < 15 or written[0] <= 5) and not writing.done():
        assert await differences(archive) == {}
        compared += 1
    stop.set()
    await writing
    assert written[0] > 5
    await indexing
    await indexer.catch_up(archive)
    assert await stored(archive) == await expected(archive)


async def _write_until(archive: Services, stop: asyncio.Event, written: list[int]) -> None:
    while not stop.is_set():
        _, recording_id, cues = await first(archive)
        one, two, *_ = cues[written[0] % 5 :]
        at = 40_000 + written[0] * 1_000
        async with archive.database.write() as tx:
            await corrections.edit(tx, one.id, one.revision, f"changed {written[0]}", None)
            await corrections.delete(tx, two.id, two.revision, None)
            await corrections.insert(tx, recording_id, at, at + 500, f"new {written[0]}", "en", None)
        written[0] += 1
        await asyncio.sleep(0)


def verified(archive: Services, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, dict[str, object]]:
    settings = archive.settings
    arguments = ["verify", "--search", "--json", "--data-dir", str(settings.data_dir), *flags]
    status = cli.run(arguments)
    return status, json.loads(capsys.readouterr().out)


async def test_the_command_tells_mends_and_ends_accordingly(
    archive: Services, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMARCHIVE_SEARCH", archive.settings.search)
    _, _, cues = await first(archive)
    async with archive.database.write() as tx:
        await corrections.edit(tx, cues[0].id, cues[0].revision, "corrected", None)
    await lose_outbox(archive)
    status, told = await asyncio.to_thread(verified, archive, capsys, "--dry-run")
    assert (status, told["agrees"]) == (1, False)
    status, told = await asyncio.to_thread(verified, archive, capsys)
    assert (status, told["agrees"], told["found"]) == (
        0,
        True,
        {"missing": 0, "outdated": 1, "ahead": 0, "surplus": 0},
    )
    status, told = await asyncio.to_thread(verified, archive, capsys)
    assert (status, told["catalogue"], told["index"]) == (0, 22, 22)


async def test_reindex_tells_how_far_it_is_and_goes_on_with_an_unfinished_one(
    archive: Services, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMARCHIVE_SEARCH", archive.settings.search)

    async def half(after: int) -> AsyncIterator[Portion]:
        async for portion in feed.everything(archive.database, after):
            yield Portion(portion.operations[:5], 5) if portion.checkpoint else portion
            if portion.checkpoint:
                raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        await archive.search.rebuild(half)
    for expected_written, note in ((15, "Going on"), (22, "")):
        status = await asyncio.to_thread(
            cli.run, ["reindex", "--json", "--data-dir", str(archive.settings.data_dir)]
        )
        said = capsys.readouterr()
        assert (status, json.loads(said.out)) == (0, {"written": expected_written, "documents": 22})
        assert note in said.err
        assert "Indexing: 100%" in said.err
        assert await stored(archive) == await expected(archive)
