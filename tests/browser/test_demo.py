"""The demo in a browser: watched, made to speak, searched, its recorder killed, its broadcast ended.

One demo runs for all of them, in the order in which they stand here.
"""

import re

import pytest
from playwright.async_api import expect

from tests.demo import Demo, moment, shown_time
from tests.waiting import PATIENCE, until, until_async

WITHIN_MS = 1_000
SENTENCE = "en|The {part} is {adv} {adj} {conn} I {like} it."


@pytest.fixture(scope="module")
def demo(tmp_path_factory, ffmpeg):
    running = Demo(tmp_path_factory.mktemp("demo") / "archive")
    yield running
    running.close()


@pytest.fixture
async def page(chromium):
    context = await chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    page = await context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    await context.close()
    assert errors == []


async def make_guest_say(page, choices):
    """Through the strip's dialog; returns the sentence."""
    await page.get_by_role("link", name="Make the guest say…").click()
    await page.locator("#demo-dialog[open]").wait_for()
    shown = await page.locator("#say").element_handle()
    await page.locator("#sentence").select_option(SENTENCE)
    await shown.wait_for_element_state("hidden")
    places = page.locator(".say-fill select")
    await until_async(lambda: has_count(places, len(choices)), "the places of the sentence")
    for index, choice in enumerate(choices):
        await places.nth(index).select_option(choice)
    await page.get_by_role("button", name="Say it").click()
    answer = page.locator("[data-demo-answer]")
    await answer.wait_for()
    return re.search("“(.+)”", await answer.inner_text())[1]


def seen(demo, interview, field, unseen=None):
    """What the site says of the interview now; `unseen` while it does not answer."""
    return (demo.try_get(f"/api/interviews/{interview['id']}") or {field: unseen})[field]


def searchable_s(demo):
    status = demo.try_get("/demo/status.json")
    return status and status["figures"]["searchable_s"]


async def has_count(locator, count):
    return await locator.count() == count


async def open_hit(page, demo, query):
    """Search in the page and open the first moment found."""
    await page.goto(demo.address)
    await page.get_by_role("combobox").fill(query)
    await page.keyboard.press("Enter")
    await page.locator("a.moment").first.click()
    await page.locator("#interview").wait_for()


async def test_a_sentence_said_on_air_is_read_found_and_opened_at_its_moment(demo, page):
    interview = demo.on_air()
    await page.goto(interview["url"])
    await page.evaluate("document.getElementById('player').muted = true")
    await page.evaluate("document.getElementById('player').play()")
    first = await shown_time(page)
    await until_async(lambda: is_after(page, first), "the picture's clock to move")
    await page.locator("#lines .line").first.wait_for()

    said = await make_guest_say(page, ["horn", "extremely", "beautiful", "although", "trust"])
    assert said == "The horn is extremely beautiful although I trust it."
    line = until(demo.requested, "the sentence to be over")[0]
    await page.locator("#lines .line", has_text="extremely beautiful although").wait_for(
        timeout=90_000 * PATIENCE
    )
    until(lambda: demo.search('"extremely beautiful although"'), "search to find it")

    await open_hit(page, demo, '"extremely beautiful although"')
    assert abs(await shown_time(page) - moment(line)) < WITHIN_MS


async def is_after(page, time_ms):
    return await shown_time(page) > time_ms


async def test_a_killed_recorder_is_replaced_and_fetches_what_was_missed(demo, page):
    interview = demo.on_air()
    await page.goto(interview["url"])
    await page.get_by_role("button", name="Kill the recorder").click()
    await page.locator("[data-demo-answer]", has_text="was killed").wait_for()
    before = demo.interview(interview["id"])["duration_ms"]
    until(lambda: seen(demo, interview, "duration_ms", 0) > before + 8_000, "the recording to go on")
    assert demo.interview(interview["id"])["stage"] == "live"
    # A gap may stand there for a moment: the source still lists what was missed; the next recorder fetches it.
    await expect(page.locator("#lines .gap")).to_have_count(0, timeout=60_000 * PATIENCE)


async def test_an_ended_broadcast_is_a_recording_at_the_same_address_and_the_next_is_on_air(demo, page):
    interview = demo.on_air()
    line = demo.requested()[0]
    await page.goto(interview["url"])
    await page.get_by_role("button", name="End this broadcast").click()
    until(lambda: seen(demo, interview, "stage") == "ready", "the recording", seconds=120)
    until(lambda: demo.on_air()["id"] != interview["id"], "the next broadcast")

    await open_hit(page, demo, '"extremely beautiful although"')
    assert page.url.startswith(interview["url"])
    assert await page.locator("#screen").get_attribute("data-kind") == "file"
    assert abs(await shown_time(page) - moment(line)) < WITHIN_MS


async def test_the_pages_say_that_this_is_a_demo_recogniser_in_both_languages(demo, page):
    await page.goto(demo.address)
    notice = page.locator(".demo-notice")
    assert "514 English and 332 Mandarin synthetic words" in await notice.inner_text()
    await page.get_by_role("button", name="中文").click()
    await page.locator(".demo-notice", has_text="514 个英文单词和 332 个中文词语").wait_for()


async def test_figures_are_measured(demo, page):
    until(lambda: searchable_s(demo), "measured figures", seconds=60)
    await page.goto(demo.address)
    measured = page.locator("[data-demo-measured]", has_text="searchable")
    await measured.wait_for()
    assert re.search(r"caption \d+\.\d s, searchable \d+\.\d s", await measured.inner_text())


async def test_without_scripts_the_guest_can_be_made_to_speak_too(demo, chromium):
    context = await chromium.new_context(java_script_enabled=False, locale="en-GB")
    page = await context.new_page()
    await page.goto(demo.address)
    await page.get_by_role("link", name="Make the guest say…").click()
    await page.locator("#sentence").select_option(SENTENCE)
    await page.get_by_role("button", name="Choose").click()
    await page.locator(".say-fill select").first.select_option("trunk")
    await page.get_by_role("button", name="Say it").click()
    said = await page.locator("main q").inner_text()
    assert said.startswith("The trunk is ")
    until(lambda: [line for line in demo.requested() if line["text"] == said], "the sentence to be said")
    await context.close()
