"""A part of a recording is taken away from a page that plays it."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from streamarchive import withholding
from streamarchive.catalogue import withheld
from streamarchive.models import Role
from tests import people
from tests.browser.test_interview_page import (
    CLOCK,
    held_back,
    holds,
    interview_url,
    line,
    live_video,
    opened,
    plays_at,
    seconds_in_picture,
)
from tests.site import TALK

HOLE_S = (8, 12)
"""Of the segments of two seconds, those that the range from 9 to 11 touches."""


async def withhold(site, recording_id):
    async with site.services.database.write() as tx:
        return (await withholding.withhold(tx, recording_id, 9_000, 11_000)).id


async def talk_on_air(site):
    """24 seconds with a line in the part that is withheld."""
    broadcast = await site.go_live({"en": "On air"})
    await broadcast.add_segments(12)
    await broadcast.say(*TALK[:5])
    return broadcast


async def stays(page):
    """The player is paused where it has come to and shows the picture of this moment."""
    await page.evaluate("""async () => {
        const player = document.getElementById("player");
        player.pause();
        const seeked = new Promise((resolve) => player.addEventListener("seeked", resolve, { once: true }));
        player.currentTime = player.currentTime;
        await seeked;
    }""")


async def has_buffered(page, seconds):
    """What of it is loaded already; a player that asks for more of what is being withheld complains."""
    buffered = "document.getElementById('player').buffered"
    await holds(page, f"{buffered}.length && {buffered}.end({buffered}.length - 1) > {seconds}")


async def pictures_until(page, seconds):
    """What the picture shows, again and again, until the player has come so far."""
    seen = []
    while await page.evaluate(CLOCK) < seconds:
        seen.append(await seconds_in_picture(page))
    return seen


@live_video
@pytest.mark.parametrize("ended", [False, True])
async def test_players_go_past_it_on_the_same_clock_and_its_lines_go(site, chromium, ended):
    broadcast = await talk_on_air(site)
    if ended:
        await broadcast.end()
    async with opened(chromium, await interview_url(site, broadcast.interview_id, "?t=4")) as page:
        await plays_at(page, 4)
        await page.locator("#player").evaluate("player => player.pause()")
        await has_buffered(page, 23)
        await expect(line(page, "智能座舱")).to_be_visible()
        await page.locator("#player").evaluate("player => player.play()")
        range_id = await withhold(site, broadcast.recording_id)
        await expect(line(page, "智能座舱")).to_have_count(0)
        await expect(page.locator("#lines")).to_contain_text("Not shown: 2 s of the recording.")
        await holds(page, f"{CLOCK} > 4.5")
        seen = await pictures_until(page, 13)
        assert not [second for second in seen if HOLE_S[0] + 0.5 < second < HOLE_S[1] - 0.5], seen
        await stays(page)
        assert abs(await seconds_in_picture(page) - await page.evaluate(CLOCK)) < 0.7
        await page.locator("#player").evaluate("player => player.play()")
        async with site.services.database.write() as tx:
            await withheld.lift(tx, range_id)
        await expect(line(page, "智能座舱")).to_be_visible()
        await line(page, "智能座舱").locator("p").click()
        await plays_at(page, 8)
        await page.locator("#player").evaluate("player => { player.pause(); player.currentTime = 10 }")
        await plays_at(page, 10)
        assert abs(await seconds_in_picture(page) - 10) < 0.7


@live_video
@pytest.mark.parametrize("ended", [False, True])
async def test_a_line_clicked_before_the_new_player_is_there_is_where_it_goes(site, chromium, ended):
    broadcast = await talk_on_air(site)
    range_id = await withhold(site, broadcast.recording_id)
    if ended:
        await broadcast.end()
    async with opened(chromium, await interview_url(site, broadcast.interview_id, "?t=13")) as page:
        await plays_at(page, 13)
        async with held_back(page, "**/playlist.m3u8*") as asked:
            async with site.services.database.write() as tx:
                await withheld.lift(tx, range_id)
            await expect(line(page, "智能座舱")).to_be_visible()
            await asked.wait()
            await line(page, "智能座舱").locator("p").click()
        await plays_at(page, 8)


async def test_a_file_that_is_open_is_taken_away(site, chromium):
    interview_id = await site.ready({"en": "Cars"})
    interview = await site.interview(interview_id)
    async with opened(chromium, await interview_url(site, interview_id, "?t=8")) as page:
        await plays_at(page, 8)
        await has_buffered(page, 29)
        await withhold(site, interview.recording_id)
        await expect(page.locator("#player")).to_have_count(0)
        await expect(page.locator("#screen")).to_contain_text("There is nothing to play at the moment.")
        await expect(line(page, "智能座舱")).to_have_count(0)


async def sign_in(page):
    """As the producer."""
    await page.get_by_label("Name").fill("producer")
    await page.get_by_label("Password").fill(people.PASSWORD)
    await page.get_by_role("main").get_by_role("button", name="Sign in").click()


async def test_a_producer_withholds_what_the_player_shows(site, chromium):
    interview_id = await site.ready({"en": "Cars"})
    await people.add(site, "producer", Role.PRODUCER)
    async with opened(chromium, f"{site.url}/sign-in?next=/desk/{interview_id}") as page:
        await sign_in(page)
        for name, seconds in (("From", 9), ("To", 11)):
            await holds(page, "document.getElementById('player')?.readyState > 0")
            await page.locator("#player").evaluate("(player, at) => { player.currentTime = at }", seconds)
            await plays_at(page, seconds)
            field = page.get_by_label(name, exact=True)
            await page.locator(".moment-field", has=field).get_by_role("button", name="Here").click()
            await expect(field).to_have_value(f"0:{seconds:02}")
        await page.get_by_role("button", name="Withhold it").click()
        await expect(page.locator(".ranges")).to_contain_text("0:09 – 0:11")


async def test_a_producer_withholds_and_lifts_without_scripts(site, chromium):
    broadcast = await site.go_live({"en": "On air"})
    await broadcast.add_segments(4)
    await broadcast.say(*TALK[:2])
    await people.add(site, "producer", Role.PRODUCER)
    url = f"{site.url}/sign-in?next=/desk/{broadcast.interview_id}"
    async with opened(chromium, url, java_script_enabled=False) as page:
        await sign_in(page)
        await page.get_by_role("button", name="Withhold the last 30 s").click()
        await expect(page.get_by_role("status")).to_contain_text("Nobody gets this part any more")
        await page.get_by_role("button", name="Show it again").click()
        await expect(page.get_by_role("status")).to_contain_text("It is shown again")
        await expect(page.get_by_role("button", name="Show it again")).to_have_count(0)
