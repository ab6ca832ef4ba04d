"""Search in a browser: suggestions by keyboard, facets, more, and the glossary between two languages."""

from __future__ import annotations

import contextlib

import pytest
from playwright.async_api import expect
from sqlalchemy import select

from streamarchive.catalogue import saved_searches, tables
from streamarchive.catalogue.database import now
from streamarchive.catalogue.people import Guest
from streamarchive.models import Role
from tests import people
from tests.browser.test_interview_page import SLOWLY
from tests.site import draft
from workers import watcher

PHONE = {"width": 390, "height": 844}
WIDE = {"width": 1280, "height": 900}


@contextlib.asynccontextmanager
async def opened(chromium, url, *, viewport=WIDE, scripts=True, slowly=False):
    """A page that must not complain, neither of scripts nor of what its security policy forbids."""
    context = await chromium.new_context(viewport=viewport, locale="en-GB", java_script_enabled=scripts)
    if slowly:
        await context.add_init_script(SLOWLY)
    page = await context.new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    await page.goto(url)
    try:
        yield page
    finally:
        await context.close()
    assert complaints == []


@pytest.fixture
async def talks(site):
    """Some to search in, and a pair of the glossary."""
    guest = Guest({"en": "Zhang Wei", "zh": "张伟"}, {})
    await site.ready({"en": "Cabins that listen", "zh": "会倾听的座舱"}, guests=[guest])
    await site.ready({"en": "Battery talk"}, [draft(0, "A battery.", speaker="Ann"), draft(4_000, "A battery.")])
    async with site.services.database.write() as tx:
        term = {"term": "智能座舱", "lang": "zh", "means": {"en": "smart cockpit"}, "created_at": await now(tx)}
        await tx.execute(tables.glossary_term.insert().values(**term))
    return site


async def test_a_word_of_one_language_opens_the_moment_of_the_other(site, chromium):
    await site.ready({"zh": "对话"}, [draft(0, "你好。", "zh"), draft(8_000, "我们的智能座舱可以理解。", "zh")])
    async with site.services.database.write() as tx:
        term = {"term": "智能座舱", "lang": "zh", "means": {"en": "smart cockpit"}, "created_at": await now(tx)}
        await tx.execute(tables.glossary_term.insert().values(**term))
    async with opened(chromium, site.url, slowly=True) as page:
        await page.get_by_role("combobox").fill("smart cockpit")
        await page.keyboard.press("Enter")
        await page.locator("a.moment", has_text="智能座舱").click()
        await expect(page.locator("li.line", has_text="智能座舱")).to_have_attribute("aria-current", "true")
        await page.wait_for_function("() => Math.abs(document.getElementById('player').currentTime - 8) < 3")


async def test_suggestions_are_chosen_by_keyboard(talks, chromium):
    async with opened(chromium, talks.url) as page:
        box = page.get_by_role("combobox")
        await box.fill("zhangw")
        option = page.get_by_role("option")
        await expect(option).to_have_count(1)
        await expect(option).to_contain_text("张伟")
        await expect(box).to_have_attribute("aria-expanded", "true")
        await page.keyboard.press("ArrowDown")
        await expect(option).to_have_attribute("aria-selected", "true")
        await expect(box).to_have_attribute("aria-activedescendant", await option.get_attribute("id"))
        await page.keyboard.press("Escape")
        await expect(box).to_have_attribute("aria-expanded", "false")
        await expect(box).to_have_value("zhangw")
        await page.keyboard.press("ArrowDown")
        await expect(option).to_have_count(1)
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        await expect(page.locator(".result h2")).to_have_text("Cabins that listen")


async def test_a_title_leads_to_its_interview_and_enter_alone_searches(talks, chromium):
    async with opened(chromium, talks.url) as page:
        await page.get_by_role("combobox").press_sequentially("cabins")
        await page.get_by_role("option", name="Cabins that listen").click()
        await expect(page.locator("h1")).to_have_text("Cabins that listen")
        await page.get_by_role("combobox").press_sequentially("battery")
        await expect(page.get_by_role("option")).not_to_have_count(0)
        await page.keyboard.press("Enter")
        await expect(page.locator(".result h2").first).to_have_text("Battery talk")


async def test_an_input_method_is_not_disturbed(talks, chromium):
    """While characters are composed, Enter and arrows belong to the input method, and nothing is asked."""
    async with opened(chromium, talks.url) as page:
        asked = []
        page.on("request", lambda request: "/api/suggestions" in request.url and asked.append(request.url))
        await page.evaluate("""() => {
            const box = document.getElementById("q");
            box.focus();
            box.dispatchEvent(new CompositionEvent("compositionstart"));
            box.value = "zuo";
            box.dispatchEvent(new InputEvent("input", { isComposing: true }));
            box.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", keyCode: 229, bubbles: true }));
            box.value = "座舱";
            box.dispatchEvent(new CompositionEvent("compositionend", { data: "座舱" }));
        }""")
        await expect(page.get_by_role("option")).not_to_have_count(0)
        assert page.url.rstrip("/") == talks.url
        assert len(asked) == 1


@pytest.mark.parametrize("viewport", [WIDE, PHONE])
async def test_facets_come_after_the_results_and_narrow_them(talks, chromium, viewport):
    async with opened(chromium, f"{talks.url}/search?q=battery", viewport=viewport) as page:
        if viewport == PHONE:
            await page.get_by_text("Narrow down", exact=True).click()
        await page.locator("#narrow a", has_text="Ann").click()
        await expect(page.locator("a.moment")).to_have_count(1)
        assert "speaker%3AAnn" in page.url
        await page.locator(".chip", has_text="Ann").click()
        await expect(page.locator("a.moment")).to_have_count(3)
        wide = await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert wide


async def test_without_scripts_everything_is_links_and_forms(talks, chromium):
    for number in range(21):
        await talks.ready({"en": f"Talk {number}"}, [draft(0, "A battery.", speaker="Host")])
    async with opened(chromium, talks.url, scripts=False) as page:
        await page.get_by_role("searchbox").fill("battery")
        await page.keyboard.press("Enter")
        await expect(page.locator(".result")).to_have_count(20)
        await page.get_by_role("link", name="More interviews").click()
        await expect(page.locator(".result")).to_have_count(3)
        await page.get_by_role("link", name="Moments").click()
        await page.get_by_role("link", name="Narrow down").click()
        await page.get_by_role("link", name="Ann").click()
        await expect(page.locator(".one-by-one .result")).to_have_count(1)


async def test_what_was_typed_is_never_markup(site, chromium):
    hostile = '<img src=x onerror="document.title=1">'
    await site.ready({"en": hostile}, [draft(0, f"battery {hostile}", speaker=hostile)])
    async with opened(chromium, f"{site.url}/search?q=battery") as page:
        await expect(page.locator("a.moment")).to_contain_text("<img src=x")
        assert await page.locator("main img[src='x']").count() == 0
        await page.get_by_role("combobox").fill("img")
        await expect(page.get_by_role("option")).to_contain_text("<img src=x")
        assert await page.title() != "1"


async def test_what_somebody_listens_for_comes_to_the_open_home_page(site, chromium):
    await people.add(site, "eva", Role.EDITOR)
    async with site.services.database.write() as tx:
        eva = (await tx.execute(select(tables.user.c.id))).scalar_one()
        await saved_searches.add(tx, eva, '"smart cockpit"', None)
    async with opened(chromium, f"{site.url}/sign-in?next=/") as page:
        await page.locator("#name").fill("eva")
        await page.locator("#password").fill(people.PASSWORD)
        await page.locator("main button").click()
        told = page.locator("#told-lately")
        await expect(told).to_have_count(1)
        await expect(told.locator("mark")).to_have_count(0)
        await site.ready({"en": "Cars"}, [draft(4_000, "The smart cockpit listens.")])
        assert await watcher.Watcher(site.services).compare()
        await expect(told.locator("mark")).to_have_text("smart cockpit", timeout=30_000)
        await told.get_by_role("button").click()
        await expect(told.locator("mark")).to_have_count(0)
