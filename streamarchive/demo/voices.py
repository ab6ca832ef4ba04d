"""Synthetic voices: espeak-ng as a library, carried with its data by the package `espeakng-loader`.

The library keeps one state for the whole process and is not thread-safe: calls are serialised here. It carries
some of it from one sentence to the next: after the same sentences in the same process, one sounds the same.
Output is 16 kHz mono in [-1, 1].
"""

from __future__ import annotations

import ctypes
import itertools
import re
import tempfile
import threading
import wave
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamarchive.errors import TranscriptionError
from streamarchive.models import Word

Samples = NDArray[np.float32]

SAMPLE_RATE = 16_000
LOUDNESS = 0.06
"""Root mean square of a spoken sentence: what the demo recogniser was trained with."""

_WORD = re.compile(r"[\u4e00-\u9fff]|[^\s\u4e00-\u9fff，。？]+")
"""A Mandarin character, or letters between spaces."""

# Values from espeak-ng's speak_lib.h.
_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_CHARS_UTF8 = 1
_POSITION_CHARACTER = 1
_RATE, _PITCH = 1, 3
_EVENT_END, _EVENT_WORD = 0, 1
_LONGEST_DATA_PATH = 140
"""The library keeps the path of its data in a buffer of 160 bytes and cuts what is longer."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice of espeak-ng and how it speaks. `rate` is in words a minute, `pitch` from 0 to 99."""

    name: str
    rate: int = 160
    pitch: int = 50


CAST = {
    "en": {"host": Voice("en-us"), "guest": Voice("en-us+m1")},
    "zh": {"host": Voice("cmn+m7", rate=165), "guest": Voice("cmn+m3", rate=170)},
}
"""Who speaks in the demo, by language and part."""

UNHEARD = {"en": (Voice("en-us+m5"), Voice("en+f5")), "zh": (Voice("cmn+m5", 170), Voice("cmn+f5", 170))}
"""Voices that the demo recogniser was not trained on, for tests."""


@dataclass(frozen=True, slots=True)
class Speech:
    """A spoken sentence without silence around it; the words count in milliseconds from its first sample."""

    samples: Samples
    words: tuple[Word, ...]

    @property
    def duration_ms(self) -> int:
        """How long it is."""
        return round(len(self.samples) * 1000 / SAMPLE_RATE)


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


_one_at_a_time = threading.Lock()


class Synthesiser:
    """The library, whose one state all objects of this class share; use `speak`."""

    def __init__(self) -> None:
        """Load it. Raises `TranscriptionError` where it is not installed or does not start."""
        try:
            import espeakng_loader
        except ImportError as error:
            raise TranscriptionError(
                "the demo's voices are not installed; install them with: pip install 'streamarchive[demo]'"
            ) from error
        self._pieces: list[bytes] = []
        self._marks: dict[int, int] = {}
        self._callback = _Callback(self._receive)
        self._library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        self._data = _short_path(Path(espeakng_loader.get_data_path()))
        with _one_at_a_time:
            self._rate = self._library.espeak_Initialize(
                _OUTPUT_SYNCHRONOUS, 0, str(self._data).encode(), _INITIALIZE_DONT_EXIT
            )
        if self._rate <= 0:
            raise TranscriptionError(f"the synthesiser cannot read its data in {self._data}; reinstall it")

    def speak(self, voice: Voice, text: str) -> Speech:
        """Say one sentence. Blocks for some tens of milliseconds. Raises `TranscriptionError`."""
        with _one_at_a_time:
            samples = self._synthesise(voice, text)
            marks = dict(self._marks)
        words = _words(text, marks, len(samples) * 1000 // self._rate)
        return _trim(_loud(_resample(samples, self._rate)), words)

    def _synthesise(self, voice: Voice, text: str) -> Samples:
        self._pieces.clear()
        self._marks.clear()
        self._library.espeak_SetSynthCallback(self._callback)  # another object's may be set
        if self._library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise TranscriptionError(f"the speech synthesiser has no voice {voice.name!r}")
        self._library.espeak_SetParameter(_RATE, voice.rate, 0)
        self._library.espeak_SetParameter(_PITCH, voice.pitch, 0)
        # What rustles in a voice is random, and by itself another sound each second of the clock.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(zlib.crc32(f"{voice} {text}".encode())))
        data = text.encode()
        failed = self._library.espeak_Synth(
            data, ctypes.c_size_t(len(data) + 1), 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        samples = np.frombuffer(b"".join(self._pieces), np.int16).astype(np.float32) / np.float32(32768)
        if failed or not samples.any():
            raise TranscriptionError(f"the speech synthesiser could not say {text!r} as {voice.name}")
        return samples

    def _receive(self, samples: Any, count: int, events: Any) -> int:  # noqa: ANN401 - ctypes pointers
        if count > 0 and samples:
            self._pieces.append(ctypes.string_at(samples, count * 2))
        index = 0
        while events[index].type != _EVENT_END:
            if events[index].type == _EVENT_WORD:
                self._marks[events[index].text_position - 1] = events[index].audio_position
            index += 1
        return 0


def save_wave(path: Path, speeches: Sequence[Speech], pause_ms: int = 600) -> tuple[tuple[int, int], ...]:
    """Write sentences to a wave file, pauses before, between and after; (start, end) of each in ms."""
    pause = np.zeros(pause_ms * SAMPLE_RATE // 1000, np.float32)
    pieces, times, position = [pause], [], len(pause)
    for speech in speeches:
        start_ms = position * 1000 // SAMPLE_RATE
        times.append((start_ms, start_ms + speech.duration_ms))
        pieces += [speech.samples, pause]
        position += len(speech.samples) + len(pause)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(pcm(np.concatenate(pieces)))
    return tuple(times)


def pcm(samples: Samples) -> bytes:
    """Signed 16-bit little-endian."""
    return bytes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def _short_path(data: Path) -> Path:
    if len(str(data)) <= _LONGEST_DATA_PATH:
        return data
    link = Path(tempfile.mkdtemp(prefix="espeak-")) / data.name
    link.symlink_to(data)
    return link


def _resample(samples: Samples, rate: int) -> Samples:
    """Band-limited, by cutting the spectrum: exact for a signal that begins and ends in silence."""
    length = round(len(samples) * SAMPLE_RATE / rate)
    spectrum = np.fft.rfft(samples)[: length // 2 + 1]
    return (np.fft.irfft(spectrum, length) * (length / len(samples))).astype(np.float32)


def _loud(samples: Samples) -> Samples:
    level = float(np.sqrt(np.mean(samples**2)))
    scaled: Samples = samples * np.float32(LOUDNESS / level)
    return scaled


def _trim(samples: Samples, words: Sequence[Word]) -> Speech:
    """Cut silence: the sentence begins 20 ms before the first sample within 45 dB of the peak."""
    around = SAMPLE_RATE // 50
    heard = np.flatnonzero(np.abs(samples) > 10 ** (-45 / 20) * np.abs(samples).max())
    start, end = max(0, int(heard[0]) - around), min(len(samples), int(heard[-1]) + around)
    offset_ms, duration_ms = start * 1000 // SAMPLE_RATE, (end - start) * 1000 // SAMPLE_RATE

    def within(time_ms: int) -> int:
        return min(max(time_ms - offset_ms, 0), duration_ms)

    moved = tuple(Word(word.text, within(word.start_ms), within(word.end_ms)) for word in words)
    return Speech(samples[start:end], moved)


def _words(text: str, marks: dict[int, int], duration_ms: int) -> tuple[Word, ...]:
    """From the library's marks; words that it ran together share the time by their letters."""
    found = [(match.start(), match.group()) for match in _WORD.finditer(text)]
    known = [(index, marks[position]) for index, (position, _) in enumerate(found) if position in marks]
    if not known or known[0][0] != 0:
        known.insert(0, (0, 0))
    known.append((len(found), duration_ms))
    starts: list[int] = []
    for (first, begin), (after, end) in itertools.pairwise(known):
        letters = [len(word) for _, word in found[first:after]]
        starts += [begin + (end - begin) * sum(letters[:k]) // sum(letters) for k in range(len(letters))]
    ends = [*starts[1:], duration_ms]
    return tuple(Word(word, start, end) for (_, word), start, end in zip(found, starts, ends, strict=True))
