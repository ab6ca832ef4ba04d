"""What an index holds beside what it should hold, and taking one away behind its users' backs."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from streamarchive.protocols import Tombstone
from streamarchive.search import feed
from streamarchive.services import Services


async def expected(archive: Services) -> dict[str, int]:
    """Every document that the catalogue knows, with its version."""
    return {
        each.id: each.version
        async for portion in feed.everything(archive.database)
        for each in portion.operations
        if not isinstance(each, Tombstone)
    }


async def stored(archive: Services) -> dict[str, int]:
    """Every document that the index knows, with its version."""
    return {each.id: each.version async for page in archive.search.documents() for each in page}


def remove_index(url: str) -> None:
    """Delete it, whoever has it open."""
    if url.startswith("sqlite:"):
        for file in Path(url.removeprefix("sqlite:///")).parent.glob("search.sqlite*"):
            file.unlink()
        return
    server, _, _ = url.rpartition("/")
    for name in ask(f"{url}*/_alias", "GET"):
        ask(f"{server}/{name}", "DELETE")


def ask(address: str, method: str) -> dict[str, Any]:
    """What a server answers."""
    with urllib.request.urlopen(urllib.request.Request(address, method=method)) as answer:
        found: dict[str, Any] = json.load(answer)
        return found
