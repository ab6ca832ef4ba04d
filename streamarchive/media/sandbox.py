"""The cage in which ffmpeg reads what comes from outside: little memory and time, no new rights, and no network
unless it is there to read from it.

The other half of the cage are the whitelists of `streamarchive.media.commands`. Some containers forbid
`unshare`; what works here is found out once.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from streamarchive.media.process import TAIL_LINES, FfmpegProcess, environment, leash


@dataclass(frozen=True, slots=True)
class Limits:
    """What one ffmpeg may use."""

    memory_bytes: int = 2 << 30
    """Address space, shared libraries included; more than it will touch."""
    cpu_seconds: int = 600
    file_bytes: int = 5 << 30
    """The longest file it may write."""
    network: bool = False
    """Whether it may use the network."""
    niceness: int = 0
    """How much it yields to others, as `nice` has it."""


PROBE = Limits(cpu_seconds=120, file_bytes=0)
DECODE = Limits(cpu_seconds=3600, file_bytes=0)
LISTEN = Limits(cpu_seconds=24 * 3600, file_bytes=0)
"""For decoding a broadcast as it comes."""
WATCH = Limits(cpu_seconds=60, file_bytes=0, network=True)
"""For decoding the first seconds of a stream."""
RECORD = Limits(memory_bytes=2 << 30, cpu_seconds=7 * 24 * 3600, file_bytes=4 << 30, network=True)
READ = Limits(cpu_seconds=3600, file_bytes=0, niceness=10)
"""For reading a whole file without decoding it."""
ENCODE = Limits(memory_bytes=4 << 30, cpu_seconds=24 * 3600, file_bytes=1 << 40, niceness=10)
SURVEY = Limits(memory_bytes=4 << 30, cpu_seconds=24 * 3600, file_bytes=64 << 20, niceness=10)
"""For decoding a finished file once, while others may be on air."""


@cache
def _no_network() -> tuple[str, ...]:
    unshare = shutil.which("unshare")
    if unshare is None:
        return ()
    prefix = (unshare, "-rn", "--")
    try:
        done = subprocess.run([*prefix, "true"], env=environment(), capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return prefix if done.returncode == 0 else ()


@cache
def _prlimit() -> str | None:
    return shutil.which("prlimit")


@cache
def _nice() -> str | None:
    return shutil.which("nice")


def wrapper(limits: Limits) -> list[str]:
    """What stands before a sandboxed ffmpeg. The first call starts a process to try `unshare`."""
    # The leash comes first, so that there is hardly a moment without it; unshare leaves it on.
    prefix = [*leash()]
    if prlimit := _prlimit():
        prefix += [
            prlimit,
            f"--as={limits.memory_bytes}",
            f"--cpu={limits.cpu_seconds}",
            f"--fsize={limits.file_bytes}",
            "--nofile=256" if limits.network else "--nofile=64",
            "--core=0",
        ]
    if limits.niceness and (nice := _nice()):
        prefix += [nice, "-n", str(limits.niceness)]
    return prefix if limits.network else [*prefix, *_no_network()]


def missing() -> list[str]:
    """What of the cage this machine lacks, in words for `doctor`."""
    lacking = []
    if _prlimit() is None:
        lacking.append("prlimit (limits on memory and time)")
    if not leash():
        lacking.append("setpriv (ffmpeg ends with its parent)")
    if not _no_network():
        lacking.append("unshare -rn (no network for ffmpeg that reads files)")
    return lacking


async def start(
    arguments: Sequence[str],
    limits: Limits,
    *,
    cwd: Path | None = None,
    keep_lines: int = TAIL_LINES,
    feed: bool = False,
) -> FfmpegProcess:
    """Start ffmpeg in the cage, with a stdin if `feed`. Raises `MediaError` if it cannot be started."""
    prefix = await asyncio.to_thread(wrapper, limits)
    return await FfmpegProcess.start(arguments, cwd=cwd, wrapper=prefix, keep_lines=keep_lines, feed=feed)
