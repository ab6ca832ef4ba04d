"""How late captions and search are on air: seconds after the last sample of a sentence.

    python benchmarks/latency.py [--minutes 5]

Runs `streamarchive demo` in a temporary folder and watches it from outside, as the demo's own strip does: a
sentence counts as captioned when the event stream of the page has brought the words of its end, and as found when
the JSON search finds that caption. Wanted: 95 of 100 within 5 s and 6 s. The first minute is left out: models
are loaded then.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import aiohttp

from streamarchive.demo.control import BroadcasterAwayError, BroadcasterClient
from streamarchive.demo.meter import Meter

_WARM_UP_SECONDS = 60
_CAPTION_LIMIT, _SEARCH_LIMIT = 5.0, 6.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    minutes = parser.parse_args().minutes
    with demo() as (site, folder):
        asyncio.run(measure(site, folder, minutes * 60))


@contextmanager
def demo() -> Iterator[tuple[str, Path]]:
    """A demo of its own: its address and its folder."""
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "streamarchive", "demo", "--data-dir", folder, "--port", str(port)]
        process = subprocess.Popen(
            [*command, "--minutes", "600"], start_new_session=True, stderr=subprocess.DEVNULL
        )
        try:
            yield f"http://127.0.0.1:{port}", Path(folder)
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait()


async def measure(site: str, folder: Path, seconds: float) -> None:
    """Watch for so long, and print what was seen."""
    await asyncio.to_thread(_wait_for_captions, site)
    control = f"http://127.0.0.1:{json.loads((folder / 'demo.json').read_text())['broadcaster_port']}"
    await asyncio.sleep(_WARM_UP_SECONDS)
    async with BroadcasterClient(control) as broadcaster, aiohttp.ClientSession() as session:
        before = await _said(broadcaster)
        meter = Meter(site, broadcaster, session, last=None)
        watching = asyncio.create_task(meter.run())
        await asyncio.sleep(seconds)
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError, BroadcasterAwayError):
            await watching
        said = await _said(broadcaster) - before
    print(f"{said} sentences in {seconds:.0f} s; captions matched to {len(meter.captioned)} of them")
    _report("caption", list(meter.captioned), _CAPTION_LIMIT)
    _report("searchable", list(meter.searchable), _SEARCH_LIMIT)


def _report(name: str, values: Sequence[float], limit: float) -> None:
    if len(values) < 2:
        print(f"{name:>10}: nothing was measured")
        return
    percentile = statistics.quantiles(values, n=20)[-1]
    within = sum(value <= limit for value in values) / len(values)
    print(
        f"{name:>10}: median {statistics.median(values):.1f} s, 95 of 100 within {percentile:.1f} s, "
        f"longest {max(values):.1f} s; {within:.0%} within {limit:.0f} s"
    )


async def _said(broadcaster: BroadcasterClient) -> int:
    spoken = (await broadcaster.status()).spoken
    return spoken[-1].number + 1 if spoken else 0


def _wait_for_captions(site: str) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            if _measured(site):
                return
        time.sleep(1)
    raise SystemExit("there were no captions within three minutes")


def _measured(site: str) -> int:
    """How many sentences the demo itself has measured."""
    with urllib.request.urlopen(f"{site}/demo/status.json", timeout=5) as response:  # noqa: S310 - our own address
        return int(json.load(response)["figures"]["sentences"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
