"""Pictures of the pages for the README, taken from a running demo: `make screenshots`.

Starts `streamarchive demo` in a temporary folder, waits until an interview is on air with captions, and writes
docs/images/*.png with the system's Chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.async_api import Browser, Page, async_playwright

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
WIDE, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
CHROMIUM = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_PATIENCE_SECONDS = 240


def main() -> int:
    """Take them; the exit status."""
    parser = argparse.ArgumentParser(description="Take the README's pictures.")
    parser.add_argument("--url", help="of a demo that runs already")
    options = parser.parse_args()
    program = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    if program is None:
        print("There is no Chromium here; install it (apt install chromium).", file=sys.stderr)
        return 1
    IMAGES.mkdir(parents=True, exist_ok=True)
    if options.url:
        asyncio.run(take(program, options.url))
        return 0
    with demo() as address:
        asyncio.run(take(program, address))
    return 0


@contextmanager
def demo() -> Iterator[str]:
    """A demo of its own, at a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "streamarchive", "demo", "--data-dir", folder, "--port", str(port)]
        process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait()


async def take(program: str, address: str) -> None:
    """All of them."""
    interview = await asyncio.to_thread(_wait, lambda: _on_air(address), "an interview on air")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        await _interview(browser, interview["url"], "on-air.png", WIDE, "light", "en-GB")
        await _interview(browser, interview["url"], "on-air-phone.png", PHONE, "dark", "zh-CN")
        await _page(browser, address, "home.png", WIDE, "light", "en-GB")
        search = f"{address}/search?q={quote(_topic(interview))}"
        await _page(browser, search, "search.png", WIDE, "light", "en-GB")
        await browser.close()


async def _interview(
    browser: Browser, url: str, name: str, size: dict[str, int], scheme: str, locale: str
) -> None:
    page = await _open(browser, url, size, scheme, locale)
    await page.evaluate("() => { player.muted = true; return player.play(); }")
    await page.wait_for_function("() => player.currentTime > 1 && player.readyState > 2")
    await page.locator("#lines .line").nth(3).wait_for(timeout=60_000)
    await page.evaluate("() => scrollTo(0, 0)")
    await page.screenshot(path=IMAGES / name)
    await page.context.close()
    print(f"docs/images/{name}")


async def _page(browser: Browser, url: str, name: str, size: dict[str, int], scheme: str, locale: str) -> None:
    page = await _open(browser, url, size, scheme, locale)
    await page.screenshot(path=IMAGES / name)
    await page.context.close()
    print(f"docs/images/{name}")


async def _open(browser: Browser, url: str, size: dict[str, int], scheme: str, locale: str) -> Page:
    context = await browser.new_context(viewport=size, color_scheme=scheme, locale=locale)  # type: ignore[arg-type]
    page = await context.new_page()
    await page.goto(url)
    return page


def _topic(interview: dict[str, Any]) -> str:
    """What it is about, in Mandarin: 车谈：激光雷达，对话王博士."""
    return str(interview["titles"]["zh"]).partition("：")[2].partition("，")[0]


def _on_air(address: str) -> dict[str, Any] | None:
    """The interview on air once it has lines in both languages, and the others are ready."""
    found = _get(f"{address}/api/interviews")["interviews"]
    live = next((one for one in found if one["stage"] == "live"), None)
    busy = any(one["stage"] == "processing" for one in found)
    if live is None or busy:
        return None
    lines = _get(f"{address}/api/interviews/{live['id']}/transcript")["cues"]
    both = {line["lang"] for line in lines} >= {"en", "zh"}
    return live if both and len(lines) > 12 else None


def _get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - our own http address
        values: dict[str, Any] = json.load(response)
        return values


def _wait(look: Callable[[], dict[str, Any] | None], what: str) -> dict[str, Any]:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            if found := look():
                return found
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(1)
    raise SystemExit(f"waited {_PATIENCE_SECONDS} s in vain for {what}")


if __name__ == "__main__":
    sys.exit(main())
