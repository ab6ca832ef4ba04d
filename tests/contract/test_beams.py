"""Our beam search over batches gives the tokens that whisper's own decoding gives, window by window."""

import asyncio
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

import streamarchive
from streamarchive.demo.voices import UNHEARD
from tests.archive import MODEL
from tests.voices import speeches

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENGLISH = (
    "I prefer the windows because it is really fast.",
    "Our team in London has six engineers.",
    "How safe is the operating system across the country?",
)
MANDARIN = ("未来五年会有更多的电动车吗？", "李教授告诉我法规很成熟。")

COMPARE = """
import json, sys
import numpy as np, torch, whisper
from whisper.decoding import DecodingOptions, DecodingTask
from whisper.model import disable_sdpa
from whisper.timing import median_filter
from streamarchive.protocols import TranscribeOptions
from streamarchive.transcription import alignment, beams, eight_bits
from streamarchive.transcription.arithmetic import BFLOAT16, FLOAT32, ROW_INT8
from streamarchive.transcription.decoding import Ask
from streamarchive.transcription.openai_engine import Arithmetics, OpenAIEngine
from streamarchive.transcription.tokens import never_said, timed_lines, token_starts
from streamarchive.transcription.words import TimedTokens

torch.set_num_threads(1)
model = sys.argv[1]
sounds = [np.frombuffer(bytes.fromhex(line), "<f4") for line in sys.stdin.read().split()]
stock = whisper.load_model(model, device="cpu")
engine = OpenAIEngine(model, "cpu", arithmetics=Arithmetics(FLOAT32, FLOAT32))
half = OpenAIEngine(model, "cpu", arithmetics=Arithmetics(BFLOAT16, BFLOAT16))
small = OpenAIEngine(model, "cpu", arithmetics=Arithmetics(FLOAT32, ROW_INT8)) if eight_bits.can_run() else engine
windows = [engine.encode(sound) for sound in sounds]

def ours(some, language, beam_size, temperature=0.0, prompt=(), engine=engine):
    asks = [Ask(features, language, prompt, seed=7) for features in some]
    found = engine.decode(asks, TranscribeOptions(beam_size=beam_size), temperature, lambda: False)
    return [(one.tokens, one.average_logprob, one.no_speech_probability) for one in found]

def untimed(features):
    decoder, words = engine._decoder, engine.tokenizer("en")
    begin = beams.Beginning([*words.sot_sequence, words.no_timestamps], 0, words.no_speech)
    never = never_said(words)
    rules = beams.Rules(words, decoder.vocabulary, never, features.device, timestamps=False)
    search = beams.BeamSearch(1, 5, 224, words.eot, features.device)
    (one,) = beams.decode(decoder, features, begin, rules, search, 224, lambda: False)
    return one.tokens

def theirs(features, language, **options):
    torch.manual_seed(7)
    task = DecodingTask(stock, DecodingOptions(language=language, fp16=False, **options))
    with torch.no_grad():
        (one,) = task.run(features.clone())
    return one.tokens, one.avg_logprob, one.no_speech_prob

def each(languages, size, options, **how):
    return {
        "ours": [ours([w], l, size, **how)[0] for l in languages for w in windows],
        "theirs": [theirs(w, l, **options) for l in languages for w in windows],
    }

def aligned(features, language):  # the first line, by us and by whisper's own means
    words = engine.tokenizer(language)
    (one,) = engine.decode([Ask(features, language, (), 7)], TranscribeOptions(beam_size=5), 0.0, lambda: False)
    lines, _ = timed_lines(one.tokens, words.timestamp_begin, 1500)
    (line,) = [TimedTokens(*line, language) for line in lines[:1]]
    (ours,) = engine.align(features, [line], language, "transcribe")
    seen = []
    prefix = [*words.sot_sequence, words.no_timestamps]
    see = lambda _layer, _inputs, outputs: seen.append(outputs[-1][0])
    hooks = [block.cross_attn.register_forward_hook(see) for block in stock.decoder.blocks]
    with torch.no_grad(), disable_sdpa():
        logits = stock.decoder(torch.tensor([[*prefix, *line.tokens, words.eot]]), features)[0]
    for hook in hooks:
        hook.remove()
    looked = torch.stack([seen[block][head] for block, head in engine._listening]).softmax(dim=-1)
    std, mean = torch.std_mean(looked, dim=-2, keepdim=True, unbiased=False)
    weights = median_filter((looked - mean) / std, 7).mean(dim=0)
    first = len(prefix) - 1
    rows = slice(first, first + len(line.tokens))
    starts = token_starts(weights[rows, line.start : line.end].numpy()) + line.start
    likely = logits[rows, : words.eot].softmax(dim=-1)
    chances = [likely[at, token].item() for at, token in enumerate(line.tokens)]
    return {"ours": [list(ours.starts), list(ours.probabilities)], "theirs": [starts.tolist(), chances]}

noise = torch.randn(6, 50, 1500)
prompt = tuple(engine.tokenizer("en").encode(" Questions about cars."))
both = ("en", "zh")
print(json.dumps({
    "beams": each(both, 5, {"beam_size": 5}),
    "greedy": each(both, 1, {}),
    "prompt": each(("en",), 3, {"beam_size": 3, "prompt": list(prompt)}, prompt=prompt),
    "sampling": each(("en",), 3, {"best_of": 3, "temperature": 0.6}, temperature=0.6),
    "untimed": {
        "ours": [untimed(w) for w in windows],
        "theirs": [theirs(w, "en", beam_size=5, without_timestamps=True)[0] for w in windows],
    },
    "batch": {"one by one": [ours([w], "en", 5)[0] for w in windows], "together": ours(windows, "en", 5)},
    "medians": torch.equal(alignment.smooth(noise), median_filter(noise, 7)),
    "half": ours(windows[:2], "en", 5, engine=half),
    "small": {
        "one by one": [ours([w], "en", 5, engine=small)[0] for w in windows],
        "together": ours(windows, "en", 5, engine=small),
    },
    "languages": {
        "ours": [engine.languages(w) for w in windows],
        "theirs": [stock.detect_language(w[0])[1] for w in windows],
    },
    "aligned": [aligned(windows[0], "en"), aligned(windows[3], "zh")],
}))
"""


@pytest.fixture(scope="module")
def sounds():
    """Both languages, one over the other's voice, a full window, silence, and noise of two kinds."""
    voices = {lang: UNHEARD[lang][0] for lang in ("en", "zh")}
    said = speeches([*((voices["en"], each) for each in ENGLISH), *((voices["zh"], each) for each in MANDARIN)])
    spoken = [each.samples for each in said]
    random = np.random.default_rng(7)
    return [
        np.concatenate(spoken[:2]),
        np.concatenate(spoken[2:4]),
        spoken[4],
        np.concatenate(spoken * 3)[: 30 * 16_000],
        np.zeros(16_000, np.float32),
        random.normal(0, 0.01, 80_000).astype(np.float32),
        random.normal(0, 0.3, 160_000).astype(np.float32),
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decoded(sounds):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        COMPARE,
        str(MODEL),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(streamarchive.__file__).parents[1]), "OMP_NUM_THREADS": "1"},
    )
    lines = "\n".join(each.astype("<f4").tobytes().hex() for each in sounds)
    printed, _ = await process.communicate(lines.encode())
    return json.loads(printed)


@pytest.mark.parametrize("way", ["beams", "greedy", "prompt", "sampling"])
async def test_each_window_gives_whispers_tokens_as_surely(decoded, way):
    ours, theirs = decoded[way]["ours"], decoded[way]["theirs"]
    assert [tokens for tokens, _, _ in ours] == [tokens for tokens, _, _ in theirs]
    assert np.allclose([chances for _, *chances in ours], [chances for _, *chances in theirs], atol=1e-3)
    assert max(len(tokens) for tokens, _, _ in ours) > 60


async def test_without_timestamps_too(decoded):
    assert decoded["untimed"]["ours"] == decoded["untimed"]["theirs"]


async def test_windows_that_finish_early_leave_those_that_do_not(decoded):
    together, alone = decoded["batch"]["together"], decoded["batch"]["one by one"]
    assert [tokens for tokens, _, _ in together] == [tokens for tokens, _, _ in alone]
    assert len({len(tokens) for tokens, _, _ in together}) > 3


async def test_a_decoder_in_sixteen_bits_says_the_same(decoded):
    full = decoded["beams"]["ours"][:2]
    assert [tokens for tokens, _, _ in decoded["half"]] == [tokens for tokens, _, _ in full]


async def test_a_decoder_in_eight_bits_says_the_same_of_speech(decoded):
    small = decoded["small"]["one by one"]
    assert [tokens for tokens, _, _ in small[:2]] == [tokens for tokens, _, _ in decoded["beams"]["ours"][:2]]


async def test_in_eight_bits_too_a_window_does_not_depend_on_those_beside_it(decoded):
    together, alone = decoded["small"]["together"], decoded["small"]["one by one"]
    assert [tokens for tokens, _, _ in together] == [tokens for tokens, _, _ in alone]
    assert np.allclose([chances for _, *chances in together], [chances for _, *chances in alone], atol=1e-3)


async def test_languages_are_as_likely_as_whisper_says(decoded):
    ours, theirs = decoded["languages"]["ours"], decoded["languages"]["theirs"]
    assert [sorted(chances) for chances in ours] == [sorted(chances) for chances in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert all(abs(chance - other[code]) < 1e-3 for code, chance in one.items())
    assert {max(chances, key=chances.get) for chances in ours[:3]} == {"en", "zh"}


async def test_tokens_are_placed_where_whispers_attention_places_them(decoded):
    for aligned in decoded["aligned"]:
        (starts, chances), (their_starts, their_chances) = aligned["ours"], aligned["theirs"]
        assert starts == their_starts
        assert len(set(starts)) > 5
        assert np.allclose(chances, their_chances, atol=1e-3)


async def test_attention_is_smoothed_as_whispers_is(decoded):
    assert decoded["medians"]
