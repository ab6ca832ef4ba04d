"""How far finished files are from the media clock, picture and sound.

    python benchmarks/clocks.py

Sources whose picture and sound tell the time are recorded in takes that are torn, that cross the wrap of MPEG-TS
time stamps, or that lack sound, and made into an MP4. What it shows and plays is compared with the committed
segments, each decoded by itself. Wanted: at most 40 ms. (`tests/browser/test_clocks.py` looks at hls.js.)
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from streamarchive.services import open_services
from streamarchive.settings import Settings
from tests import clockwork
from tests.integration.test_clocks import SOURCES, clocks_of, make
from tests.integration.test_finaliser import record_takes


def main() -> None:
    """Measure and print."""
    print(f"{'milliseconds off':28} {'picture':>17} {'sound':>17}")
    print(f"{'':28} {'median':>8} {'max':>8} {'median':>8} {'max':>8}")
    for name, takes in SOURCES.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            sources = [make(folder, number, 30, **take) for number, take in enumerate(takes)]
            expected, read = asyncio.run(measure(folder / "archive", sources))
        picture = clockwork.errors(read.picture, expected.picture)
        sound = clockwork.errors(read.sound, expected.sound)
        print(f"{name:28} {clockwork.spread(picture)} {clockwork.spread(sound)}", flush=True)


async def measure(data_dir: Path, sources: list[Path]) -> tuple[clockwork.Clocks, clockwork.Clocks]:
    """The media clock and that of the finished file."""
    async with open_services(Settings(data_dir=data_dir)) as services:
        return await clocks_of(services, await record_takes(services, *sources))


if __name__ == "__main__":
    main()
