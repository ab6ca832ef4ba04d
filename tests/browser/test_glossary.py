"""The glossary in a browser without scripts, wide and on a phone: a term added, a list looked at and taken."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from streamarchive.models import Role
from tests import people

SIZES = {"wide": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
LIST = "term\tlanguage\tname\tzh\nNIO\ten\tyes\t蔚来\nsmart cockpit\ten\t\t智能座舱\n"


@pytest.mark.parametrize("size", SIZES)
async def test_an_editor_fills_the_glossary_without_scripts(site, chromium, size):
    await people.add(site, "eva", Role.EDITOR)
    context = await chromium.new_context(viewport=SIZES[size], locale="en-GB", java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{site.url}/sign-in")
    await page.get_by_label("Name").fill("eva")
    await page.get_by_label("Password").fill(people.PASSWORD)
    await page.locator("main").get_by_role("button", name="Sign in").click()

    await page.get_by_role("link", name="Glossary").click()
    await page.get_by_role("link", name="Add a term").click()
    await page.get_by_label("Term or name").fill("battery swap")
    await page.get_by_label("Its language").select_option("en")
    await page.get_by_label("In Chinese").fill("换电")
    await page.get_by_role("button", name="Add", exact=True).click()
    await expect(page.get_by_role("status")).to_have_text(
        "The term is in the glossary; search knows it from now on."
    )

    await page.get_by_role("link", name="Take in a list").click()
    await page.get_by_label("or its lines").fill(LIST)
    await page.get_by_role("button", name="Look at it first").click()
    await expect(page.get_by_role("status")).to_have_text("New: 2. Corrected: 0. As they are: 0.")
    await page.get_by_role("button", name="Take it in").click()
    await expect(page.locator(".saved li")).to_have_count(3)
    await expect(page.locator(".saved li", has_text="NIO").locator(".badge")).to_have_text("name")
    fits = await page.locator("html").evaluate("html => html.scrollWidth <= html.clientWidth")
    assert fits, "nothing sticks out of the page"
    await context.close()
