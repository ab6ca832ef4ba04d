"""Correcting lines in a real browser, on the page that everybody watches."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from playwright.async_api import expect

from streamarchive.catalogue import corrections, suggestions, transcripts
from streamarchive.models import CueDraft, Role, RunStage, Word
from tests import people
from tests.browser.test_interview_page import LANDINGS
from tests.people import PASSWORD
from tests.site import TALK, draft
from tests.waiting import PATIENCE, until_async
from workers.indexer import drain

AREA = "li.line textarea"


@pytest.fixture
async def interview_id(site):
    for name in ("eva", "adam"):
        await people.add(site, name, Role.EDITOR)
    return await site.ready({"en": "A talk"}, languages=("en", "zh"))


@asynccontextmanager
async def signed_in(chromium, site, interview_id, name="eva", **options):
    """An editor's page of the interview."""
    context = await chromium.new_context(locale="en-GB", **options)
    await context.add_init_script(LANDINGS)
    page = await context.new_page()
    address = (await site.interview(interview_id)).address
    await page.goto(f"{site.url}/sign-in?next={address}")
    await page.fill("#name", name)
    await page.fill("#password", PASSWORD)
    await page.click("main button")
    await page.wait_for_url(f"{site.url}{address}")
    yield page
    await context.close()


async def open_line(page, text):
    await page.locator("li.line", has_text=text).dblclick()
    area = page.locator(AREA)
    await expect(area).to_be_focused()
    return area


async def texts(site, interview_id):
    interview = await site.interview(interview_id)
    async with site.services.database.read() as connection:
        return [cue.text for cue in await transcripts.of_recording(connection, interview.recording_id)]


async def becomes(site, interview_id, text):
    async def there():
        return text in await texts(site, interview_id)

    await until_async(there, f"the catalogue to hold {text!r}")


async def test_a_word_corrected_on_air_is_everywhere_and_survives_the_final_pass(chromium, site, interview_id):
    broadcast = await site.go_live({"en": "On air"}, languages=("en",))
    await broadcast.add_segments(3)
    await broadcast.say(draft(0, "The smart copy it listens."), draft(4_000, "A second line."))
    address = f"{site.url}{(await site.interview(broadcast.interview_id)).address}"
    viewer = await (await chromium.new_context()).new_page()
    await viewer.goto(address)
    async with signed_in(chromium, site, broadcast.interview_id) as page:
        area = await open_line(page, "smart copy it")
        await area.fill("The smart cockpit listens.")
        await area.press("Enter")
        await expect(viewer.locator("li.line").first).to_contain_text("smart cockpit", timeout=2_000 * PATIENCE)
    await drain(site.services)
    await viewer.goto(f"{site.url}/search?q=%22smart+cockpit+listens%22")
    await expect(viewer.locator("mark").first).to_be_visible()
    await viewer.goto(f"{site.url}/search?q=%22smart+copy+it%22")
    await expect(viewer.locator("mark")).to_have_count(0)

    await broadcast.add_segments(1)
    await broadcast.end()
    await site.transcribe(
        broadcast.recording_id, [draft(0, "The smart copied listens."), draft(4_000, "A second, better line.")]
    )
    captions = await viewer.request.get(f"{site.url}/interviews/{broadcast.interview_id}/captions.vtt")
    vtt = await captions.text()
    assert "The smart cockpit listens." in vtt
    assert "better line" in vtt
    await viewer.goto(f"{site.url}/search?q=%22smart+cockpit+listens%22")
    await expect(viewer.locator("mark").first).to_be_visible()


async def test_rest_saves_and_enter_goes_on_with_the_next_line(chromium, site, interview_id):
    async with signed_in(chromium, site, interview_id) as page:
        area = await open_line(page, "Battery prices")
        await area.fill("Battery prices rose this year.")
        await expect(page.locator(".save-state")).to_have_text("Saved")
        await becomes(site, interview_id, "Battery prices rose this year.")
        await area.press("Enter")
        await expect(page.locator(AREA)).to_have_value("So who writes the software <today> & tomorrow?")


async def test_an_input_method_may_use_enter(chromium, site, interview_id):
    async with signed_in(chromium, site, interview_id) as page:
        area = await open_line(page, "Battery prices")
        await area.evaluate(
            "area => area.dispatchEvent(new KeyboardEvent('keydown', "
            "{code: 'Enter', key: 'Enter', isComposing: true, bubbles: true, cancelable: true}))"
        )
        await expect(area).to_have_value("Battery prices have fallen again this year.")
        await expect(area).to_be_focused()


async def test_what_is_typed_without_a_connection_is_not_lost(chromium, site, interview_id):
    async with signed_in(chromium, site, interview_id) as page:
        area = await open_line(page, "Battery prices")
        await page.context.set_offline(True)
        await area.fill("Typed in a tunnel.")
        await expect(page.locator(".save-state")).to_contain_text("kept in this browser")
        assert "Typed in a tunnel." not in await texts(site, interview_id)
        await page.context.set_offline(False)
        await becomes(site, interview_id, "Typed in a tunnel.")


async def test_a_draft_outlives_the_page(chromium, site, interview_id):
    async with signed_in(chromium, site, interview_id) as page:
        area = await open_line(page, "Battery prices")
        await page.route("**/api/cues/**", lambda route: route.abort())
        await area.fill("Written before the tab was closed.")
        await expect(page.locator(".save-state")).to_contain_text("kept in this browser")
        await page.unroute("**/api/cues/**")
        await page.evaluate("window.stop()")
        await page.reload()
        await becomes(site, interview_id, "Written before the tab was closed.")


async def test_two_editors_on_one_line_lose_nobodys_text(chromium, site, interview_id):
    async with (
        signed_in(chromium, site, interview_id) as eva,
        signed_in(chromium, site, interview_id, "adam") as adam,
    ):
        hers = await open_line(eva, "Battery prices")
        his = await open_line(adam, "Battery prices")
        await hers.fill("What Eva wrote.")
        await becomes(site, interview_id, "What Eva wrote.")
        await his.fill("What Adam wrote.")
        await expect(adam.locator(".both blockquote")).to_have_text("What Eva wrote.")
        await expect(his).to_have_value("What Adam wrote.")
        assert "What Eva wrote." in await texts(site, interview_id)
        await adam.get_by_role("button", name="Keep mine").click()
        await becomes(site, interview_id, "What Adam wrote.")


async def test_split_and_join_at_the_caret(chromium, site, interview_id):
    async with signed_in(chromium, site, interview_id) as page:
        area = await open_line(page, "Thank you for")
        await area.evaluate("area => area.setSelectionRange(10, 10)")
        await area.press("Control+Enter")
        await becomes(site, interview_id, "for this conversation.")
        second = page.locator(AREA)
        await expect(second).to_have_value("for this conversation.")
        await second.evaluate("area => area.setSelectionRange(0, 0)")
        await second.press("Backspace")
        await becomes(site, interview_id, "Thank you for this conversation.")


async def test_someone_typing_while_the_final_pass_lands_keeps_their_draft(chromium, site, interview_id):
    interview = await site.interview(interview_id)
    async with signed_in(chromium, site, interview_id) as page:
        area = await open_line(page, "Battery prices")
        await page.route("**/api/cues/**", lambda route: route.abort())
        await area.fill("Battery costs have fallen again this year.")
        await expect(page.locator(".save-state")).to_contain_text("kept in this browser")
        moved = [draft(line.start_ms + 40, line.text + " Really.", line.lang) for line in TALK]
        async with site.services.database.write() as tx:
            run = await transcripts.begin_run(
                tx, interview.recording_id, RunStage.FINAL, engine="test", model="other", model_identity="2"
            )
            await transcripts.append(tx, run, moved, 30_000)
            await transcripts.adopt(tx, run)
        await expect(page.locator("li.line", has_text="Welcome back")).to_contain_text("Really.")
        await expect(area).to_have_value("Battery costs have fallen again this year.")
        await page.unroute("**/api/cues/**")

        async def saved():
            return any(text.startswith("Battery costs have fallen") for text in await texts(site, interview_id))

        await until_async(saved, "the draft to be saved onto the line that stands there now")


async def test_everything_works_as_plain_forms(chromium, site, interview_id):
    async with signed_in(chromium, site, interview_id, java_script_enabled=False) as page:
        await page.locator("li.line", has_text="Battery prices").locator(".edit").click()
        await page.fill("#text", "Battery prices\n\nfell.")
        await page.fill("#speaker", "Host")
        await page.click("button[value=save]")
        assert {"Battery prices", "fell."} <= set(await texts(site, interview_id))
        await page.locator("li.line", has_text="Welcome back").locator(".edit").click()
        interview = await site.interview(interview_id)
        async with site.services.database.write() as tx:
            first = (await transcripts.of_recording(tx, interview.recording_id))[0]
            await corrections.edit(tx, first.id, first.revision, "Somebody was faster.", None)
        await page.fill("#text", "My own words.")
        await page.click("button[value=save]")
        await expect(page.locator(".both blockquote")).to_have_text("Somebody was faster.")
        await expect(page.locator("#text")).to_have_value("My own words.")
        await page.click("button[value=save]")
        assert "My own words." in await texts(site, interview_id)


def spoken(start_ms, *words):
    """A line of which the machine is sure, word by word."""
    said = tuple(Word(w, start_ms + 500 * n, start_ms + 500 * n + 400, 0.97) for n, w in enumerate(words))
    return CueDraft(start_ms, said[-1].end_ms, " ".join(words), "en", said)


@pytest.fixture
async def suggested_id(site, interview_id):
    """In two lines of this interview the newest run hears something else than Eva wrote."""
    first = (spoken(0, "Welcome", "to", "Bay", "Jing."), spoken(4000, "The", "car", "seize", "you."))
    talk = await site.ready({"en": "Two words"}, first, languages=("en",))
    recording_id = (await site.interview(talk)).recording_id
    async with site.services.database.write() as tx:
        for cue in await transcripts.of_recording(tx, recording_id):
            text = cue.text.replace("Bay Jing", "Beijing").replace("seize", "sees")
            await corrections.edit(tx, cue.id, cue.revision, text, None)
        second = (spoken(0, "Welcome", "to", "Nan", "jing."), spoken(4000, "The", "car", "frees", "you."))
        run = await transcripts.begin_run(
            tx, recording_id, RunStage.FINAL, engine="test", model="other", model_identity="2"
        )
        await transcripts.append(tx, run, second, 30_000)
        await transcripts.adopt(tx, run)
    return talk


async def test_what_a_later_run_suggests_is_followed_or_dismissed_on_the_page(chromium, site, suggested_id):
    async with signed_in(chromium, site, suggested_id) as page:
        await page.evaluate("window.stayed = true")
        await expect(page.locator("[data-suggested]")).to_contain_text("In 2 lines")
        await expect(page.locator(".suggestion").first).to_contain_text("hears Nan jing. instead of Beijing.")
        await page.get_by_role("button", name="Write what it hears").first.click()
        await becomes(site, suggested_id, "Welcome to Nan jing.")
        await expect(page.locator("li.line", has_text="Welcome to Nan jing.")).to_be_visible()
        await expect(page.get_by_role("button", name="Write what it hears")).to_be_focused()
        await page.get_by_role("button", name="Keep it as it is").click()
        await expect(page.locator(".suggestion, [data-suggested]")).to_have_count(0)
        assert "The car sees you." in await texts(site, suggested_id)
        assert await page.evaluate("window.stayed")
        await page.reload()
        await expect(page.locator("li.line", has_text="sees you")).to_be_visible()
        await expect(page.locator(".suggestion, [data-suggested]")).to_have_count(0)


async def test_a_suggestion_that_does_not_stand_any_more_is_not_followed(chromium, site, suggested_id):
    """The line has changed, or somebody else has answered: its own page says so and shows what stands there."""
    async with signed_in(chromium, site, suggested_id) as page:
        address = page.url
        await page.evaluate("document.querySelector('li.line').dataset.revision = 0")
        await page.locator(".suggestion [value^=follow]").first.click()
        await expect(page.get_by_role("alert")).to_contain_text("somebody else has changed this line")
        await expect(page.locator("#text")).to_have_value("Welcome to Beijing.")
        await page.goto(address)
        async with site.services.database.write() as tx:
            recording_id = (await site.interview(suggested_id)).recording_id
            for one in await suggestions.of_recording(tx, recording_id):
                await suggestions.dismiss(tx, one.id, None)
        await page.locator(".suggestion [value^=follow]").first.click()
        await expect(page.get_by_role("alert")).to_contain_text("somebody has answered this suggestion already")
        await expect(page.locator("#text")).to_have_value("Welcome to Beijing.")


async def test_suggestions_are_answered_by_plain_forms_and_stay_in_the_history(chromium, site, suggested_id):
    async with signed_in(chromium, site, suggested_id, java_script_enabled=False) as page:
        await page.locator(".suggestion [value^=dismiss]").first.click()
        await expect(page.locator(".suggestion")).to_have_count(1)
        await page.locator(".suggestion [value^=follow]").click()
        await becomes(site, suggested_id, "The car frees you.")
        await page.locator("li.line", has_text="Welcome").locator(".edit").click()
        await expect(page.locator(".steps li").first).to_contain_text(
            "Kept Beijing., though a later transcription hears Nan jing."
        )
        await page.goto(f"{site.url}{(await site.interview(suggested_id)).address}")
        await page.locator("li.line", has_text="frees").locator(".edit").click()
        await expect(page.locator(".steps li").first).to_contain_text("The car sees you.")


async def test_viewers_see_no_trace_of_the_editor(chromium, site, interview_id):
    page = await (await chromium.new_context()).new_page()
    address = (await site.interview(interview_id)).address
    await page.goto(f"{site.url}{address}")
    await expect(page.locator(".edit")).to_have_count(0)
    async with site.services.database.read() as connection:
        recording_id = (await site.interview(interview_id)).recording_id
        cue = (await transcripts.of_recording(connection, recording_id))[0]
    answer = await page.request.patch(
        f"{site.url}/api/cues/{cue.id}", data={"text": "x"}, headers={"If-Match": f'"{cue.revision}"'}
    )
    assert answer.status == 404
