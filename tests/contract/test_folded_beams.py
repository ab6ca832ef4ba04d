"""Beams folded into one query give the tokens that whisper's own attention gives."""

import asyncio
import json
import os
import sys
from pathlib import Path

import streamarchive
from streamarchive.demo.voices import UNHEARD
from tests.archive import MODEL
from tests.voices import speech

COMPARE = """
import json, sys
import numpy as np, torch, whisper
from whisper.decoding import DecodingOptions
from streamarchive.transcription.openai_engine import OpenAIEngine

torch.set_num_threads(1)
samples = np.frombuffer(sys.stdin.buffer.read(), "<f4")
mel = whisper.log_mel_spectrogram(whisper.pad_or_trim(torch.from_numpy(samples.copy())))
options = DecodingOptions(language="en", beam_size=5, fp16=False)
models = whisper.load_model(sys.argv[1], device="cpu"), OpenAIEngine(sys.argv[1], "cpu")._model
print(json.dumps([whisper.decode(model, mel, options).tokens for model in models]))
"""


async def test_folded_beams_give_the_same_tokens():
    spoken = speech(UNHEARD["en"][1], "How safe is the operating system across the country?")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        COMPARE,
        str(MODEL),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(streamarchive.__file__).parents[1]), "OMP_NUM_THREADS": "1"},
    )
    printed, _ = await process.communicate(spoken.samples.astype("<f4").tobytes())
    stock, folded = json.loads(printed)
    assert folded == stock
    assert len(stock) > 8
