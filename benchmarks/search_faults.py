"""Whether index and catalogue agree after what goes wrong: `python benchmarks/search_faults.py`.

On each engine 50 rounds of two indexers at work, killed in the middle of a write, while the archive is written
to; then Elasticsearch stopped for two minutes under the same writes, suspended once and killed once. After each
it says what had been written, how long the outbox took to empty, and whether index and catalogue are the same,
document by document and version by version. Exit status 1 if they ever are not.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import platform
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from streamarchive.catalogue import outbox
from streamarchive.errors import SearchUnavailableError
from streamarchive.models import Role
from streamarchive.search import finding
from streamarchive.search.query import parse
from streamarchive.services import Services, open_services
from tests import index_faults
from tests.indexes import expected
from tests.services import ElasticsearchNode, elasticsearch_node

_BETWEEN_SEARCHES = 1.0
_STARTING = 120.0


@asynccontextmanager
async def archive(search: str | None, cues: int) -> AsyncIterator[Services]:
    """A new archive with so many cues waiting for the index; embedded search without a URL."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        url = search or f"sqlite:///{folder}/search.sqlite"
        async with open_services(index_faults.settings_of(Path(folder), url)) as services:
            await services.search.prepare()
            await index_faults.load(services, cues)
            yield services


async def killed(name: str, search: str | None, kills: int, cues: int) -> bool:
    """Indexers killed during a bulk load, with writes going on."""
    async with archive(search, cues) as services:
        began = time.perf_counter()
        async with index_faults.writing(services) as written:
            await index_faults.kill_indexers(services, kills)
        what = f"{name}, 2 x {kills} indexers killed in {time.perf_counter() - began:.0f} s"
        return await _settled(what, services, written[0])


async def stopped(node: ElasticsearchNode, how: str, seconds: float, cues: int) -> bool:
    """The server away for a while, with writes and searches going on."""
    async with archive(f"{node.url}/faults-{uuid4().hex}", cues) as services:
        stop = asyncio.Event()
        indexing = asyncio.create_task(index_faults.indexing(services, stop))
        slowest, asked = 0.0, 0
        async with index_faults.writing(services) as written:
            node.suspend() if how == "suspended" else node.kill()
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                began = time.perf_counter()
                answer = await finding.find(services.database, services.search, parse("talk"), role=Role.ADMIN)
                slowest, asked = max(slowest, time.perf_counter() - began), asked + 1
                if not (answer.index_away and answer.found):
                    print(f"Elasticsearch {how}: a search was not answered from titles")
                    return False
                await asyncio.sleep(_BETWEEN_SEARCHES)
            node.resume() if how == "suspended" else node.start()
        what = f"Elasticsearch {how} for {seconds:.0f} s ({asked} searches, the slowest {slowest:.1f} s)"
        try:
            return await _settled(what, services, written[0])
        finally:
            stop.set()
            await indexing


async def _settled(what: str, services: Services, written: int) -> bool:
    async with services.database.read() as connection:
        waiting, _ = await outbox.waiting(connection)
    began = time.perf_counter()
    agrees = await _agrees_at_last(services)
    seconds = time.perf_counter() - began
    documents = len(await expected(services))
    verdict = "agree exactly" if agrees else "DIFFER"
    print(
        f"{what}: {written} writes meanwhile, {waiting} rows waited, {seconds:.1f} s to catch up and compare;"
        f" {documents} documents {verdict}",
        flush=True,
    )
    return agrees


async def _agrees_at_last(services: Services) -> bool:
    """Waits for a server that is starting; for one that does not come back, not for ever."""
    deadline = time.monotonic() + _STARTING
    while True:
        try:
            return await index_faults.agrees(services)
        except SearchUnavailableError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(1.0)


async def run(options: argparse.Namespace) -> bool:
    """Everything, one after the other."""
    agreed = [await killed("embedded", None, options.kills, options.cues)]
    # So little room for writes that the server refuses some of them (429).
    with elasticsearch_node(options={"indexing_pressure.memory.limit": "2mb"}) as node:
        url = f"{node.url}/faults-{uuid4().hex}"
        agreed.append(await killed("Elasticsearch", url, options.kills, options.cues))
        agreed.append(await stopped(node, "suspended", options.away, options.cues))
        agreed.append(await stopped(node, "killed", options.away, options.cues))
    return all(agreed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="rounds on each engine")
    parser.add_argument("--away", type=float, default=120.0, help="seconds the server is away")
    parser.add_argument("--cues", type=int, default=20_000, help="cues in the bulk load")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)  # that the server is away is what is wanted here
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    return 0 if asyncio.run(run(options)) else 1


if __name__ == "__main__":
    sys.exit(main())
