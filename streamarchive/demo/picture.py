"""The picture of the demo's broadcast, drawn with numpy into planar YUV 4:2:0, without a font file.

It carries the time twice: as a burnt-in clock (UTC, to the tenth of a second) for people and as a strip of
black and white blocks for tests. The strip holds the Unix time in milliseconds modulo 2**32, the highest bit
first, followed by eight bits that check it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.uint8]
    Mask = NDArray[np.bool_]

WIDTH, HEIGHT = 640, 360
FRAMES_A_SECOND = 10

STRIP_BITS = 40
STRIP_LEFT, STRIP_TOP = 40, 336
STRIP_BLOCK_WIDTH, STRIP_BLOCK_HEIGHT = 14, 14
_STRIP_BLACK, _STRIP_WHITE = 24, 226

Colour = tuple[int, int, int]
"""Y, U, V."""
_WALL: Colour = (38, 134, 124)
_DESK: Colour = (58, 120, 134)
_QUIET: Colour = (92, 128, 128)
_BAR: Colour = (70, 128, 128)
_DIGIT = 225
_ON_AIR: Colour = (90, 100, 220)
_FIGURES: Mapping[str, tuple[int, Colour]] = {"host": (180, (150, 150, 100)), "guest": (460, (165, 95, 160))}
"""Centre and colour of each who speaks."""
_BARS, _BAR_STEP, _BAR_FULL = 5, 12, 48

# Segments a to g of a digit, and the letters of "UTC" that seven segments can show.
_SEGMENTS = {
    "0": "abcdef", "1": "bc", "2": "abdeg", "3": "abcdg", "4": "bcfg",
    "5": "acdfg", "6": "acdefg", "7": "abc", "8": "abcdefg", "9": "abcdfg",
    "U": "bcdef", "T": "defg", "C": "adef",
}  # fmt: skip


class Picture:
    """Frames for an instant; keeps the planes and redraws only what moves."""

    def __init__(self) -> None:
        """Draw what stays."""
        self._backdrop = _backdrop()
        self._figures = {name: _figure_mask(centre) for name, (centre, _) in _FIGURES.items()}
        self._digits = {letter: _glyph(lit, 28, 48, 6) for letter, lit in _SEGMENTS.items()}
        self._letters = {letter: _glyph(_SEGMENTS[letter], 12, 20, 3) for letter in "UTC"}

    def frame(self, now: datetime, levels: Mapping[str, float]) -> bytes:
        """One frame. `levels` says how loud each speaker is, from 0 to 1; zero draws them at rest."""
        planes = [plane.copy() for plane in self._backdrop]
        for name, (centre, colour) in _FIGURES.items():
            level = levels.get(name, 0.0)
            _paint(planes, self._figures[name], colour if level > 0 else _QUIET)
            _draw_level(planes, centre, level, colour)
        self._draw_clock(planes[0], now)
        _draw_strip(planes[0], unix_ms(now))
        if now.microsecond < 500_000:
            _rectangle(planes, 24, 24, 16, 16, _ON_AIR)
        return b"".join(plane.tobytes() for plane in planes)

    def _draw_clock(self, luma: Plane, now: datetime) -> None:
        now = now.astimezone(UTC)
        text = f"{now:%H:%M:%S}.{now.microsecond // 100_000}"
        x, top = 154, 26
        for letter in text:
            if letter in self._digits:
                luma[top : top + 48, x : x + 28][self._digits[letter]] = _DIGIT
                x += 38
            else:
                for y in (top + 14, top + 32) if letter == ":" else (top + 42,):
                    luma[y : y + 6, x : x + 6] = _DIGIT
                x += 16
        for letter in "UTC":
            luma[top + 28 : top + 48, x + 6 : x + 18][self._letters[letter]] = _DIGIT
            x += 18


def unix_ms(now: datetime) -> int:
    """Milliseconds since 1970."""
    return round(now.timestamp() * 1000)


def read_strip(luma: Plane) -> int | None:
    """The time a frame of any size carries (ms modulo 2**32), or None where no valid strip can be read."""
    height, width = luma.shape
    y = round((STRIP_TOP + STRIP_BLOCK_HEIGHT / 2) * height / HEIGHT)
    bits = 0
    for index in range(STRIP_BITS):
        x = round((STRIP_LEFT + (index + 0.5) * STRIP_BLOCK_WIDTH) * width / WIDTH)
        bits = bits << 1 | int(luma[y - 1 : y + 2, x - 1 : x + 2].mean() > 125)
    value, check = bits >> 8, bits & 0xFF
    return value if _checksum(value) == check else None


def _checksum(value: int) -> int:
    # The complement keeps an all-black picture from being read as the time 0.
    return 0xFF - sum(value.to_bytes(4, "big")) % 256


def _draw_strip(luma: Plane, time_ms: int) -> None:
    value = time_ms % 2**32
    bits = value << 8 | _checksum(value)
    row = np.array([bits >> (STRIP_BITS - 1 - index) & 1 for index in range(STRIP_BITS)], bool)
    shades = np.where(row, _STRIP_WHITE, _STRIP_BLACK).astype(np.uint8).repeat(STRIP_BLOCK_WIDTH)
    luma[STRIP_TOP : STRIP_TOP + STRIP_BLOCK_HEIGHT, STRIP_LEFT : STRIP_LEFT + len(shades)] = shades


def _draw_level(planes: list[Plane], centre: int, level: float, colour: Colour) -> None:
    """Bars beneath the figure, the middle one highest."""
    for index in range(_BARS):
        share = level * (1 - 0.22 * abs(index - _BARS // 2))
        height = max(4, 2 * round(share * _BAR_FULL / 2))
        x = centre + (index - _BARS // 2) * _BAR_STEP - 4
        _rectangle(planes, x, 322 - height, 8, height, colour if level > 0 else _BAR)


def _backdrop() -> list[Plane]:
    """A wall that grows darker to the sides, and a desk."""
    across = np.linspace(-1, 1, WIDTH)
    down = np.linspace(0, 1, HEIGHT)
    light = np.outer(1 - 0.35 * down, 1 - 0.45 * across**2)
    planes = [
        (_WALL[0] * light).astype(np.uint8),
        np.full((HEIGHT // 2, WIDTH // 2), _WALL[1], np.uint8),
        np.full((HEIGHT // 2, WIDTH // 2), _WALL[2], np.uint8),
    ]
    _rectangle(planes, 0, 264, WIDTH, HEIGHT - 264, _DESK)
    _rectangle(planes, 0, 264, WIDTH, 2, _QUIET)
    _rectangle(planes, STRIP_LEFT - 6, STRIP_TOP - 4, STRIP_BITS * STRIP_BLOCK_WIDTH + 12, 24, (16, 128, 128))
    return planes


def _figure_mask(centre: int) -> Mask:
    """A head and shoulders above the desk."""
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    head = (x - centre) ** 2 + (y - 150) ** 2 < 38**2
    shoulders = ((x - centre) / 84) ** 2 + ((y - 276) / 78) ** 2 < 1
    mask: Mask = (head | shoulders) & (y < 264)
    return mask


def _paint(planes: list[Plane], mask: Mask, colour: Colour) -> None:
    planes[0][mask] = colour[0]
    half = mask[::2, ::2]
    planes[1][half] = colour[1]
    planes[2][half] = colour[2]


def _rectangle(planes: list[Plane], x: int, y: int, width: int, height: int, colour: Colour) -> None:
    planes[0][y : y + height, x : x + width] = colour[0]
    for plane, shade in zip(planes[1:], colour[1:], strict=True):
        plane[y // 2 : (y + height) // 2, x // 2 : (x + width) // 2] = shade


def _glyph(lit: str, width: int, height: int, thick: int) -> Mask:
    """A seven-segment character: a top, b and c right, d bottom, e and f left, g middle."""
    mask = np.zeros((height, width), bool)
    middle = height // 2
    upper, lower = slice(0, middle), slice(middle, height)
    left, right = slice(0, thick), slice(width - thick, width)
    areas = {
        "a": (slice(0, thick), slice(0, width)),
        "b": (upper, right),
        "c": (lower, right),
        "d": (slice(height - thick, height), slice(0, width)),
        "e": (lower, left),
        "f": (upper, left),
        "g": (slice(middle - math.ceil(thick / 2), middle + thick // 2), slice(0, width)),
    }
    for segment in lit:
        mask[areas[segment]] = True
    return mask
