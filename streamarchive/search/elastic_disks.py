"""How full the disks of an Elasticsearch cluster are, against the server's own watermarks.

Source: "Cluster-level shard allocation and routing settings" in Elasticsearch's reference. A watermark is a
share in use (`85%`, `0.85`) or the bytes to be left (`20gb`); a share never asks for more bytes than its
headroom, which is 200 GB of the low watermark unless the operator sets either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

_PREFIX = "cluster.routing.allocation.disk"
_UNITS: dict[str, int] = {unit: 1024**power for power, unit in enumerate(("b", "kb", "mb", "gb", "tb", "pb"))}


@dataclass(frozen=True, slots=True)
class Watermark:
    """Where it lies on a disk depends on how large that disk is."""

    setting: str
    headroom: str

    def used(self, total: int) -> float:
        """The share in use, 0 to 1, from which a disk of `total` bytes is over it."""
        return max(1 - self._left(total) / total, 0.0)

    def _left(self, total: int) -> float:
        left = _bytes(self.setting)
        if left is not None:
            return left
        share = self.setting.removesuffix("%")
        asked = total * (1 - float(share) / (100 if share != self.setting else 1))
        at_most = _bytes(self.headroom)
        return asked if at_most is None else min(asked, at_most)


@dataclass(frozen=True, slots=True)
class Watermarks:
    """Shards no longer come to a disk over the low one; at the flood stage indexes take no more writes."""

    heeded: bool
    low: Watermark
    flood: Watermark

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> Self:
        """From the cluster's settings, flat, those left at their defaults included."""
        return cls(
            heeded=settings.get(f"{_PREFIX}.threshold_enabled", "true") != "false",
            low=_watermark(settings, "low", "85%"),
            flood=_watermark(settings, "flood_stage", "95%"),
        )


@dataclass(frozen=True, slots=True)
class Disk:
    """That of one node; sizes in bytes."""

    total: int
    available: int

    @property
    def used(self) -> float:
        """The share in use, 0 to 1."""
        return 1 - self.available / self.total


def fullness(disks: list[Disk], watermarks: Watermarks) -> tuple[bool, str]:
    """Whether every disk is under the low watermark, and a sentence about the disk nearest to it."""
    if not disks:
        return True, "the server does not say how large its disks are"
    nearest = max(disks, key=lambda disk: disk.used - watermarks.low.used(disk.total))
    sentence = f"the fullest node has {nearest.used:.0%} of its disk in use"
    if not watermarks.heeded:
        return True, f"{sentence}; the server watches no watermark ({_PREFIX}.threshold_enabled is false)"
    low, flood = watermarks.low.used(nearest.total), watermarks.flood.used(nearest.total)
    return nearest.used < low, f"{sentence} (watermarks {low:.0%} and {flood:.0%})"


def _watermark(settings: Mapping[str, str], name: str, default: str) -> Watermark:
    setting = f"{_PREFIX}.watermark.{name}"
    return Watermark(settings.get(setting, default), settings.get(f"{setting}.max_headroom", "-1"))


def _bytes(value: str) -> int | None:
    """None of a share, and of -1: no bound."""
    if found := re.fullmatch(r"(\d+)\s*([kmgtp]?b)", value.strip().lower()):
        return int(found[1]) * _UNITS[found[2]]
    return None
