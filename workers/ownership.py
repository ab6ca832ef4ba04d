"""Who holds a lease, and whether it can still be there."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path


@cache
def owner() -> str:
    """Who holds a lease: host and process, so that others on this host can tell whether it is still there."""
    pid = os.getpid()
    return f"recorder@{socket.gethostname()}:{pid}:{_started(pid)}:{_namespace()}"


def is_dead(name: str) -> bool:
    """Whether an owner was a process of this host that is gone; False if that cannot be known."""
    host, *rest = name.removeprefix("recorder@").split(":")
    if host != socket.gethostname() or len(rest) != 3:
        return False
    pid, started, namespace = rest
    return namespace == _namespace() and namespace != "" and started != _started(int(pid))


def _started(pid: int) -> str:
    """When a process began, in clock ticks since the start of the machine; empty if there is none."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    fields = state.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]


def _namespace() -> str:
    """Numbers of processes mean something only within one of these."""
    try:
        return Path("/proc/self/ns/pid").readlink().name.replace(":", "")
    except OSError:
        return ""
