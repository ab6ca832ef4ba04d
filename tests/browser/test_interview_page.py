"""The interview page in a real browser, over real media."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import expect

from streamarchive.catalogue import captioning
from streamarchive.models import AssetKind, Visibility
from tests.site import BAR_STEP, SEGMENT_MS, TALK, draft
from tests.waiting import until_async
from web.keys import HUB
from web.static_files import StaticFiles

CLOCK = "document.getElementById('player').currentTime"
PLAYING = "(() => { const p = document.getElementById('player'); return !p.paused && p.readyState > 2; })()"
PHONE = {"width": 390, "height": 844}
LANDINGS = """
    window.landings = [];
    let towards = null;
    addEventListener("seeking", ({ target }) => { towards = target.currentTime }, true);
    addEventListener("seeked", () => landings.push(towards), true);
"""
"""Keeps where players were sent and have arrived; a clock that runs may be read too late to tell."""
SLOWLY = 'addEventListener("play", ({ target }) => { target.playbackRate = 0.1 }, true)'
"""Players take ten seconds for one: whoever looks late sees the same second."""

live_video = pytest.mark.skipif(
    not StaticFiles().has("vendor/hls.light.min.js"), reason="hls.js is not installed: make install"
)


@asynccontextmanager
async def opened(chromium, url, *, complaints=(), slowly=False, **options):
    """A page that may not complain: no console errors, no violation of the content security policy."""
    context = await chromium.new_context(locale="en-GB", **options)
    await context.add_init_script(LANDINGS)
    if slowly:
        await context.add_init_script(SLOWLY)
    page = await context.new_page()
    found = []
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    await page.goto(url)
    yield page
    await context.close()
    assert [text for text in found if not any(known in text for known in complaints)] == []


async def interview_url(site, interview_id, query=""):
    return f"{site.url}{(await site.interview(interview_id)).address}{query}"


def line(page, text):
    return page.locator("li.line", has_text=text)


async def holds(page, expression):
    """Wait until this is true in the page; asked from outside, where its security policy does not reach."""
    await until_async(lambda: page.evaluate(expression), expression)


async def plays_at(page, seconds, tolerance=1.0):
    """The player has gone to this second, as the last one it was sent to, and perhaps on from there."""
    landed = f"landings.at(-1) >= {seconds} - 0.3 && landings.at(-1) < {seconds} + {tolerance}"
    await holds(page, f"{landed} && {CLOCK} >= landings.at(-1)")


@asynccontextmanager
async def held_back(page, pattern):
    """What the page asks for by such an address stays unanswered until the block is left; tells when it asks."""
    asked, let_go = asyncio.Event(), asyncio.Event()

    async def answer(route):
        asked.set()
        await let_go.wait()
        await route.continue_()

    await page.route(pattern, answer)
    try:
        yield asked
    finally:
        let_go.set()
        await page.unroute_all(behavior="wait")


async def seconds_in_picture(page):
    """The time that the picture itself shows: the brightness of the bar at its foot."""
    level = await page.evaluate("""() => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 36 });
        const context = canvas.getContext("2d");
        context.drawImage(document.getElementById("player"), 0, 0, 64, 36);
        return context.getImageData(32, 32, 1, 1).data[0];
    }""")
    return level * 219 / 255 / BAR_STEP


async def test_a_link_to_a_moment_opens_there(site, chromium):
    interview_id = await site.ready({"en": "Cars"})
    async with opened(chromium, await interview_url(site, interview_id, "?t=8"), slowly=True) as page:
        await plays_at(page, 8)
        assert 7 <= await seconds_in_picture(page) <= 11
        await expect(line(page, "智能座舱")).to_have_attribute("aria-current", "true")


async def test_a_search_hit_leads_to_its_second(site, chromium):
    await site.ready({"en": "Cars"})
    async with opened(chromium, site.url) as page:
        await page.get_by_role("combobox").fill("battery prices")
        await page.keyboard.press("Enter")
        await page.get_by_role("link", name="Battery prices have fallen").click()
        await plays_at(page, 12)
        assert re.search(r"\?t=12$", page.url)


async def test_a_click_on_a_line_goes_there_and_plays(site, chromium):
    interview_id = await site.ready({"en": "Cars"})
    async with opened(chromium, await interview_url(site, interview_id), slowly=True) as page:
        await line(page, "So who writes").locator("p").click()
        await plays_at(page, 16)
        await holds(page, PLAYING)
        await expect(line(page, "So who writes")).to_have_attribute("aria-current", "true")


async def test_the_line_being_spoken_is_marked_while_it_plays(site, chromium):
    interview_id = await site.ready({"en": "Cars"})
    async with opened(chromium, await interview_url(site, interview_id, "?t=3.8"), slowly=True) as page:
        await expect(line(page, "smart cockpit")).to_have_attribute("aria-current", "true")
        assert await page.locator("[aria-current]").count() == 1


async def test_scrolling_away_stops_the_following_and_offers_the_way_back(site, chromium):
    lines = [draft(number * 300, f"This is line number {number}.") for number in range(90)]
    interview_id = await site.ready({"en": "Long"}, lines)
    url = await interview_url(site, interview_id, "?t=15")
    async with opened(chromium, url, viewport=PHONE, reduced_motion="reduce") as page:
        marked = page.locator("li.line[aria-current]")
        await expect(marked).to_be_in_viewport()
        await page.locator("#player").evaluate("player => player.pause()")
        await page.mouse.move(200, 600)
        await page.mouse.wheel(0, -3000)
        back = page.get_by_role("button", name="Back to now")
        await expect(back).to_be_visible()
        await expect(marked).not_to_be_in_viewport()
        await page.locator("#player").evaluate("player => { player.currentTime = 20.2 }")
        await expect(marked).to_contain_text("67")
        await expect(marked).not_to_be_in_viewport()
        await back.click()
        await expect(marked).to_be_in_viewport()
        await expect(back).to_be_hidden()


@live_video
@pytest.mark.parametrize("missing", ["**/hls.light.min*.js*", "**/playlist.m3u8*", "**/segments/*"])
async def test_a_line_chosen_before_the_video_is_there_wins_over_the_address(site, chromium, missing):
    broadcast = await site.go_live({"en": "On air"})
    await broadcast.add_segments(12)
    await broadcast.say(*TALK[:3], draft(9_300, "It is later now."))
    async with opened(chromium, "about:blank") as page:
        async with held_back(page, missing) as asked:
            await page.goto(await interview_url(site, broadcast.interview_id, "?t=9.3"), wait_until="commit")
            await asked.wait()
            await line(page, "智能座舱").locator("p").click()
        await plays_at(page, 8)


async def test_sound_alone_plays_as_well(site, chromium):
    interview_id = await site.ready({"en": "Radio"}, audio_only=True)
    async with opened(chromium, await interview_url(site, interview_id, "?t=4")) as page:
        assert await page.locator("audio#player").count() == 1
        await plays_at(page, 4)


@live_video
async def test_live_plays_and_captions_come_by_themselves(site, chromium):
    broadcast = await site.go_live({"en": "On air"})
    await broadcast.add_segments(6)
    async with opened(chromium, await interview_url(site, broadcast.interview_id), slowly=True) as page:
        await page.locator("#player").evaluate("player => player.play()")
        await holds(page, f"{CLOCK} > 4")
        await broadcast.say(TALK[0], TALK[1])
        await expect(line(page, "Welcome back")).to_be_visible()
        await broadcast.say(draft(60_000, "This has not been shown yet."))
        await expect(line(page, "not been shown yet")).to_have_class(re.compile(r"\bahead\b"))
        await page.get_by_role("button", name="From the beginning").click()
        await plays_at(page, 0, 2)
        await expect(line(page, "Welcome back")).to_have_attribute("aria-current", "true")


@live_video
async def test_the_gap_of_a_restart_is_shown(site, chromium):
    broadcast = await site.go_live({"en": "On air"})
    await broadcast.add_segments(3)
    async with opened(chromium, await interview_url(site, broadcast.interview_id)) as page:
        await broadcast.interrupt()
        await expect(page.locator("li.gap")).to_contain_text("interrupted")
        await broadcast.add_segments(2)
        await broadcast.say(draft(6_000, "Here we are again."))
        await expect(line(page, "Here we are again")).to_be_visible()
        gaps = "lines => lines.map((line) => line.classList.contains('gap'))"
        order = await page.locator("#lines > li").evaluate_all(gaps)
        assert order.index(True) < len(order) - 1


@live_video
async def test_positions_hold_across_a_reconnect(site, chromium):
    """The second take's time stamps begin anew, as they do when a recorder is restarted."""
    broadcast = await site.go_live({"en": "On air"})
    await broadcast.add_segments(4)
    await broadcast.interrupt()
    broadcast.picture = 0
    await broadcast.add_segments(6)
    at = 5 * SEGMENT_MS + 500
    lines = [draft(number * SEGMENT_MS, f"Line number {number}.") for number in range(10)]
    await broadcast.say(*lines)
    url = await interview_url(site, broadcast.interview_id, f"?t={at / 1000}")
    async with opened(chromium, url, slowly=True) as page:
        await expect(line(page, "Line number 5.")).to_have_attribute("aria-current", "true")
        await page.locator("#player").evaluate("player => player.pause()")
        await line(page, "Line number 6.").get_by_role("link").click()
        await holds(page, PLAYING)
        await page.locator("#player").evaluate("player => player.pause()")
        # Line 6 begins 12 s into the recording, which is 4 s into the second take.
        assert 4 - 0.3 <= await seconds_in_picture(page) <= 5.5


@live_video
async def test_a_moment_ahead_of_the_picture_counts_down_and_then_plays(site, chromium):
    broadcast = await site.go_live({"en": "On air"})
    await broadcast.add_segments(3)
    await broadcast.say(draft(7_000, "The captions are ahead of the picture."))
    async with opened(chromium, await interview_url(site, broadcast.interview_id, "?t=7")) as page:
        await expect(page.locator("#notice")).to_contain_text("This moment can be played in")
        await broadcast.add_segments(3)
        await plays_at(page, 7)
        await expect(page.locator("#notice")).to_be_hidden()


@live_video
async def test_a_page_that_has_seen_the_end_changes_to_the_recording_by_itself(site, chromium):
    broadcast = await site.go_live({"en": "On air"})
    await broadcast.add_segments(len(site.media.segments))
    async with opened(chromium, await interview_url(site, broadcast.interview_id, "?t=26")) as page:
        await holds(page, f"{CLOCK} > 26")
        await broadcast.end()
        await holds(page, "document.getElementById('player').ended")
        await site.put_asset(broadcast.recording_id, AssetKind.MP4)
        await holds(page, "document.getElementById('player').src.includes('/media.mp4')")
        await holds(page, f"{CLOCK} > 28 && document.getElementById('player').paused")


@live_video
async def test_the_page_goes_on_with_the_recording_after_the_end(site, chromium):
    broadcast = await site.go_live({"en": "On air"})
    await broadcast.add_segments(8)
    await broadcast.say(*TALK[:3])
    async with opened(chromium, await interview_url(site, broadcast.interview_id), slowly=True) as page:
        await page.locator("#player").evaluate("player => player.play()")
        await holds(page, f"{CLOCK} > 5")
        await broadcast.end()
        await expect(page.locator("#notice")).to_contain_text("The broadcast has ended")
        await site.put_asset(broadcast.recording_id, AssetKind.MP4)
        offer = page.get_by_role("button", name="Go on with the recording")
        await expect(offer).to_be_visible()
        await line(page, "智能座舱").locator("p").click()
        await plays_at(page, 8)
        await offer.click()  # whoever reads on meanwhile has it still
        await holds(page, "document.getElementById('player').src.includes('/media.mp4')")
        await holds(page, f"{CLOCK} > 8")
        await expect(page.get_by_role("button", name="Go live")).to_be_hidden()


async def test_a_scheduled_interview_goes_on_air_by_itself(site, chromium):
    interview_id = await site.create({"en": "Soon"})
    async with opened(chromium, await interview_url(site, interview_id)) as page:
        await expect(page.locator(".waiting")).to_be_visible()
        broadcast = await site.begin(interview_id)
        await expect(page.locator("[data-badge]")).to_contain_text("On air")
        await broadcast.add_segments(3)
        await expect(page.locator("video#player")).to_be_visible()


async def test_a_hidden_interview_leaves_open_pages(site, chromium):
    interview_id = await site.ready({"en": "Cars"})
    async with opened(chromium, await interview_url(site, interview_id)) as page:
        await expect(page.locator("#player")).to_be_visible()
        await site.show(interview_id, Visibility.DRAFT)
        await expect(page.locator("#notice")).to_contain_text("no longer available")
        await expect(page.locator("#player")).to_have_count(0)


async def test_without_scripts_everything_but_live_video_works(site, chromium):
    interview_id = await site.ready({"en": "Cars"})
    async with opened(chromium, site.url, java_script_enabled=False) as page:
        await page.get_by_role("searchbox").fill("cockpit")
        await page.keyboard.press("Enter")
        await page.get_by_role("link", name="The smart cockpit").click()
        assert page.url.endswith("?t=4")
        source = await page.locator("video").get_attribute("src")
        assert source.endswith("#t=4")
        await expect(line(page, "smart cockpit")).to_have_attribute("aria-current", "true")
        await page.get_by_role("link", name="To 0:04 in the transcript").click()
        await expect(line(page, "smart cockpit")).to_be_in_viewport()
        await line(page, "Thank you for this").get_by_role("link").click()
        assert page.url == await interview_url(site, interview_id, "?t=24")
        await page.get_by_role("button", name="中文").click()
        await expect(page.get_by_role("heading", name="文字稿")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_no_page_is_wider_than_a_phone(site, chromium, scheme):
    long = "An exceptionally long title about Fahrzeugentwicklungsumgebungen and everything that follows from it"
    interview_id = await site.ready({"en": long})
    broadcast = await site.go_live({"en": long + " live"})
    await broadcast.add_segments(2)
    paths = ["/", "/search", "/search?q=cockpit", f"/interviews/{interview_id}", "/nope"]
    paths.append(f"/interviews/{broadcast.interview_id}")
    for path in paths:
        missing = ["404"] if path == "/nope" else []
        async with opened(
            chromium, site.url + path, complaints=missing, viewport=PHONE, color_scheme=scheme
        ) as page:
            width = await page.evaluate("document.documentElement.scrollWidth")
            assert width <= PHONE["width"], path


async def test_a_chinese_title_is_not_parted_within_a_word(site, chromium):
    interview_id = await site.ready({"zh": "车谈：激光雷达与毫米波雷达，对话李教授和王博士"})
    async with opened(chromium, await interview_url(site, interview_id), viewport=PHONE) as page:
        lines = await page.locator("h1").evaluate("""heading => {
            const lines = new Map(), range = document.createRange(), [text] = heading.childNodes;
            for (let at = 0; at < text.length; at++) {
                range.setStart(text, at), range.setEnd(text, at + 1);
                const { top } = range.getBoundingClientRect();
                lines.set(top, (lines.get(top) ?? "") + text.data[at]);
            }
            return [...lines.values()];
        }""")
        assert len(lines) > 1
        assert all(line[-1] in "：，" for line in lines[:-1]), lines


async def test_the_page_can_be_walked_by_keyboard(site, chromium):
    interview_id = await site.ready({"en": "Cars"})
    async with opened(chromium, await interview_url(site, interview_id)) as page:
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        link = line(page, "Battery prices").get_by_role("link")
        await link.focus()
        await page.keyboard.press("Enter")
        await plays_at(page, 12)


async def test_a_page_in_the_background_lets_go_of_its_events_and_catches_up_later(site, chromium):
    broadcast = await site.go_live({"en": "On air"})
    hide = """hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""

    async def let_go():
        return not site.app[HUB].is_tailing

    async with opened(chromium, await interview_url(site, broadcast.interview_id)) as page:
        await broadcast.say(TALK[0])
        await expect(line(page, "Welcome back")).to_be_visible()
        await page.evaluate(hide, True)
        await until_async(let_go, "the event stream to end")
        await broadcast.say(TALK[1])
        await page.evaluate(hide, False)
        await expect(line(page, "smart cockpit")).to_be_visible()
        assert await page.locator("li.line").count() == 2


async def test_where_live_video_cannot_play_the_page_says_why_and_goes_on(site, chromium):
    broadcast = await site.go_live({"en": "On air"})
    await broadcast.add_segments(2)
    context = await chromium.new_context(locale="en-GB")
    page = await context.new_page()
    await page.route("**/hls.light.min.js", lambda route: route.abort())
    await page.add_init_script("HTMLMediaElement.prototype.canPlayType = () => ''")
    await page.goto(await interview_url(site, broadcast.interview_id))
    await expect(page.locator("#notice")).to_contain_text("Live video does not play here")
    await broadcast.say(TALK[0])
    await expect(line(page, "Welcome back")).to_be_visible()
    await context.close()


@pytest.mark.parametrize("lang", ["en", "zh"])
async def test_what_is_being_said_is_read_and_gives_way_to_the_line(site, chromium, lang):
    broadcast = await site.go_live({"en": "Now"})
    await broadcast.add_segments(2)
    await broadcast.say(TALK[0])
    certain, more = {"en": ("The smart", " cock"), "zh": ("智能座𝄞", "舱")}[lang]
    async with opened(chromium, await interview_url(site, broadcast.interview_id)) as page:
        await until_async(lambda: _open_pages(site), "the page to listen")
        async with site.services.database.write() as tx:
            said = {"text": certain + more, "lang": lang, "certain": len(certain), "start_ms": 4_000}
            await captioning.say(tx, broadcast.recording_id, said)
        provisional = page.locator("#provisional")
        await expect(provisional).to_be_visible()
        await expect(provisional.locator("[data-certain]")).to_have_text(certain)
        await expect(provisional.locator("[data-uncertain]")).to_have_text(more.strip())
        assert await provisional.get_attribute("aria-live") == "off"
        async with site.services.database.write() as tx:
            await captioning.say(tx, broadcast.recording_id, {**said, "text": "", "certain": 0})
        await broadcast.say(TALK[1])
        await expect(line(page, TALK[1].text)).to_be_visible()
        await expect(provisional).to_be_hidden()
        async with site.services.database.write() as tx:
            await captioning.report(tx, broadcast.recording_id, lag_ms=31_000, rung=3)
            await captioning.skip(tx, broadcast.recording_id, 8_000, 39_000)
        await expect(page.locator("#captions-note")).to_contain_text("The captions are 30 s behind.")
        await expect(page.locator("li.gap")).to_contain_text("Not captioned live: 0:31.")


async def _open_pages(site):
    return site.app[HUB].is_tailing


@live_video
async def test_after_the_server_was_away_it_goes_on_where_it_was(site, chromium):
    broadcast = await site.go_live({"en": "On air"})
    await broadcast.add_segments(14)
    await broadcast.say(*TALK[:5])
    lost = ["net::ERR_FAILED"]
    async with opened(
        chromium,
        await interview_url(site, broadcast.interview_id, "?t=4"),
        complaints=lost,
        slowly=True,
    ) as page:
        await plays_at(page, 4)
        await line(page, "So who writes").locator("p").click()
        await plays_at(page, 16)
        await page.locator("#player").evaluate("player => player.pause()")
        await page.route("**/playlist.m3u8*", lambda route: route.abort())
        await expect(page.locator("#notice")).to_contain_text("The live picture is interrupted.")
        await page.unroute_all()
        await expect(page.locator("#notice")).to_be_hidden()
        await holds(page, f"{CLOCK} > 15.9 && {CLOCK} < 19")
