"""Who speaks, where each of two channels holds one person: whoever is louder. Pure but for numpy.

A microphone hears the other person too, some decibels softer. Where no channel is ever clearly louder, the two
hold the same sound, and nothing is said about speakers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from streamarchive.models import Turn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from streamarchive.protocols import Samples

LABELS = ("Left", "Right")
"""Until an editor names them."""

FRAME_MS = 100
_FRAME = 16 * FRAME_MS
_FLOOR_DB = -55.0
"""Softer than this nobody speaks."""
_LOUDER_DB = 3.0
"""By so much the channel of whoever speaks is louder."""
_APART_DB = 6.0
"""Different people are that far apart for a share of `_APART_SHARE` of the speech, on either side."""
_APART_SHARE = 0.05
_PAUSE_FRAMES = 5
"""A shorter pause does not end a turn."""


class ByChannel:
    """A `Diarizer` that compares how loud two channels are."""

    channels = 2

    async def check(self) -> None:
        """It always can."""

    async def turns(self, sound: AsyncIterator[Samples]) -> list[Turn]:
        """Left's and right's; none where the channels hold the same sound."""
        import numpy as np

        levels: list[NDArray[np.float32]] = []
        rest = np.zeros((0, 2), np.float32)
        async for piece in sound:
            samples = np.concatenate([rest, piece])
            whole = len(samples) // _FRAME * _FRAME
            levels.append(_levels(samples[:whole]))
            rest = samples[whole:]
        return list(_turns(np.concatenate(levels))) if levels else []


def _levels(samples: Samples) -> NDArray[np.float32]:
    """Decibels of each frame of each channel: (frames, 2)."""
    import numpy as np

    power = (samples.reshape(-1, _FRAME, 2).astype(np.float64) ** 2).mean(axis=1)
    decibels: NDArray[np.float32] = (10 * np.log10(power + 1e-10)).astype(np.float32)
    return decibels


def _turns(levels: NDArray[np.float32]) -> Iterator[Turn]:
    import numpy as np

    louder = levels[:, 0] - levels[:, 1]
    loud = levels.max(axis=1) > _FLOOR_DB
    speech = max(int(loud.sum()), 1)
    apart = [int((loud & (side * louder > _APART_DB)).sum()) for side in (1, -1)]
    if min(apart) < _APART_SHARE * speech:
        return
    whose = np.where(loud & (np.abs(louder) > _LOUDER_DB), np.where(louder > 0, 0, 1), -1)
    speaker, begin, end = -1, 0, 0
    for at in np.flatnonzero(whose >= 0):
        if whose[at] != speaker or at - end > _PAUSE_FRAMES:
            if speaker >= 0:
                yield _turn(speaker, begin, end)
            speaker, begin = int(whose[at]), int(at)
        end = int(at) + 1
    if speaker >= 0:
        yield _turn(speaker, begin, end)


def _turn(speaker: int, begin: int, end: int) -> Turn:
    return Turn(begin * FRAME_MS, end * FRAME_MS, LABELS[speaker])
