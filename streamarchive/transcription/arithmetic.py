"""Which arithmetic is fastest on this machine: measured once, then remembered.

Half precision is twice as fast as 32 bits where a processor has instructions for it and six times as slow where
it has not; 8 bits in torch and in CTranslate2 depend on the processor's maker. No list of names says which, so
a part of the true shape is timed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from streamarchive.transcription import checkpoints

_log = logging.getLogger(__name__)

FLOAT32, FLOAT16, BFLOAT16 = "float32", "float16", "bfloat16"
"""`FLOAT16` is for GPUs."""
DYNAMIC_INT8, ROW_INT8, INT8 = "dynamic int8", "int8 by rows", "int8"
"""`DYNAMIC_INT8` are torch's 8 bits, scaled by what each window holds, `ROW_INT8` by what each token does;
`INT8` are CTranslate2's own."""
_MARGIN = 0.95
"""A coarser arithmetic has to take less than this share of a finer one's time to be worth it."""
_NEAR = 1.5
"""What takes less than so many times the shortest time is timed once more: machines have moods."""
_ORDER = (FLOAT32, BFLOAT16, ROW_INT8, DYNAMIC_INT8, INT8)
"""From fine to coarse."""

Timing = Callable[[], float]
"""Processor seconds for one window of 30 s, or for whatever else is compared."""


def chosen(subject: Mapping[str, str], candidates: Mapping[str, Timing]) -> str:
    """The fastest of these arithmetics for this subject on this machine, from memory or by measurement.

    `subject` is what the choice depends on beside the machine: part, engine, model, threads.
    """
    key = {**subject, **_machine(), "candidates": ", ".join(candidates)}
    note = _note_of(key)
    remembered = _read(note)
    if remembered in candidates:
        return remembered
    seconds = {name: candidates[name]() for name in _ORDER if name in candidates}
    for name, before in seconds.items():
        if before < min(seconds.values()) * _NEAR:
            seconds[name] = min(before, candidates[name]())
    choice, *others = seconds
    for name in others:
        if seconds[name] < seconds[choice] * _MARGIN:
            choice = name
    told = ", ".join(f"{name} {each:.3f} s" for name, each in seconds.items())
    _log.info("%s in %s: %s", subject["part"], choice, told)
    _write(note, {**key, "choice": choice, "seconds": seconds})
    return choice


def timed(compute: Callable[[], object], times: int = 2) -> float:
    """Processor seconds that a call takes, the best of some: the first also warms up."""
    best = float("inf")
    for _ in range(times):
        began = time.process_time()
        compute()
        best = min(best, time.process_time() - began)
    return best


def _machine() -> dict[str, str]:
    """What a measurement is no longer true without."""
    versions = {}
    for package in ("torch", "ctranslate2"):
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {"processor": processor(), **versions}


def processor() -> str:
    """Its name and the instructions that matter here."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    entries = [line.partition(":") for line in lines]
    found = {name.strip(): value.strip() for name, _, value in reversed(entries)}
    telling = (
        "avx2",
        "avx512f",
        "avx512_vnni",
        "avx512_bf16",
        "avx_vnni",
        "amx_bf16",
        "amx_int8",
        "bf16",
        "i8mm",
    )
    flags = set((found.get("flags") or found.get("Features") or "").split())
    name = found.get("model name") or platform.machine()
    return " ".join([name, *(flag for flag in telling if flag in flags)])


def _note_of(key: Mapping[str, str]) -> Path:
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    return checkpoints.cache_folder() / "measured" / f"{name}.json"


def _read(note: Path) -> str:
    try:
        return str(json.loads(note.read_text(encoding="utf-8"))["choice"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _write(note: Path, content: Mapping[str, object]) -> None:
    """Where the cache cannot be written, the next start measures again."""
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        unfinished = note.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(content, indent=2), encoding="utf-8")
        unfinished.replace(note)
