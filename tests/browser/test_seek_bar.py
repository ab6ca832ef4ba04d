"""The bar below a finished recording, in a real browser: thumbnails, the waveform, and both by keyboard."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from streamarchive.catalogue import assets
from streamarchive.media.probe import probe
from streamarchive.media.survey import survey
from streamarchive.models import AssetKind, Role
from tests import people
from tests.browser.test_editor import signed_in
from tests.browser.test_interview_page import PHONE, holds, interview_url, opened, plays_at

PLAYER = "document.getElementById('player')"
COLOURS = """() => {
    const canvas = document.querySelector("#seek canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const pixels = new Uint32Array(data.buffer);
    return new Set(pixels.filter((pixel) => pixel >>> 24 === 255)).size;
}"""


async def surveyed(site, tmp_path, *, audio_only=False, **more):
    """A finished interview with what a finaliser finds in its file."""
    interview_id = await site.ready({"en": "Cars that listen"}, audio_only=audio_only, **more)
    recording_id = (await site.interview(interview_id)).recording_id
    file = site.media.m4a if audio_only else site.media.mp4
    info = await probe(file)
    found = await survey(file, info, tmp_path, lambda _: None)
    made = [(AssetKind.PEAKS, found.peaks, ".dat", {})]
    if found.strip:
        made.append((AssetKind.THUMBNAILS, found.thumbnails, ".jpg", found.strip.details()))
    for kind, path, suffix, details in made:
        stored = await site.keep(path, "assets", suffix)
        media_type = "image/jpeg" if suffix == ".jpg" else "application/octet-stream"
        async with site.services.database.write() as tx:
            await assets.put(tx, recording_id, kind, stored, media_type, "test", details=details)
    return interview_id


@pytest.mark.parametrize("options", [{"viewport": {"width": 1280, "height": 860}}, {"viewport": PHONE}])
async def test_the_bar_shows_what_a_moment_looks_like_and_goes_there(site, chromium, tmp_path, options):
    interview_id = await surveyed(site, tmp_path)
    async with opened(chromium, await interview_url(site, interview_id), **options) as page:
        bar = page.get_by_role("slider", name="Go to a moment")
        await expect(bar).to_be_visible()
        await expect(page.locator("#seek canvas")).to_be_hidden()
        box = await bar.bounding_box()
        await page.mouse.move(box["x"] + box["width"] * 0.95, box["y"] + box["height"] / 2)
        glimpse = page.locator(".glimpse")
        await expect(glimpse).to_be_visible()
        await expect(glimpse.locator(".glimpse-time")).to_have_text("0:28")
        # Two seconds a picture, fifteen in one row.
        picture = glimpse.locator(".glimpse-picture")
        await expect(picture).to_have_css("background-position", "-2240px 0px")
        await expect(picture).to_have_css("background-image", re.compile(r"thumbnails\.jpg\?v="))
        for edge in (glimpse, picture):
            placed = await edge.bounding_box()
            assert placed["x"] >= 0
            assert placed["x"] + placed["width"] <= options["viewport"]["width"]
        await page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] / 2)
        await plays_at(page, 15)
        await page.mouse.move(5, 5)
        await expect(glimpse).to_be_hidden()


async def test_the_bar_is_used_by_keyboard_and_says_where_it_is(site, chromium, tmp_path):
    interview_id = await surveyed(site, tmp_path)
    async with opened(chromium, await interview_url(site, interview_id, "?t=8")) as page:
        await plays_at(page, 8)
        await page.evaluate(f"{PLAYER}.pause()")
        bar = page.get_by_role("slider", name="Go to a moment")
        for _ in range(40):
            if await bar.evaluate("bar => bar === document.activeElement"):
                break
            await page.keyboard.press("Tab")
        await expect(page.locator(".glimpse")).to_be_visible()
        before = await page.evaluate(f"{PLAYER}.currentTime")
        await page.keyboard.press("ArrowRight")
        await holds(page, f"Math.abs({PLAYER}.currentTime - {before} - 5) < 0.3")
        await page.keyboard.press("Home")
        await holds(page, f"{PLAYER}.currentTime < 0.3")
        await page.keyboard.press("PageUp")
        await holds(page, f"{PLAYER}.currentTime > 29")
        await expect(bar).to_have_attribute("aria-valuetext", re.compile(r"^0:(29|30) / 0:(29|30)$"))


async def test_editors_see_the_waveform_and_click_into_it(site, chromium, tmp_path):
    await people.add(site, "eva", Role.EDITOR)
    interview_id = await surveyed(site, tmp_path)
    async with signed_in(chromium, site, interview_id) as page:
        canvas = page.locator("#seek canvas")
        await expect(canvas).to_be_visible()
        box = await canvas.bounding_box()
        await page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] / 2)
        await plays_at(page, 15)
        assert await page.evaluate(COLOURS) >= 2, "what has been played has another colour"


async def test_sound_alone_has_its_waveform_as_its_bar(site, chromium, tmp_path):
    interview_id = await surveyed(site, tmp_path, audio_only=True)
    async with opened(chromium, await interview_url(site, interview_id), viewport=PHONE) as page:
        await expect(page.locator("#seek canvas")).to_be_visible()
        assert await page.evaluate(COLOURS) >= 1
