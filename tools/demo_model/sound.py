"""What happens to sound before a recogniser hears it: codecs, noise, hum, levels, and Whisper's own features.

Samples are mono, 16 kHz, float32 in [-1, 1].
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
import torch
from numpy.typing import NDArray
from whisper.audio import HOP_LENGTH, N_FFT, N_FRAMES, N_SAMPLES, mel_filters

from streamarchive.demo.voices import SAMPLE_RATE, Samples, pcm

CODECS: Mapping[str, Mapping[str, Any]] = {
    "aac": {"format": "ipod", "c:a": "aac", "b:a": "64k", "ar": 48_000},
    "opus": {"format": "ogg", "c:a": "libopus", "b:a": "32k", "ar": 48_000},
    "resampled": {"format": "wav", "c:a": "pcm_s16le", "ar": 22_050},
    "plain": {},
}
"""Options of ffmpeg, by name; both containers say how much of a decoder's beginning is to be left out."""

_RAW = {"format": "s16le", "ar": SAMPLE_RATE, "ac": 1}

MELS = 80
_HUM = (50, 60, 100, 120)
"""Hertz."""
_NOISE_SECONDS = 60


def coded(samples: Samples, codec: str) -> Samples:
    """Through a codec and back: as long as before, at the same place. Raises `CalledProcessError`."""
    if not CODECS[codec]:
        return samples
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "coded"
        encode(samples, codec, file)
        data = _ffmpeg(ffmpeg.input(str(file)).output("pipe:", **_RAW), b"")
    heard = np.frombuffer(data, "<i2").astype(np.float32) / 32768
    return np.pad(heard, (0, max(0, len(samples) - len(heard))))[: len(samples)].astype(np.float32)


def encode(samples: Samples, codec: str, file: Path) -> None:
    """Write a file of one of `CODECS` but ``plain``. Raises `CalledProcessError`."""
    _ffmpeg(ffmpeg.input("pipe:", **_RAW).output(str(file), ac=1, **CODECS[codec]), pcm(samples))


def _ffmpeg(stream: Any, given: bytes) -> bytes:  # noqa: ANN401 - ffmpeg-python has no types
    command = ffmpeg.compile(stream, ["ffmpeg", "-v", "error", "-nostdin", "-y", "-threads", "1"])
    return subprocess.run(command, input=given, capture_output=True, check=True).stdout


@cache
def noises() -> Mapping[str, Samples]:
    """A minute of each kind, root mean square 1; the same every time."""
    random = np.random.default_rng(11)
    count = _NOISE_SECONDS * SAMPLE_RATE
    white = random.standard_normal(count)
    spectrum = np.fft.rfft(white)
    pitch = np.maximum(np.arange(len(spectrum)), 1.0)
    found = {
        "white": white,
        "pink": np.fft.irfft(spectrum / np.sqrt(pitch), count),
        "brown": np.fft.irfft(spectrum / np.maximum(pitch, 20 * _NOISE_SECONDS), count),
    }
    seconds = np.arange(count) / SAMPLE_RATE
    for base in _HUM:
        tones = sum(np.sin(2 * np.pi * base * k * seconds + k) / k**1.3 for k in range(1, 8))
        found[f"hum{base}"] = np.asarray(tones) + 0.003 * white
    return {name: _unit(sound) for name, sound in found.items()}


def noise(kind: str, count: int, start: int) -> Samples:
    """So many samples of a kind, root mean square 1, from anywhere."""
    sound = noises()[kind]
    return np.take(sound, np.arange(start, start + count), mode="wrap")


def clicks(count: int, random: np.random.Generator) -> Samples:
    """Some single samples a second, at half of full scale."""
    return np.where(random.random(count) < 1e-4, np.float32(0.5), np.float32(0))


def tilted(samples: Samples, amount: float) -> Samples:
    """Brighter (`amount` below 0) or darker, as another microphone: a filter of the first order, |amount| < 1."""
    changed = samples.copy()
    changed[1:] += np.float32(amount) * samples[:-1]
    return changed


def stretched(samples: Samples, count: int) -> Samples:
    """As many samples as `count`: slower and lower, or faster and higher."""
    places = np.linspace(0, len(samples) - 1, count, dtype=np.float32)
    return np.interp(places, np.arange(len(samples), dtype=np.float32), samples).astype(np.float32)


def features(samples: Samples, headroom: float = 0.0, *, end: int | None = None) -> NDArray[np.float32]:
    """Whisper's log-mel spectrogram of one window: (80, frames), a frame each 10 ms.

    `samples` are padded with silence to 30 s if there are fewer, as engines do. Where `end` is given, what lies
    behind that sample is left blank instead: so `whisper.transcribe` treats the last window of a file.
    `headroom` is how far (in powers of ten) the loudest moment of the file lies above that of the window:
    `transcribe` counts from the former.
    """
    length = max(len(samples), N_SAMPLES) if end is None else len(samples)
    sound = torch.from_numpy(np.pad(samples, (0, length - len(samples))))
    spectrum = torch.stft(sound, N_FFT, HOP_LENGTH, window=_hann(), return_complex=True)[..., :-1].abs() ** 2
    mel = torch.clamp(mel_filters("cpu", MELS) @ spectrum, min=1e-10).log10()
    mel = (torch.maximum(mel, mel.max() + headroom - 8.0) + 4.0) / 4.0
    if end is not None:
        mel[:, end // HOP_LENGTH :] = 0.0
    found: NDArray[np.float32] = mel.numpy()[:, :N_FRAMES]
    return found


@cache
def _hann() -> torch.Tensor:
    return torch.hann_window(N_FFT)


def _unit(sound: NDArray[np.float64]) -> Samples:
    scaled: Samples = (sound / np.sqrt(np.mean(sound**2))).astype(np.float32)
    return scaled
