"""Who speaks: by channel, by a diarizer, and by people, who have the last word."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from streamarchive import ingest, jobs
from streamarchive.catalogue import corrections, interviews, transcripts
from streamarchive.errors import ModelUnavailableError, TranscriptionError
from streamarchive.ingest import Details
from streamarchive.models import Script, Turn
from streamarchive.services import Engines, open_services
from streamarchive.settings import Settings
from streamarchive.transcription.diarizer import SherpaDiarizer
from tests.archive import MODEL
from tests.recorded import ENGLISH, run_ffmpeg, speak
from workers import transcriber
from workers.runner import JobRun

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Told:
    """A diarizer that says what it was told to, and remembers how much it has heard."""

    answer: list[Turn] | TranscriptionError
    channels: int = 1
    heard: list[int] = field(default_factory=list)

    async def turns(self, sound):
        self.heard.append(sum([len(piece) async for piece in sound]))
        if isinstance(self.answer, TranscriptionError):
            raise self.answer
        return self.answer


class EnginesWith(Engines):
    """Real recognisers and a diarizer of the test's own."""

    told: Told | None = None

    @property
    def diarizer(self):
        return self.told


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engines():
    made = EnginesWith(Settings(model=str(MODEL), device="cpu"))
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module")
async def services(tmp_path, engines):
    engines.told = None
    async with open_services(Settings(data_dir=tmp_path / "archive")) as opened:
        yield replace(opened, engines=engines)


@pytest.fixture
def conversation(tmp_path) -> Path:
    """The first sentence on the left, the second on the right, a trace of each on the other side."""
    (_, first_end), *_ = speak(tmp_path / "talk.wav", ENGLISH[:2])
    at = f"lt(t,{first_end / 1000 + 0.3})"
    sides = f"0.2+0.8*{at}|0.2+0.8*(1-{at})".split("|")
    channels = "|".join(f"val(0)*({side})" for side in sides)
    run_ffmpeg("-i", tmp_path / "talk.wav", "-af", f"aeval='{channels}':c=stereo", tmp_path / "two.wav")
    return tmp_path / "two.wav"


async def imported(services, file, *, apart):
    details = Details(titles={"en": "Talk"}, languages=("en",))
    incoming = services.settings.data_dir / "incoming"
    interview_id = await ingest.import_file(services.database, services.store, file, details, incoming=incoming)
    async with services.database.write() as tx:
        await interviews.set_transcribing(tx, interview_id, Script.SIMPLIFIED, person_per_channel=apart)
        return (await interviews.get(tx, interview_id)).recording_id


async def transcribed(services, recording_id):
    async with services.database.write() as tx:
        await jobs.enqueue(tx, "transcribe", str(recording_id), recording_id=recording_id)
    job = await jobs.claim(services.database, ["transcribe"], "test")
    await transcriber.transcribe(JobRun(services, job))
    async with services.database.read() as connection:
        return await transcripts.of_recording(connection, recording_id)


async def test_each_channel_is_a_person_until_an_editor_names_them(services, conversation):
    recording_id = await imported(services, conversation, apart=True)
    first, second = await transcribed(services, recording_id)
    assert (first.speaker, second.speaker) == ("Left", "Right")
    async with services.database.write() as tx:
        await corrections.set_speaker(tx, first.id, first.revision, "Teacher Zhao", None)
    again = await transcribed(services, recording_id)
    assert [(cue.text, cue.speaker) for cue in again] == [(ENGLISH[0], "Teacher Zhao"), (ENGLISH[1], "Right")]


async def test_nobody_is_named_unless_it_is_asked_for(services, conversation):
    recording_id = await imported(services, conversation, apart=False)
    assert [cue.speaker for cue in await transcribed(services, recording_id)] == [None, None]
    async with services.database.write() as tx:
        [interview] = await interviews.of_recording(tx, recording_id)
        await interviews.set_transcribing(tx, interview.id, interview.script, person_per_channel=True)
    assert [cue.speaker for cue in await transcribed(services, recording_id)] == ["Left", "Right"]


async def test_one_sound_on_two_channels_is_nobody_s(services, tmp_path):
    speak(tmp_path / "talk.wav", ENGLISH[:2])
    recording_id = await imported(services, tmp_path / "talk.wav", apart=True)
    assert [cue.speaker for cue in await transcribed(services, recording_id)] == [None, None]


async def test_a_diarizer_hears_all_of_it_and_names_the_lines(services, engines, conversation):
    engines.told = Told([Turn(0, 3_000, "Speaker 1"), Turn(3_500, 60_000, "Speaker 2")])
    recording_id = await imported(services, conversation, apart=False)
    cues = await transcribed(services, recording_id)
    assert cues[0].speaker == "Speaker 1"
    assert cues[1].speaker == "Speaker 2"
    assert engines.told.heard[0] >= cues[-1].end_ms * 16


async def test_a_diarizer_that_fails_costs_no_line(services, engines, conversation):
    engines.told = Told(TranscriptionError("it ended without a word"))
    recording_id = await imported(services, conversation, apart=False)
    assert [(cue.text, cue.speaker) for cue in await transcribed(services, recording_id)] == [
        (ENGLISH[0], None),
        (ENGLISH[1], None),
    ]


async def test_sherpa_refuses_bad_models_with_one_sentence(tmp_path):
    pytest.importorskip("sherpa_onnx", reason="sherpa-onnx, the extra `speakers`, is not installed")
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")
    with pytest.raises(ModelUnavailableError, match=r"cannot tell speakers apart .*: supply the two ONNX files"):
        await SherpaDiarizer(bad, bad).check()
    with pytest.raises(ModelUnavailableError, match=r"there is no model .*none.onnx: set STREAMARCHIVE_SPEAKER"):
        await SherpaDiarizer(bad, tmp_path / "none.onnx").check()

    async def sound():
        for _ in range(20):
            yield np.zeros(160_000, np.float32)

    with pytest.raises(TranscriptionError, match="could not be told apart"):
        await SherpaDiarizer(bad, bad).turns(sound())
