"""What every engine has to do, asked of both with the demo's checkpoint."""

import asyncio
import itertools
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

import streamarchive.demo
from streamarchive.demo.voices import UNHEARD
from streamarchive.errors import EngineDiedError, ModelUnavailableError, TranscriptionError
from streamarchive.protocols import Expectation, TranscribeOptions, Window
from streamarchive.transcription.engine_process import EngineProcess
from tests.voices import speech, speeches
from tests.waiting import until_async

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHECKPOINT = Path(streamarchive.demo.__file__).parent / "data" / "whisper-demo.pt"
ENGLISH = ("I prefer the windows because it is really fast.", "Our team in London has six engineers.")
MANDARIN = ("未来五年会有更多的电动车吗？", "李教授告诉我法规很成熟。")
GREEDY = TranscribeOptions(beam_size=1, temperatures=(0.0,))


@pytest.fixture(scope="module")
def spoken():
    """Both languages in voices the checkpoint has not heard, 0.6 s of silence between the sentences."""
    pause = np.zeros(9_600, np.float32)

    def say(*sentences):
        voices = [UNHEARD["zh" if sentence > "\u3000" else "en"][0] for sentence in sentences]
        pieces = [pause]
        for each in speeches(list(zip(voices, sentences, strict=True))):
            pieces += [each.samples, pause]
        return np.concatenate(pieces)

    return say


@pytest.fixture(scope="module", params=["openai", "faster"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def running(kind):
    @asynccontextmanager
    async def start(model: str | Path = CHECKPOINT) -> AsyncIterator[EngineProcess]:
        engine = EngineProcess(str(model), engine=kind, device="cpu", threads=1)
        try:
            yield engine
        finally:
            await engine.close()

    return start


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(running):
    """One engine for all tests that leave it alive."""
    async with running() as engine:
        yield engine


async def heard(engine, windows, options=GREEDY):
    return [result async for result in engine.transcribe(windows, options)]


async def started(engine):
    """The engine with its model loaded; its process id."""
    await engine.load()
    return engine.pid


async def test_both_languages_are_heard_and_named_with_times_inside_the_window(shared, spoken):
    english, mandarin = spoken(*ENGLISH), spoken(*MANDARIN)
    windows = [Window(english, 60_000, ("zh", "en")), Window(mandarin, 3_600_000, ("zh", "en"))]
    results = await heard(shared, windows)
    assert [result.language for result in results] == ["en", "zh"]
    assert [line.text for line in results[0].lines] == list(ENGLISH)
    assert [line.text for line in results[1].lines] == list(MANDARIN)
    for window, result in zip(windows, results, strict=True):
        end_ms = window.start_ms + len(window.samples) // 16
        times = [time for line in result.lines for time in (line.start_ms, line.end_ms)]
        assert times == sorted(times)
        assert window.start_ms <= times[0]
        assert times[-1] <= end_ms
        for line in result.lines:
            words = [time for word in line.words for time in (word.start_ms, word.end_ms)]
            assert words == sorted(words)
            assert line.start_ms <= words[0]
            assert words[-1] <= line.end_ms
            assert "".join(word.text for word in line.words) == line.text.replace(" ", "")
            assert all(0 <= word.probability <= 1 for word in line.words)


async def test_beams_and_repetition_change_nothing(shared, spoken):
    windows = [Window(spoken(*ENGLISH), 0, ("en",))]
    first = await heard(shared, windows, TranscribeOptions())
    assert await heard(shared, windows, TranscribeOptions()) == first
    assert [line.text for line in first[0].lines] == list(ENGLISH)


async def test_a_batch_gives_what_its_windows_give_by_themselves(shared, spoken):
    """More windows than a batch holds; both languages, lengths and a prompt mixed."""
    texts = [ENGLISH[:1], MANDARIN, ENGLISH, MANDARIN[:1], ENGLISH[1:]] * 2
    windows = [Window(spoken(*text), n * 30_000, ("zh", "en")) for n, text in enumerate(texts)]
    windows[2] = replace(windows[2], prompt="Questions about cars.")
    assert (await shared.load()).batch_size < len(windows)
    together = await heard(shared, windows, TranscribeOptions())
    alone = [(await heard(shared, [window], TranscribeOptions()))[0] for window in windows]
    assert [without_chances(result) for result in together] == [without_chances(result) for result in alone]
    assert [result.language for result in together] == ["en", "zh", "en", "zh", "en"] * 2


def without_chances(result):
    """Texts and times; probabilities may differ in their last digits."""
    return [
        (line.start_ms, line.end_ms, line.text, [(word.text, word.start_ms, word.end_ms) for word in line.words])
        for line in result.lines
    ]


async def test_words_are_where_they_were_said(shared):
    """Half of them within 60 ms, in voices and sentences the model has not been trained on."""
    off = []
    for language, sentences in (("en", ENGLISH), ("zh", MANDARIN)):
        for voice, sentence in itertools.product(UNHEARD[language], sentences):
            spoken = speech(voice, sentence)
            lead = np.zeros(8_000, np.float32)
            window = Window(np.concatenate([lead, spoken.samples, lead]), 0, (language,))
            (result,) = await heard(shared, [window])
            found = [word for line in result.lines for word in line.words]
            said = [(word.text.strip(PUNCTUATION).lower(), word.start_ms + 500) for word in spoken.words]
            off += [abs(start - word.start_ms) for word, start in matching(found, said)]
    assert len(off) > 30
    assert np.median(off) <= 60


PUNCTUATION = ",.?!，。？！"


def matching(found, said):
    """Words heard and when they were said, where both tell them apart in the same way."""
    remaining = list(said)
    for word in found:
        text = word.text.strip(PUNCTUATION).lower()
        starts = [start for spoken, start in remaining if spoken == text[: len(spoken)]]
        if starts:
            nearest = min(starts, key=lambda start: abs(start - word.start_ms))
            remaining.remove(next(entry for entry in remaining if entry[1] == nearest))
            yield word, nearest


@pytest.fixture(scope="module")
def prompted_checkpoint(tmp_path_factory):
    """The same weights, said to be a model that listens better for being told."""
    folder = tmp_path_factory.mktemp("prompted")
    shutil.copy(CHECKPOINT, folder / "prompted.pt")
    (folder / "prompted.json").write_text('{"languages": ["en", "zh"], "translates": true}')
    return folder / "prompted.pt"


TOLD = replace(GREEDY, expected={"en": Expectation("", ("engineers", "London"))})


async def test_expected_words_are_told_in_their_language_only(running, spoken, prompted_checkpoint):
    windows = [Window(spoken(ENGLISH[1]), 0, ("en",)), Window(spoken(MANDARIN[0]), 30_000, ("zh",))]
    async with running(prompted_checkpoint) as engine:
        assert "prompts" in (await engine.load()).capabilities
        english, mandarin = await heard(engine, windows, TOLD)
        english_before, mandarin_before = await heard(engine, windows)
    assert (english.prompted, mandarin.prompted) == (("engineers", "London"), ())
    assert english.average_logprob != english_before.average_logprob
    assert mandarin == mandarin_before


async def test_a_model_that_is_confused_by_prompts_is_not_told(shared, spoken):
    window = Window(spoken(ENGLISH[1]), 0, ("en",))
    assert "prompts" not in (await shared.load()).capabilities
    assert await heard(shared, [window], TOLD) == await heard(shared, [window])


async def test_a_prompt_is_taken_and_one_that_is_too_long_is_cut(shared, spoken):
    windows = [Window(spoken(ENGLISH[0]), 0, ("en",), prompt) for prompt in (None, "Cars. " * 500)]
    plain, prompted = await heard(shared, windows)
    assert plain.average_logprob != prompted.average_logprob
    assert prompted.lines


async def test_more_windows_take_longer_to_rehearse(shared):
    one, twelve = [await shared.rehearse(beam_size=5, windows=windows) for windows in (1, 12)]
    assert 0 < one < twelve


async def test_a_model_that_cannot_translate_says_so(shared, spoken):
    assert "translate" not in (await shared.load()).capabilities
    with pytest.raises(TranscriptionError, match="whisper-demo cannot translate: take another"):
        await heard(shared, [Window(spoken(MANDARIN[0]), 0)], replace(GREEDY, task="translate"))


async def test_a_model_that_can_translate_is_asked_to(tmp_path, running, spoken):
    """Without its card nothing is known against it; what it says is labelled English."""
    shutil.copyfile(CHECKPOINT, tmp_path / "other.pt")
    async with running(tmp_path / "other.pt") as engine:
        assert "translate" in (await engine.load()).capabilities
        window = Window(spoken(MANDARIN[0]), 0, ("zh",))
        (said,) = await heard(engine, [window])
        (translated,) = await heard(engine, [window], replace(GREEDY, task="translate"))
    assert said.language == translated.language == "zh"
    assert said.average_logprob != translated.average_logprob


async def test_a_failed_window_is_told_as_the_best_of_its_tries(shared, spoken):
    """No try at noise that sounds like speech to the guards is content: the surest of them stands."""
    noise = np.random.default_rng(7).normal(0, 0.2, 16_000 * 6).astype(np.float32)
    window = Window(noise, 0, ("en",))
    ladder = (0.0, 0.4, 0.8)
    (best,) = await heard(shared, [window], TranscribeOptions(beam_size=1, temperatures=ladder))
    tries = [
        (await heard(shared, [window], TranscribeOptions(beam_size=1, temperatures=(one,))))[0] for one in ladder
    ]
    assert best.average_logprob == pytest.approx(max(one.average_logprob for one in tries), abs=0.3)


async def test_only_allowed_languages_are_found(shared, spoken):
    results = await heard(shared, [Window(spoken(*MANDARIN), 0, ("en",))])
    assert (results[0].language, results[0].language_probability) == ("en", 1.0)
    assert set((await shared.load()).languages) == {"en", "zh"}


@pytest.mark.parametrize("seconds", [0.0, 0.1, 5.0, 30.0])
async def test_silence_has_no_lines(shared, seconds):
    results = await heard(shared, [Window(np.zeros(int(seconds * 16_000), np.float32), 0)])
    assert [result.lines for result in results] == [()]


async def test_the_model_says_what_it_is(shared):
    info = await shared.load()
    assert "Demo recogniser" in info.note
    assert len(info.identity) == 64
    assert "words" in info.capabilities


async def test_voice_is_told_from_silence_across_pieces(shared, spoken):
    speech = spoken(*ENGLISH)[: 512 * 200]
    whole, _ = await shared.voice(speech)
    first, state = await shared.voice(speech[: 512 * 77])
    second, _ = await shared.voice(speech[512 * 77 :], state)
    assert len(whole) == 200
    assert max(whole[:10]) < 0.3
    assert np.median(whole[25:80]) > 0.8
    assert np.allclose(whole, first + second, atol=1e-4)


async def test_a_missing_file_is_named_with_what_to_do(tmp_path, running):
    async with running(tmp_path / "none.pt") as engine:
        with pytest.raises(
            ModelUnavailableError, match=r"none\.pt does not exist: set STREAMARCHIVE_MODEL to the path"
        ):
            await engine.load()


async def test_an_unknown_name_lists_the_known_ones(running):
    async with running("enormous") as engine:
        with pytest.raises(ModelUnavailableError, match=r"no model 'enormous'.*turbo"):
            await engine.load()


async def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, running):
    (tmp_path / "bad.pt").write_bytes(b"not a model at all")
    async with running(tmp_path / "bad.pt") as engine:
        with pytest.raises(ModelUnavailableError, match="could not be loaded as a Whisper checkpoint"):
            await heard(engine, [Window(np.zeros(16_000, np.float32), 0)])


async def test_a_model_that_cannot_be_fetched_is_an_error_worth_a_retry(tmp_path, monkeypatch, running):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    async with running("tiny") as engine:
        with pytest.raises(ModelUnavailableError, match="'tiny' could not be downloaded") as raised:
            await engine.load()
    assert raised.value.retryable


async def test_a_model_that_appears_later_is_loaded(tmp_path, spoken, running):
    model = tmp_path / "late.pt"
    async with running(model) as engine:
        with pytest.raises(ModelUnavailableError):
            await engine.load()
        shutil.copyfile(CHECKPOINT, model)
        assert (await heard(engine, [Window(spoken(ENGLISH[0]), 0)]))[0].lines[0].text == ENGLISH[0]


async def test_cancelling_ends_the_work_and_keeps_the_engine(shared, spoken):
    short = spoken(ENGLISH[0])  # a batch of CTranslate2's cannot be stopped, and has to end within two seconds
    process = await started(shared)
    task = asyncio.create_task(heard(shared, [Window(short, 0)] * 100, TranscribeOptions()))
    await asyncio.wait([task], timeout=0.3)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await heard(shared, [Window(spoken(ENGLISH[0]), 0)])) == 1
    assert shared.pid == process


async def test_an_engine_that_does_not_hear_the_cancellation_is_replaced(spoken, running):
    async with running() as engine:
        process = await started(engine)
        os.kill(process, signal.SIGSTOP)
        task = asyncio.create_task(heard(engine, [Window(spoken(ENGLISH[0]), 0)]))
        await asyncio.wait([task], timeout=0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await heard(engine, [Window(spoken(ENGLISH[0]), 0)]))[0].lines[0].text == ENGLISH[0]
        assert engine.pid != process


async def test_a_death_in_the_middle_is_told_and_the_next_call_starts_afresh(spoken, running):
    async with running() as engine:
        process = await started(engine)
        os.kill(process, signal.SIGSTOP)
        task = asyncio.create_task(heard(engine, [Window(spoken(ENGLISH[0]), 0)]))
        await asyncio.wait([task], timeout=0.1)
        os.kill(process, signal.SIGKILL)
        with pytest.raises(EngineDiedError, match="signal 9") as raised:
            await task
        assert raised.value.retryable
        assert (await heard(engine, [Window(spoken(ENGLISH[0]), 0)]))[0].lines[0].text == ENGLISH[0]


async def test_urgent_windows_go_before_those_that_wait(shared, spoken):
    order = []

    async def ask(name, options):
        await heard(shared, [Window(spoken(ENGLISH[0]), 0)], options)
        order.append(name)

    urgent = TranscribeOptions(beam_size=1, temperatures=(0.0,), urgent=True)
    await shared.load()
    backlog = [asyncio.create_task(ask(f"backlog {n}", GREEDY)) for n in range(3)]
    await asyncio.wait(backlog, timeout=0.01)
    await asyncio.gather(ask("live", urgent), *backlog)
    assert order == ["backlog 0", "live", "backlog 1", "backlog 2"]


async def test_a_closed_engine_says_so_and_leaves_no_process(spoken, running):
    async with running() as engine:
        process = await started(engine)
        await engine.close()
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
        with pytest.raises(TranscriptionError, match="closed"):
            await heard(engine, [Window(spoken(ENGLISH[0]), 0)])


async def test_the_engine_does_not_outlive_its_parent(kind):
    script = f"""
import asyncio
from streamarchive.transcription.engine_process import EngineProcess
async def main():
    engine = EngineProcess({str(CHECKPOINT)!r}, engine={kind!r})
    await engine.load()
    print(engine.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""

    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(streamarchive.__file__).parent.parent)},
    )
    engine = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()

    async def gone():
        return not Path(f"/proc/{engine}").exists()

    await until_async(gone, "the engine to end", seconds=10)


async def test_requests_of_several_tasks_get_their_own_answers(shared, spoken):
    await shared.load()
    texts = await asyncio.gather(*(heard(shared, [Window(spoken(s), 0)]) for s in (*ENGLISH, *MANDARIN)))
    found = [result.lines[0].text for result in itertools.chain.from_iterable(texts)]
    assert found == [*ENGLISH, *MANDARIN]
