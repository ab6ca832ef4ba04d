"""A producer's first day in a browser, over a real server with its workers: upload, follow, publish, find."""

from __future__ import annotations

import re
import socket

import pytest
from playwright.async_api import expect

from streamarchive.demo.voices import UNHEARD, save_wave
from tests.archive import Archive
from tests.voices import speeches
from tests.waiting import until_async

SENTENCES = ("I prefer the windows because it is really fast.", "Our team in London has six engineers.")
PATIENT = 120_000  # ms; a limit for what would never happen


@pytest.fixture
async def served(tmp_path):
    """An archive with a producer, served; its address and the producer's password."""
    archive = Archive(tmp_path / "archive")
    made = await archive.do("users", "add", "pia", "--role", "producer", "--generate")
    password = re.search(r"Password: (\S+)", made.out)[1]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = await archive.start("serve", "--port", str(port))
    try:
        await until_async(lambda: _listens(port), "the server to listen", seconds=90)
        yield f"http://127.0.0.1:{port}", password
    finally:
        server.terminate()
        await server.communicate()


async def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_a_producer_uploads_follows_publishes_and_a_viewer_finds_a_word_of_it(chromium, served, tmp_path):
    address, password = served
    speech = tmp_path / "录音 of today.wav"
    save_wave(speech, speeches([(UNHEARD["en"][0], sentence) for sentence in SENTENCES]))

    page = await (await chromium.new_context(locale="en-GB")).new_page()
    await page.goto(f"{address}/desk")
    await page.fill("#name", "pia")
    await page.fill("#password", password)
    await page.click("main button")
    await page.goto(f"{address}/desk/new")
    await page.locator("form.details input[type=text], form.details input:not([type])").first.fill("Engineers")
    await page.get_by_role("button", name="Create").click()
    await page.locator("#upload input[name=recording]").set_input_files(speech)
    await page.get_by_role("button", name="Upload").click()
    await expect(page.locator("#desk[data-has-recording='1']")).to_be_visible(timeout=PATIENT)
    await expect(page.locator("#player")).to_be_visible(timeout=PATIENT)
    desk = page.url.partition("#")[0]

    viewer = await (await chromium.new_context(locale="en-GB")).new_page()
    await viewer.goto(f"{address}/search?q=%22six+engineers%22")
    await expect(viewer.locator("mark")).to_have_count(0)
    await page.goto(desk)
    await page.get_by_role("button", name="Public").click()

    async def found():
        await viewer.goto(f"{address}/search?q=%22six+engineers%22")
        return await viewer.locator("mark").count()

    await until_async(found, "a viewer to find what was said", seconds=120)
    await viewer.locator("a.moment").first.click()
    await expect(viewer.locator("li.line[aria-current]")).to_contain_text("six engineers")
