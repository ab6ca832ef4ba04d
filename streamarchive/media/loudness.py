"""How loud a recording is, by EBU R128 as ffmpeg's ``ebur128`` measures it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

_VALUE = re.compile(r"^\s+(?P<name>I|LRA|Peak):\s+(?P<value>-?\d+(?:\.\d+)?) ")
_SILENCE_LUFS = -70.0
"""Nothing quieter is counted; a recording of silence alone is said to be this loud."""


@dataclass(frozen=True, slots=True)
class Loudness:
    """Integrated loudness in LUFS, true peak in dBTP, loudness range in LU."""

    integrated_lufs: float
    true_peak_dbtp: float
    range_lu: float

    def details(self) -> dict[str, Any]:
        """As it is kept with the file that it is of."""
        return {"loudness": asdict(self)}


def of_details(details: Mapping[str, Any]) -> Loudness | None:
    """What is kept with a file; None if nobody has measured it, or nothing is to be heard."""
    return Loudness(**details["loudness"]) if "loudness" in details else None


def read(messages: Iterable[str]) -> Loudness | None:
    """The last summary in ffmpeg's messages; None if there is none, or of silence."""
    found: dict[str, float] = {}
    for line in messages:
        if match := _VALUE.match(line):
            found[match["name"]] = float(match["value"])
    if len(found) < 3 or found["I"] <= _SILENCE_LUFS:
        return None
    return Loudness(found["I"], found["Peak"], found["LRA"])
