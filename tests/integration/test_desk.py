"""The producers' desk through its pages and forms."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import select

from streamarchive import ingest, jobs
from streamarchive.catalogue import interviews, recordings, streams, tables, uploads
from streamarchive.models import JobState, Role, Stage, UploadState, Visibility
from tests import people
from tests.interleaving import waiting
from tests.people import Client
from tests.site import TALK, Media, Site, open_site
from tests.waiting import until_async
from web.desk.receiving import _Receiver
from workers import ingester
from workers.indexer import drain
from workers.runner import run_job

DETAILS = {
    "title_en": "Batteries, explained",
    "title_zh": "电池说明",
    "description_en": "Two lines\nof text",
    "event_en": "Motor Show",
    "event_zh": "车展",
    "held_at": "2026-11-22T15:00",
    "language": "zh",
    "visibility": "draft",
}


@pytest.fixture
async def producer(site: Site):
    async with people.signed_in(site, Role.PRODUCER) as client:
        yield client


async def created(producer: Client, **more: str) -> str:
    answer = await producer.post("/desk/new", {**DETAILS, **more})
    assert answer.status == 303, answer.notices
    return re.match(r"/desk/([0-9a-z]{10})", answer.location)[1]


async def actions(site: Site) -> list[tuple[str, str, dict]]:
    """What the audit log says people have done since they signed in."""
    async with site.services.database.read() as connection:
        rows = (await connection.execute(select(tables.audit).order_by(tables.audit.c.id))).all()
    assert all(row.user_id is not None for row in rows)
    return [(row.action, row.subject, row.details) for row in rows if row.action != "signed in"]


async def look_at_uploads(site: Site) -> None:
    """Do the waiting jobs about uploads."""
    while job := await jobs.claim(site.services.database, (ingest.JOB,), "test"):
        await run_job(site.services, ingester.take, job, asyncio.Event())


# --- interviews --------------------------------------------------------------------------------------------


async def test_an_interview_is_created_with_everything_that_was_typed(site: Site, producer: Client):
    guests = [
        ("guest_name_en", "Li Wei"),
        ("guest_name_zh", "李伟"),
        ("guest_affiliation_en", "Acme"),
        ("guest_affiliation_zh", ""),
        ("guest_name_en", ""),
        ("guest_name_zh", ""),
        ("guest_affiliation_en", ""),
        ("guest_affiliation_zh", ""),
        ("guest_name_en", "Ann"),
        ("guest_name_zh", ""),
        ("guest_affiliation_en", ""),
        ("guest_affiliation_zh", "公司"),
    ]
    answer = await producer.post("/desk/new", [*DETAILS.items(), ("language", "en"), *guests])
    interview = await site.interview(answer.location[6:16])
    assert interview.titles == {"en": "Batteries, explained", "zh": "电池说明"}
    assert interview.descriptions == {"en": "Two lines\nof text"}
    assert interview.event.names == {"en": "Motor Show", "zh": "车展"}
    assert interview.languages == ("zh", "en")
    assert interview.held_at.isoformat() == "2026-11-22T15:00:00+00:00"
    assert interview.visibility is Visibility.DRAFT
    assert [person.names for person in interview.guests] == [{"en": "Li Wei", "zh": "李伟"}, {"en": "Ann"}]
    assert [person.affiliations for person in interview.guests] == [{"en": "Acme"}, {"zh": "公司"}]
    page = await producer.get(answer.location)
    assert "电池说明" in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert [action for action, *_ in await actions(site)] == ["interview created"]


async def test_a_form_that_makes_no_sense_comes_back_with_a_sentence_and_all_that_was_typed(producer: Client):
    answer = await producer.post(
        "/desk/new", {"title_en": "", "description_en": "Precious words", "event_en": "E"}
    )
    assert answer.status == 400
    assert answer.notices == ["Give the interview a title, in one language at least."]
    assert "Precious words" in answer.text
    for field, value in (("held_at", "yesterday"), ("visibility", "trashed"), ("title_en", "x" * 301)):
        refused = await producer.post("/desk/new", {**DETAILS, field: value})
        assert refused.status == 400
        assert len(refused.notices) == 1


async def test_a_description_is_changed_and_the_log_knows_what(site: Site, producer: Client):
    interview_id = await created(producer)
    seen = re.search(r'name="seen" value="(\w+)"', (await producer.get(f"/desk/{interview_id}")).text)[1]
    changed = {**DETAILS, "title_en": "Batteries", "held_at_exact": "2026-11-22T23:30:00+08:00", "seen": seen}
    answer = await producer.post(f"/desk/{interview_id}/details", changed)
    assert (answer.status, answer.location) == (303, f"/desk/{interview_id}?done=saved#details")
    interview = await site.interview(interview_id)
    assert interview.titles == {"en": "Batteries", "zh": "电池说明"}
    assert interview.held_at.isoformat() == "2026-11-22T15:30:00+00:00"
    assert (await actions(site))[-1] == (
        "interview described",
        interview_id,
        {
            "titles": [{"en": "Batteries, explained", "zh": "电池说明"}, {"en": "Batteries", "zh": "电池说明"}],
            "held_at": ["2026-11-22T15:00", "2026-11-22T15:30"],
        },
    )


async def test_what_the_form_has_no_fields_for_stays(site: Site, producer: Client):
    interview_id = await site.create({"de": "Gespräch", "en": "Talk"}, event={"de": "Messe"})
    seen = re.search(r'name="seen" value="(\w+)"', (await producer.get(f"/desk/{interview_id}")).text)[1]
    await producer.post(f"/desk/{interview_id}/details", {"title_en": "Talk", "seen": seen})
    interview = await site.interview(interview_id)
    assert interview.titles == {"en": "Talk", "de": "Gespräch"}
    assert interview.event.names == {"de": "Messe"}


async def test_two_who_describe_the_same_interview_lose_nothing(site: Site, producer: Client):
    interview_id = await created(producer)
    seen = re.search(r'name="seen" value="(\w+)"', (await producer.get(f"/desk/{interview_id}")).text)[1]
    theirs = {**DETAILS, "title_en": "Theirs", "seen": seen}
    assert (await producer.post(f"/desk/{interview_id}/details", theirs)).status == 303
    late = await producer.post(f"/desk/{interview_id}/details", {**DETAILS, "title_en": "Mine", "seen": seen})
    assert late.status == 409
    assert 'value="Mine"' in late.text
    assert (await site.interview(interview_id)).titles["en"] == "Theirs"
    fresh = re.search(r'name="seen" value="(\w+)"', late.text)[1]
    again = await producer.post(f"/desk/{interview_id}/details", {**DETAILS, "title_en": "Mine", "seen": fresh})
    assert again.status == 303
    assert (await site.interview(interview_id)).titles["en"] == "Mine"


async def test_of_two_who_send_a_description_at_once_one_is_told(
    media: Media, tmp_path: Path, postgresql_database: str
):
    async with (
        open_site(tmp_path, media, database=postgresql_database) as site,
        people.signed_in(site, Role.PRODUCER) as producer,
    ):
        interview_id = await created(producer)
        seen = re.search(r'name="seen" value="(\w+)"', (await producer.get(f"/desk/{interview_id}")).text)[1]

        async def send(title: str):
            return await producer.post(
                f"/desk/{interview_id}/details", {**DETAILS, "title_en": title, "seen": seen}
            )

        async with site.services.database.write() as tx:
            await interviews.hold(tx, interview_id)
            sending = [asyncio.create_task(send(title)) for title in ("Mine", "Theirs")]
            await until_async(lambda: waiting(site.services.database, 2), "both to wait")
        answers = {answer.status: answer for answer in await asyncio.gather(*sending)}
        assert set(answers) == {303, 409}
        assert "Somebody else has changed this meanwhile" in answers[409].notices[0]


async def test_publishing_hiding_the_trash_and_back(site: Site, producer: Client):
    interview_id = await site.ready({"en": "Talk"}, visibility=Visibility.DRAFT)
    async with people.visitor(site) as nobody:
        for wanted, status in (("public", 200), ("unlisted", 200), ("draft", 404), ("trashed", 404)):
            answer = await producer.post(f"/desk/{interview_id}/visibility", {"visibility": wanted})
            assert answer.status == 303
            assert (await nobody.get((await site.interview(interview_id)).address)).status == status
            found = (await nobody.get("/api/search?q=cockpit")).text
            assert (interview_id in found) is (wanted == "public")
    trash = await producer.get("/desk?show=trash")
    assert "Talk" in trash.text
    assert "Talk" not in (await producer.get("/desk")).text
    await producer.post(f"/desk/{interview_id}/visibility", {"visibility": "draft"})
    assert (await site.interview(interview_id)).visibility is Visibility.DRAFT
    changes = [about for action, _, about in await actions(site) if action == "visibility set"]
    assert [change["to"] for change in changes] == ["public", "unlisted", "draft", "trashed", "draft"]
    assert (await producer.post(f"/desk/{interview_id}/visibility", {"visibility": "secret"})).status == 400


async def test_the_list_is_searched_and_filtered(site: Site, producer: Client):
    await site.ready({"en": "Batteries", "zh": "电池"}, visibility=Visibility.PUBLIC)
    await site.create({"en": "Radar"}, Visibility.DRAFT)
    broadcast = await site.go_live({"en": "On the floor"}, Visibility.UNLISTED)
    await broadcast.add_segments(1)

    async def titles(query: str) -> set[str]:
        page = (await producer.get(f"/desk{query}")).text
        return {title for title in ("Batteries", "Radar", "On the floor") if title in page}

    assert await titles("") == {"Batteries", "Radar", "On the floor"}
    assert await titles("?q=batter") == {"Batteries"}
    assert await titles("?q=电池") == {"Batteries"}
    assert await titles("?show=live") == {"On the floor"}
    assert await titles("?show=draft") == {"Radar"}
    assert await titles("?show=public&q=radar") == set()
    assert await titles("?show=nonsense&from=x") == {"Batteries", "Radar", "On the floor"}


# --- the recording -----------------------------------------------------------------------------------------


async def test_an_upload_is_received_looked_at_and_shown(site: Site, producer: Client):
    interview_id = await created(producer)
    data = site.media.mp4.read_bytes()
    answer = await producer.send(f"/desk/{interview_id}/upload", ("recording", "../../talk\u202e.mp4", data))
    assert (answer.status, answer.location) == (303, f"/desk/{interview_id}?done=uploaded#recording")
    waiting = await producer.get(f"/desk/{interview_id}/work")
    assert "Checking the file · talk .mp4" in waiting.text
    assert 'data-busy="1"' in waiting.text
    await look_at_uploads(site)
    interview = await site.interview(interview_id)
    assert interview.stage is Stage.PROCESSING
    work = (await producer.get(f"/desk/{interview_id}/work")).text
    assert "Making the recording" in work
    assert "Transcription" in work
    name, subject, about = (await actions(site))[-1]
    assert (name, subject) == ("recording uploaded", interview_id)
    assert about == {"file": "talk .mp4", "bytes": len(data)}
    assert list(site.services.settings.incoming.iterdir()) == []


async def test_scripts_get_json_of_an_upload(site: Site, producer: Client):
    interview_id = await created(producer)
    path = f"/desk/{interview_id}/upload"
    producer.session.headers["Accept"] = "application/json"
    refused = await producer.send(path, ("recording", "notes.mp4", b"just a letter " * 500))
    assert refused.status == 400
    assert "notes.mp4 is not a media file" in refused.text
    taken = await producer.send(path, ("recording", "a.m4a", site.media.m4a.read_bytes()))
    assert (taken.status, taken.text) == (201, f'{{"url": "/desk/{interview_id}?done=uploaded"}}')


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([("recording", "letter.mp4", b"just a letter to the editor")], "letter.mp4 is not a media file"),
        ([("recording", "a.mp4", b"#EXTM3U\n/etc/passwd\n")], "a.mp4 is an HLS playlist"),
        ([("recording", "a.mp4", b"")], "a.mp4 is empty"),
        ([("recording", "", b"")], "choose a file first"),
        ([], "choose a file first"),
        ([("captions", "a.vtt", b"WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n")], "choose a file first"),
    ],
)
async def test_what_is_clearly_no_recording_is_refused_at_once(site: Site, producer: Client, files, sentence):
    interview_id = await created(producer)
    answer = await producer.send(f"/desk/{interview_id}/upload", *files)
    assert answer.status == 400
    assert sentence in answer.notices[0]
    assert await left_behind(site, interview_id) == ([], [])


async def test_captions_that_make_no_sense_are_refused_with_the_recording(site: Site, producer: Client):
    interview_id = await created(producer)
    answer = await producer.send(
        f"/desk/{interview_id}/upload",
        ("recording", "a.m4a", site.media.m4a.read_bytes()),
        ("captions", "a.vtt", b"WEBVTT\n\nnot a time --> nowhere\nHello\n"),
    )
    assert answer.status == 400
    assert await left_behind(site, interview_id) == ([], [])


async def left_behind(site: Site, interview_id: str) -> tuple[list, list]:
    """Files and uploads."""
    folder = site.services.settings.incoming
    async with site.services.database.read() as connection:
        known = await uploads.of_interview(connection, interview_id)
    return sorted(folder.iterdir()) if folder.exists() else [], known


async def test_captions_take_the_place_of_transcription(site: Site, producer: Client):
    interview_id = await created(producer)
    text = "WEBVTT\n\n00:01.000 --> 00:02.000\nA heliotrope sentence\n"
    for order in (1, -1):
        files = [("recording", "a.m4a", site.media.m4a.read_bytes()), ("captions", "a.vtt", text.encode())]
        answer = await producer.send(f"/desk/{interview_id}/upload", *files[::order])
        assert answer.status == 303, answer.notices
    await look_at_uploads(site)
    async with people.visitor(site):
        page = await producer.get(f"/interviews/{interview_id}")
    assert "A heliotrope sentence" in (await producer.get(page.location)).text


async def test_a_form_without_its_token_first_is_not_read(site: Site, producer: Client):
    interview_id = await created(producer)
    data = site.media.m4a.read_bytes()
    path = f"/desk/{interview_id}/upload"
    for token in ("", "wrong", "ungültig"):  # the last is not ASCII
        assert (await producer.send(path, ("recording", "a.m4a", data), token=token)).status == 403
    late = aiohttp.FormData()
    late.add_field("recording", data, filename="a.m4a", content_type="audio/mp4")
    late.add_field("csrf", producer.token)
    assert (await producer.ask("POST", path, data=late)).status == 403
    assert (await producer.post(path, {"recording": "x"})).status == 400
    assert await left_behind(site, interview_id) == ([], [])


async def test_a_browser_that_leaves_half_way_leaves_nothing(site: Site, producer: Client):
    interview_id = await created(producer)
    host, port = site.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    cookies = "; ".join(f"{c.key}={c.value}" for c in producer.session.cookie_jar)
    head = (
        f"POST /desk/{interview_id}/upload HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {cookies}\r\n"
        "Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: 90000000\r\n\r\n"
        f'--XX\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n{producer.token}\r\n'
        '--XX\r\nContent-Disposition: form-data; name="recording"; filename="a.mp4"\r\n\r\n'
    )
    writer.write(head.encode() + site.media.mp4.read_bytes()[:100_000])
    await writer.drain()

    async def begun():
        files, known = await left_behind(site, interview_id)
        return files and known and known[0].state is UploadState.RECEIVING

    await until_async(begun, "the upload to begin")
    writer.close()
    await writer.wait_closed()

    async def nothing():
        return await left_behind(site, interview_id) == ([], [])

    await until_async(nothing, "the upload to be forgotten")


async def test_an_upload_is_kept_if_the_site_stops_while_it_is_written_down(
    site: Site, producer: Client, monkeypatch: pytest.MonkeyPatch
):
    """Whether it was committed is known to the catalogue alone."""
    complete = _Receiver._complete

    async def cut_off(receiver: _Receiver) -> bool:
        await complete(receiver)
        raise asyncio.CancelledError

    monkeypatch.setattr(_Receiver, "_complete", cut_off)
    interview_id = await created(producer)
    with pytest.raises(aiohttp.ClientError):
        await producer.send(f"/desk/{interview_id}/upload", ("recording", "a.m4a", site.media.m4a.read_bytes()))
    files, known = await left_behind(site, interview_id)
    assert (len(files), [upload.state for upload in known]) == (1, [UploadState.RECEIVED])
    await look_at_uploads(site)
    _, known = await left_behind(site, interview_id)
    assert [upload.state for upload in known] == [UploadState.TAKEN]


async def test_nothing_is_uploaded_to_an_interview_on_air(site: Site, producer: Client):
    broadcast = await site.go_live({"en": "On air"})
    await broadcast.add_segments(1)
    data = site.media.m4a.read_bytes()
    answer = await producer.send(f"/desk/{broadcast.interview_id}/upload", ("recording", "a.m4a", data))
    assert answer.status == 400
    assert "on air" in answer.notices[0]


async def test_a_refused_upload_is_shown_until_a_better_one_comes(site: Site, producer: Client):
    interview_id = await created(producer)
    path = f"/desk/{interview_id}/upload"
    whole = site.media.mp4.read_bytes()
    await producer.send(path, ("recording", "broken.mp4", whole[:32] + b"\0" * 100_000))
    await look_at_uploads(site)
    assert "broken.mp4" in (await producer.get(f"/desk/{interview_id}/work")).text
    await producer.send(path, ("recording", "whole.mp4", whole))
    await look_at_uploads(site)
    assert "broken.mp4" not in (await producer.get(f"/desk/{interview_id}/work")).text


async def test_another_recording_replaces_the_first_which_can_be_had_back(site: Site, producer: Client):
    interview_id = await site.ready({"en": "Talk"})
    first = (await site.interview(interview_id)).recording_id
    async with site.services.database.write() as tx:  # as the import leaves it
        await uploads.imported(tx, interview_id, "talk.mp4", 1, first)
    await producer.send(f"/desk/{interview_id}/upload", ("recording", "b.m4a", site.media.m4a.read_bytes()))
    await look_at_uploads(site)
    second = (await site.interview(interview_id)).recording_id
    assert second != first
    other = await created(producer)
    assert (await producer.post(f"/desk/{other}/recording", {"recording": str(first)})).status == 404
    answer = await producer.post(f"/desk/{interview_id}/recording", {"recording": str(first)})
    assert answer.status == 303
    assert (await site.interview(interview_id)).recording_id == first
    assert (await actions(site))[-1] == ("recording chosen", interview_id, {"from": second, "to": first})


async def test_the_in_and_out_point_are_typed_as_people_write_them(site: Site, producer: Client):
    interview_id = await site.ready({"en": "Talk"})
    path = f"/desk/{interview_id}/cut"
    assert (await producer.post(path, {"in": "0:04", "out": "20.5"})).status == 303
    interview = await site.interview(interview_id)
    assert (interview.in_ms, interview.out_ms) == (4_000, 20_500)
    page = (await producer.get(f"/desk/{interview_id}")).text
    assert 'value="0:04"' in page
    assert 'value="0:20.5"' in page
    for fields in ({"in": "soon"}, {"in": "10", "out": "5"}, {"in": "9:00:00"}, {"in": "-3"}):
        refused = await producer.post(path, {"in": "", "out": "", **fields})
        assert refused.status == 400
        assert len(refused.notices) == 1
    assert (await producer.post(path, {"in": "", "out": ""})).status == 303
    assert (await site.interview(interview_id)).in_ms is None


async def test_what_lies_outside_the_cut_is_neither_shown_nor_found(site: Site, producer: Client):
    interview_id = await site.ready({"en": "Talk"})
    await producer.post(f"/desk/{interview_id}/cut", {"in": "6", "out": ""})
    async with people.visitor(site) as nobody:
        page = await nobody.get((await site.interview(interview_id)).address)
        assert TALK[0].text not in page.text
        assert TALK[3].text in page.text
        assert '"hits": []' in (await nobody.get("/api/search?q=Welcome")).text
        await drain(site.services)
        assert '"total": 0' in (await nobody.get("/api/search?q=Welcome")).text


# --- streams and jobs --------------------------------------------------------------------------------------


async def test_a_stream_is_scheduled_and_stopped(site: Site, producer: Client):
    interview_id = await created(producer)
    fields = {
        "address": "https://198.51.100.7/live.m3u8",
        "starts": "2099-01-01T10:00",
        "ends": "2099-01-01T11:00",
    }
    refused = await producer.post(f"/desk/{interview_id}/streams", fields)
    assert refused.status == 400  # a documentation address is not public
    fields["address"] = "https://8.8.8.8/live.m3u8"
    answer = await producer.post(f"/desk/{interview_id}/streams", fields)
    assert answer.status == 303, answer.notices
    async with site.services.database.read() as connection:
        (stream,) = await streams.of_interview(connection, interview_id)
    assert stream.starts_at.isoformat() == "2099-01-01T10:00:00+00:00"
    assert not stream.exact_host_allowed
    other = await created(producer)
    assert (await producer.post(f"/desk/{other}/streams/{stream.id}/stop")).status == 404
    assert (await producer.post(f"/desk/{interview_id}/streams/{stream.id}/stop")).status == 303
    async with site.services.database.read() as connection:
        assert (await streams.get(connection, stream.id)).stop_requested
    assert [action for action, *_ in await actions(site)][-2:] == ["interview created", "stream stopped"]


async def test_a_scheduled_stream_has_a_lead_in_and_runs_over(site: Site, producer: Client):
    interview_id = await created(producer)
    fields = {"address": "https://8.8.8.8/live.m3u8", "starts": "2099-01-01T10:00", "ends": "2099-01-01T11:00"}
    assert (await producer.post(f"/desk/{interview_id}/streams", fields)).status == 303
    async with site.services.database.read() as connection:
        (stream,) = await streams.of_interview(connection, interview_id)
    assert stream.begins_at.isoformat() == "2099-01-01T09:59:00+00:00"
    assert stream.overruns


async def test_the_next_interview_begins_while_the_source_is_on_air(site: Site, producer: Client):
    broadcast = await site.go_live({"en": "First talk"})
    await broadcast.add_segments(3)
    following = await created(producer)
    page = (await producer.get(f"/desk/{broadcast.interview_id}")).text
    assert "Batteries, explained" in page
    path = f"/desk/{broadcast.interview_id}/streams/{broadcast.stream.id}/next"
    refused = await producer.post(path, {"next": broadcast.interview_id})
    assert refused.status == 400
    assert refused.notices
    answer = await producer.post(path, {"next": following})
    assert answer.status == 303
    assert answer.location.startswith(f"/desk/{following}")
    first, second = await site.interview(broadcast.interview_id), await site.interview(following)
    assert second.recording_id == broadcast.recording_id
    assert first.out_ms == second.in_ms
    assert (await actions(site))[-1][0] == "next interview"
    # The cut is moved by the in point of the second.
    assert (await producer.post(f"/desk/{following}/cut", {"in": "0:04", "out": ""})).status == 303
    assert (await site.interview(broadcast.interview_id)).out_ms == 4_000
    assert (await site.interview(broadcast.interview_id)).stage is Stage.PROCESSING


@pytest.mark.parametrize(
    ("fields", "about"),
    [
        ({"address": "http://127.0.0.1:9/x.m3u8"}, "private network"),
        ({"address": "file:///etc/passwd"}, "file"),
        ({"address": "gopher://example.org"}, "gopher"),
        ({"address": ""}, ""),
        ({"address": "https://8.8.8.8/x", "starts": "soon"}, "date"),
        ({"address": "https://8.8.8.8/x", "starts": "2099-01-02T00:00", "ends": "2099-01-01T00:00"}, "end"),
        ({"address": "https://8.8.8.8/x", "ends": "2000-01-01T00:00"}, "past"),
    ],
)
async def test_a_stream_that_may_not_or_cannot_be_recorded_is_refused(site, producer: Client, fields, about):
    interview_id = await created(producer)
    answer = await producer.post(f"/desk/{interview_id}/streams", fields)
    assert answer.status == 400
    assert about in answer.notices[0]
    async with site.services.database.read() as connection:
        assert await streams.of_interview(connection, interview_id) == []


async def test_a_job_is_cancelled_and_retried(site: Site, producer: Client):
    interview_id = await created(producer)
    await producer.send(f"/desk/{interview_id}/upload", ("recording", "a.m4a", site.media.m4a.read_bytes()))
    await look_at_uploads(site)
    async with site.services.database.read() as connection:
        recording_id = (await interviews.get(connection, interview_id)).recording_id
        found = {job.kind: job.id for job in await jobs.of_recording(connection, recording_id)}
    base = f"/desk/{interview_id}/jobs/{found['transcribe']}"
    assert (await producer.post(f"{base}/cancel")).status == 303
    async with site.services.database.read() as connection:
        assert (await jobs.get(connection, found["transcribe"])).state is JobState.CANCELLED
    assert "Try again" in (await producer.get(f"/desk/{interview_id}/work")).text
    assert (await producer.post(f"{base}/retry")).status == 303
    async with site.services.database.read() as connection:
        assert (await jobs.get(connection, found["transcribe"])).state is JobState.QUEUED
    other = await created(producer)
    for action in ("cancel", "retry"):
        assert (await producer.post(f"/desk/{other}/jobs/{found['transcribe']}/{action}")).status == 404
    assert (await producer.post(f"/desk/{interview_id}/jobs/999999/cancel")).status == 404


async def test_an_upload_is_cancelled_at_the_moment_it_is_taken(
    media: Media, tmp_path: Path, postgresql_database: str
):
    """Each had one of two rows that both need: work lost for the worker, or an error page for the producer."""
    async with (
        open_site(tmp_path, media, database=postgresql_database) as site,
        people.signed_in(site, Role.PRODUCER) as producer,
    ):
        interview_id, database = await created(producer), site.services.database
        async with database.write() as tx:
            upload_id = await uploads.begin(tx, interview_id, None, "talk.mp4", 1_000)
            await uploads.complete(tx, upload_id, 1_000)
            await ingest.enqueue_upload(tx, upload_id)
        job = await jobs.claim(database, (ingest.JOB,), "test")
        async with database.write() as tx:
            recording_id = await recordings.create_uploaded(
                tx, interview_id, duration_ms=1_000, has_video=False, damage=None
            )
            await uploads.take(tx, upload_id, recording_id)
            cancelling = asyncio.create_task(producer.post(f"/desk/{interview_id}/jobs/{job.id}/cancel"))
            await until_async(lambda: waiting(database, 1), "the producer to wait")
            await jobs.finish(tx, job)
        assert (await cancelling).status == 409
        assert (await site.interview(interview_id)).recording_id == recording_id


async def test_an_upload_that_is_cancelled_is_gone(site: Site, producer: Client):
    interview_id = await created(producer)
    await producer.send(f"/desk/{interview_id}/upload", ("recording", "a.m4a", site.media.m4a.read_bytes()))
    job = re.search(r"/jobs/(\d+)/cancel", (await producer.get(f"/desk/{interview_id}/work")).text)[1]
    assert (await producer.post(f"/desk/{interview_id}/jobs/{job}/cancel")).status == 303
    files, (upload,) = await left_behind(site, interview_id)
    assert files == []
    assert upload.state is UploadState.CANCELLED
    assert (await producer.post(f"/desk/{interview_id}/jobs/{job}/retry")).status == 409
    await look_at_uploads(site)
    async with site.services.database.read() as connection:
        assert await recordings.of_interview(connection, interview_id) == []


async def test_an_empty_desk_says_what_to_do(producer: Client):
    assert "New interview" in (await producer.get("/desk")).text
    assert (await producer.get("/desk?show=trash")).text.count("The trash is empty") == 1
    assert (await producer.get("/desk", headers={"Accept-Language": "zh"})).text.count("新建访谈") >= 1
