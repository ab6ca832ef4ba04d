"""How loud it is when: the lowest and the highest sample of every tenth of a second, for drawing.

The file is that of BBC audiowaveform, version 2, with 8 bits
(https://github.com/bbc/audiowaveform/blob/master/doc/DataFormat.md): a header of six little-endian 32-bit numbers
(version, flags, sample rate, samples a pixel, length in pixels, channels), then a lowest and a highest value
(signed, 8 bits) for each pixel. An hour is 72 kB.
"""

from __future__ import annotations

import struct

import numpy as np

MEDIA_TYPE = "application/octet-stream"
SAMPLE_RATE = 8_000
"""Of the mono sound that peaks are taken from, in 16-bit little-endian samples."""
SAMPLES_A_PIXEL = SAMPLE_RATE // 10
_VERSION, _EIGHT_BITS, _CHANNELS = 2, 1, 1
_HEADER = struct.Struct("<iIiiIi")


class Peaks:
    """Takes sound as it comes."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._rest = b""
        self._pixels = bytearray()

    @property
    def heard_ms(self) -> int:
        """How much of it has come."""
        return (len(self._pixels) // 2) * 1000 * SAMPLES_A_PIXEL // SAMPLE_RATE

    def add(self, sound: bytes) -> None:
        """More of it."""
        sound = self._rest + sound
        whole = len(sound) - len(sound) % (2 * SAMPLES_A_PIXEL)
        self._take(sound[:whole])
        self._rest = sound[whole:]

    def file(self) -> bytes:
        """All that has come, in the format."""
        rest = self._rest[: len(self._rest) - len(self._rest) % 2]
        if rest:
            self._take(rest + rest[-2:] * (SAMPLES_A_PIXEL - len(rest) // 2))
        self._rest = b""
        length = len(self._pixels) // 2
        header = _HEADER.pack(_VERSION, _EIGHT_BITS, SAMPLE_RATE, SAMPLES_A_PIXEL, length, _CHANNELS)
        return header + bytes(self._pixels)

    def _take(self, sound: bytes) -> None:
        if sound:
            samples = np.frombuffer(sound, dtype="<i2").reshape(-1, SAMPLES_A_PIXEL) >> 8
            pairs = np.stack((samples.min(axis=1), samples.max(axis=1)), axis=1)
            self._pixels += pairs.astype(np.int8).tobytes()
