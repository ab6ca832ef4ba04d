"""A recording in English beside what is spoken: with the real engine, said to be able to translate.

The demo's weights cannot, and write the same words whatever they are asked for: what is tested is where they go.
"""

import asyncio
import json
import shutil
from dataclasses import replace

import pytest
import pytest_asyncio

from streamarchive import ingest, jobs
from streamarchive.catalogue import corrections, interviews, tracks, transcripts
from streamarchive.errors import NotFoundError, TranscriptionError
from streamarchive.ingest import Details
from streamarchive.models import Role, RunStage
from streamarchive.search import finding, query
from streamarchive.services import Engines, open_services
from streamarchive.settings import Settings
from tests.archive import MODEL, Archive
from tests.recorded import ENGLISH, MANDARIN, speak
from workers import transcriber
from workers.indexer import drain
from workers.runner import JobRun

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def translating(tmp_path_factory):
    """The demo's checkpoint, whose card says that it translates."""
    folder = tmp_path_factory.mktemp("translating")
    shutil.copy(MODEL, folder / "translating.pt")
    card = {"name": "translating", "languages": ["en", "zh"], "translates": True, "prompts": False}
    (folder / "translating.json").write_text(json.dumps(card))
    return folder / "translating.pt"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engines(translating):
    made = Engines(Settings(model=str(MODEL), translate_model=str(translating), device="cpu"))
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def services(tmp_path, engines):
    async with open_services(Settings(data_dir=tmp_path / "archive")) as opened:
        yield replace(opened, engines=engines)


async def imported(services, file):
    details = Details(titles={"en": "Talk"}, languages=("zh", "en"), visibility="public")
    incoming = services.settings.data_dir / "incoming"
    return await ingest.import_file(services.database, services.store, file, details, incoming=incoming)


async def recording_of(services, interview_id):
    async with services.database.read() as connection:
        return (await interviews.get(connection, interview_id)).recording_id


async def done(services, kind):
    """Do the next job of this kind to its end."""
    job = await jobs.claim(services.database, [kind], "test")
    handler = {"transcribe": transcriber.transcribe, "translate": transcriber.translate}[kind]
    await handler(JobRun(services, job))


async def translated(services, recording_id):
    async with services.database.write() as tx:
        await jobs.enqueue(tx, "translate", str(recording_id), recording_id=recording_id)
    await done(services, "translate")


async def track(services, recording_id, name):
    async with services.database.read() as connection:
        return await tracks.lines(connection, recording_id, name)


@pytest_asyncio.fixture(loop_scope="module")
async def bilingual(services, tmp_path):
    """An interview in two languages, far enough apart for windows of their own, transcribed and translated."""
    speak(tmp_path / "talk.wav", (ENGLISH[0], MANDARIN[0]), pause_ms=31_000)
    interview_id = await imported(services, tmp_path / "talk.wav")
    recording_id = await recording_of(services, interview_id)
    await done(services, "transcribe")
    await translated(services, recording_id)
    return interview_id, recording_id


async def test_what_is_spoken_in_english_stands_in_the_translation_as_it_is_spoken(services, bilingual):
    _, recording_id = bilingual
    spoken = await track(services, recording_id, "")
    english = await track(services, recording_id, "en")
    assert [cue.text for cue in spoken] == [ENGLISH[0], MANDARIN[0]]
    assert [(cue.track, cue.lang) for cue in english] == [("", "en"), ("en", "en")]
    assert english[0] == spoken[0]
    assert max(spoken[1].start_ms, english[1].start_ms) < min(spoken[1].end_ms, english[1].end_ms)
    async with services.database.read() as connection:
        stages = {run.stage: run.finished_at for run in await transcripts.runs(connection, recording_id)}
        assert await tracks.of_recording(connection, recording_id) == ["en"]
    assert set(stages) == {RunStage.FINAL, RunStage.TRANSLATION}
    assert all(stages.values())


async def test_a_translated_line_is_of_whoever_speaks(services, bilingual):
    _, recording_id = bilingual
    line = (await track(services, recording_id, ""))[1]
    async with services.database.write() as tx:
        await corrections.set_speaker(tx, line.id, line.revision, "王经理", None)
    await translated(services, recording_id)
    assert [cue.speaker for cue in await track(services, recording_id, "en")] == [None, "王经理"]


async def test_corrections_of_a_translation_stay_in_it_are_found_and_outlive_the_next(services, bilingual):
    _, recording_id = bilingual
    spoken = await track(services, recording_id, "")
    line = (await track(services, recording_id, "en"))[1]
    async with services.database.write() as tx:
        await corrections.edit(tx, line.id, line.revision, "I find privacy boring.", None)
    await translated(services, recording_id)
    assert [cue.text for cue in await track(services, recording_id, "en")] == [
        ENGLISH[0],
        "I find privacy boring.",
    ]
    assert await track(services, recording_id, "") == spoken
    await services.search.prepare()
    while await drain(services):
        pass
    answer = await finding.find(services.database, services.search, query.parse("boring"), role=Role.VIEWER)
    [moment] = answer.found[0].moments
    assert (moment.cue.track, moment.cue.lang) == ("en", "en")


async def test_a_line_can_be_added_to_a_translation_that_there_is(services, bilingual):
    _, recording_id = bilingual
    async with services.database.write() as tx:
        await corrections.insert(tx, recording_id, 30_000, 31_000, "(They laugh.)", "en", None, track="en")
        with pytest.raises(NotFoundError):
            await corrections.insert(tx, recording_id, 30_000, 31_000, "(Ils rient.)", "fr", None, track="fr")
    assert "(They laugh.)" in [cue.text for cue in await track(services, recording_id, "en")]
    assert "(They laugh.)" not in [cue.text for cue in await track(services, recording_id, "")]


async def test_a_model_that_cannot_translate_says_what_to_do(services, tmp_path):
    speak(tmp_path / "talk.wav", ENGLISH[:1])
    recording_id = await recording_of(services, await imported(services, tmp_path / "talk.wav"))
    engines = Engines(Settings(model=str(MODEL), device="cpu"))
    try:
        with pytest.raises(
            TranscriptionError, match="whisper-demo cannot translate: set STREAMARCHIVE_TRANSLATE"
        ):
            await translated(replace(services, engines=engines), recording_id)
    finally:
        await engines.close()
    assert await track(services, recording_id, "en") == []


async def test_the_command_says_it_too(tmp_path):
    await asyncio.to_thread(speak, tmp_path / "talk.wav", ENGLISH[:1])
    archive = Archive(tmp_path / "archive")
    refused = await archive.run("transcribe", tmp_path / "talk.wav", "--translate")
    assert refused.status != 0
    assert "whisper-demo cannot translate: set STREAMARCHIVE_TRANSLATE_MODEL" in refused.err
