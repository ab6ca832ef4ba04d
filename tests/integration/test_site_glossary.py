"""The glossary's pages as editors use them: forms, lists in and out, and what search makes of it at once."""

from __future__ import annotations

import io
import re
from html import unescape
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from streamarchive.catalogue import accounts, corrections, glossary, transcripts
from streamarchive.glossaries import LONGEST, Entry
from streamarchive.models import Role
from tests import people
from tests.people import Answer, Client
from tests.site import Site, draft

COCKPIT = Entry("智能座舱", "zh", {"en": "smart cockpit"})
NIO = Entry("NIO", "en", {"zh": "蔚来"}, is_name=True)
SENT = {"term": " 智能座舱 ", "lang": "zh", "means_en": "smart  cockpit", "means_zh": ""}
LIST = "term,language,name,en,zh\n智能座舱,zh,,smart cockpit,\nNIO,en,yes,,蔚来\n"


async def held(site: Site) -> list[Entry]:
    async with site.services.database.read() as connection:
        return [term.entry for term in await glossary.current(connection)]


async def put(site: Site, *entries: Entry) -> list[int]:
    """Add them; their ids."""
    async with site.services.database.write() as tx:
        return [await glossary.add(tx, entry) for entry in entries]


async def deeds(site: Site) -> list[str]:
    async with site.services.database.read() as connection:
        return [f"{deed.who} {deed.action}: {deed.subject}" for deed in await accounts.deeds(connection, 3)]


async def send(client: Client, sent: str | bytes, do: str) -> Answer:
    """A list as a browser sends it, in the form's file or in its text, with the button that was pressed."""
    file, typed = (sent, b"") if isinstance(sent, bytes) else (b"", sent.encode())
    name = "terms.csv" if file else ""
    parts = (
        ('name="csrf"', client.token.encode()),
        (f'name="file"; filename="{name}"\r\nContent-Type: application/octet-stream', file),
        ('name="list"', typed),
        ('name="do"', do.encode()),
    )
    line = b"----a-line-that-does-not-occur"
    whole = b"".join(
        b"--%b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (line, head.encode(), data)
        for head, data in parts
    )
    headers = {"Content-Type": f"multipart/form-data; boundary={line.decode()}"}
    body = io.BytesIO(whole + b"--%b--\r\n" % line)
    return await client.ask("POST", "/glossary/list", data=body, headers=headers)


async def test_a_pair_added_on_the_page_is_found_from_either_side_at_once(site: Site) -> None:
    await site.ready({"zh": "对话"}, [draft(8_000, "我们的智能座舱可以理解两种语言。", "zh")])
    await site.ready({"en": "Talk"}, [draft(12_000, "A smart cockpit is quiet.")])
    async with people.signed_in(site, Role.EDITOR, "eva") as eva, people.visitor(site) as nobody:
        assert "<mark>智能座舱</mark>" not in (await nobody.get("/search?q=smart+cockpit")).text
        added = await eva.post("/glossary/new", SENT)
        assert (added.status, added.location) == (303, "/glossary?done=added")
        for typed in ("smart cockpit", "智能座舱"):
            page = (await nobody.get("/search", params={"q": typed})).text
            assert "<mark>智能座舱</mark>" in page
            assert "<mark>smart cockpit</mark>" in page.replace("</mark> <mark>", " ")
        assert "智能座舱" in (await nobody.get("/api/suggestions?q=智能")).text
        number = re.search(r'href="/glossary/(\d+)"', (await eva.get(added.location)).text)
        assert number is not None
        await eva.post(f"/glossary/{number[1]}/remove")
        assert "<mark>智能座舱</mark>" not in (await nobody.get("/search?q=smart+cockpit")).text
    assert await held(site) == []
    assert await deeds(site) == [
        "eva glossary term removed: 智能座舱",
        "eva glossary term added: 智能座舱",
        "eva signed in: eva",
    ]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"term": ""}, "the term is missing"),
        ({"term": "…"}, "“…” holds no letter and no digit"),
        ({"term": "=HYPERLINK(1)"}, "“=HYPERLINK(1)” begins as a formula does in spreadsheets (=, +, -, @)"),
        ({"means_en": "x" * (LONGEST + 1)}, f"“{'x' * 40}…” is longer than 200 characters"),
        ({"lang": "<b>"}, "“<b>” is no language; write a code such as en or zh"),
        ({"means_<b>": "x"}, "“<b>” is no language; write a code such as en or zh"),
        ({"term": "a\x00b"}, "“ab” holds characters that cannot be printed"),
        ({"term": "ｎｉｏ", "lang": "en"}, "The glossary holds this term already; correct it there."),
    ],
)
async def test_what_cannot_be_taken_is_said_and_the_form_keeps_what_was_typed(
    site: Site, fields: dict[str, str], sentence: str
) -> None:
    await put(site, NIO)
    async with people.signed_in(site, Role.EDITOR) as editor:
        refused = await editor.post("/glossary/new", {**SENT, **fields})
        assert (refused.status, refused.notices) == (400, [sentence])
        assert 'value="smart cockpit"' in refused.text or "means_en" in fields
        assert "<b>" not in re.sub(r"<b( lang=[^>]*)?>[^<]*</b>", "", refused.text)
    assert await held(site) == [NIO]


async def test_a_term_is_corrected_and_who_comes_late_is_told(site: Site) -> None:
    (number,) = await put(site, COCKPIT)
    async with people.signed_in(site, Role.EDITOR, "eva") as eva, people.signed_in(site, Role.ADMIN) as admin:
        form = await admin.get(f"/glossary/{number}")
        assert 'value="智能座舱"' in form.text
        await eva.post(f"/glossary/{number}", {**SENT, "means_en": "intelligent cockpit", "name": "1"})
        assert await held(site) == [Entry("智能座舱", "zh", {"en": "intelligent cockpit"}, is_name=True)]
        late = await admin.post(f"/glossary/{number}", {**SENT, "means_en": "clever cockpit"})
        assert late.status == 409
        assert 'action="/glossary/new"' in late.text
        assert 'value="clever cockpit"' in late.text
        assert (await admin.post(f"/glossary/{number}/remove")).status == 404
        assert (await admin.get(f"/glossary/{number}")).status == 404
    assert len(await held(site)) == 1


async def test_saving_a_term_as_it_was_changes_nothing(site: Site) -> None:
    (number,) = await put(site, COCKPIT)
    async with people.signed_in(site, Role.EDITOR, "eva") as eva:
        assert (await eva.post(f"/glossary/{number}", SENT)).status == 303
        assert (await eva.get(f"/glossary/{number}")).status == 200
    assert await deeds(site) == ["eva signed in: eva"]


async def test_the_list_is_narrowed_and_goes_on(site: Site) -> None:
    await put(site, *(Entry(f"word {number:03}", "en") for number in range(120)), COCKPIT, NIO)
    async with people.signed_in(site, Role.EDITOR) as editor:
        first = (await editor.get("/glossary")).text
        assert "word 020" not in first
        more = re.search(r'href="([^"]+)" rel="next"', first)
        assert more is not None
        assert "word 020" in (await editor.get(unescape(more[1]))).text
        for query, there, not_there in (
            ("?q=SMART", "智能座舱", "word 119"),
            ("?show=names", "NIO", "word 119"),
            ("?show=alone&q=119", "word 119", "word 118"),
            ("?show=alone", "word 119", "智能座舱"),
            ("?from=nonsense&show=nonsense", "NIO", "word 020"),
        ):
            page = (await editor.get("/glossary" + query)).text
            assert there in page, query
            assert not_there not in page, query
        assert "No term here fits." in (await editor.get("/glossary?q=zeppelin")).text


async def test_a_list_is_looked_at_and_then_taken(site: Site) -> None:
    await put(site, Entry("NIO", "en"))
    async with people.signed_in(site, Role.EDITOR, "eva") as eva:
        shown = await send(eva, LIST.encode("utf-8-sig"), "look")
        assert shown.notices == ["New: 1. Corrected: 1. As they are: 0."]
        assert await held(site) == [Entry("NIO", "en")]
        typed = re.search(r"<textarea[^>]*>\n(.*)</textarea>", shown.text, re.DOTALL)
        assert typed is not None
        taken = await send(eva, unescape(typed[1]).replace("\n", "\r\n"), "take")
        assert (taken.status, taken.location) == (303, "/glossary?done=taken")
        assert set(map(str, await held(site))) == {str(COCKPIT), str(NIO)}
        out = await eva.get("/glossary.csv")
        assert out.headers["Content-Disposition"] == 'attachment; filename="glossary.csv"'
        again = await send(eva, out.text, "look")
        assert again.notices == ["New: 0. Corrected: 0. As they are: 2."]
        assert "Take it in" not in again.text
    assert (await deeds(site))[0] == "eva glossary imported: 2 terms"


@pytest.mark.parametrize("do", ["look", "take"])
@pytest.mark.parametrize(
    ("rubbish", "said"),
    [
        ("", "Line 1: the first line has to name the columns, such as term,language,name,en,zh"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "Line 1: this is not UTF-8; save the table as “CSV UTF-8”"),
        (LIST.encode("gb18030"), "Line 2: this is not UTF-8; save the table as “CSV UTF-8”"),
        (LIST + "nio,en,,,\n", "Line 4: “nio” stands further up already"),
        (LIST + "<script>,<i>,,,\n", "Line 4: “<i>” is no language; write a code such as en or zh"),
        (LIST + '"open,en', "Line 4: this cannot be read as CSV; look for a quotation mark that is not closed"),
        (LIST + "x," * 400_000, "Line 4: there are more fields than columns"),
        ("term,language,notes of mine\nNIO,en,", "Line 1: “notes of mine” is neither"),
    ],
)
async def test_a_list_with_a_fault_does_nothing(site: Site, rubbish: str | bytes, said: str, do: str) -> None:
    async with people.signed_in(site, Role.EDITOR) as editor:
        refused = await send(editor, rubbish, do)
        assert refused.status == 400
        assert said in unescape(refused.text)
        assert "<script>" not in refused.text.partition("<main")[2]
    assert await held(site) == []


async def test_a_list_without_a_term_and_one_that_is_too_large_are_refused(site: Site) -> None:
    async with people.signed_in(site, Role.EDITOR) as editor:
        assert (await send(editor, "term,language\n", "take")).notices == ["There is no term in this list."]
        for large in (LIST + "word,en,,,\n" * 200_000, (LIST + "word,en,,,\n" * 200_000).encode()):
            refused = await send(editor, large, "take")
            assert refused.status == 400
            assert "larger than 1 MB" in refused.text
        broken = {"Content-Type": "multipart/form-data; boundary=x", "X-CSRF-Token": editor.token}
        assert (await editor.ask("POST", "/glossary/list", data=b"rubbish", headers=broken)).status in (400, 403)
    assert await held(site) == []


async def test_a_corrected_line_offers_what_was_put_in(site: Site) -> None:
    interview = await site.interview(await site.ready({"en": "Talk"}, [draft(0, "The smart cock pit listens.")]))
    assert interview.recording_id is not None
    async with site.services.database.write() as tx:
        (cue,) = await transcripts.of_recording(tx, interview.recording_id)
    line = f"/interviews/{interview.id}/cues/{cue.id}"
    async with people.signed_in(site, Role.EDITOR, "eva") as eva:
        before = (await eva.get(line)).text
        assert "Add a term to the glossary" in before
        async with site.services.database.write() as tx:
            await corrections.edit(tx, cue.id, cue.revision, "The smart cockpit listens.", None)
        unsigned = (await eva.get(line)).text
        assert "Add a term to the glossary" in unsigned, "what no person put in is not offered"
        user_id = await id_of(site, "eva")
        async with site.services.database.write() as tx:
            (now,) = (
                await corrections.edit(tx, cue.id, cue.revision + 1, "The clever cockpit listens.", user_id)
            ).cues
        page = (await eva.get(line)).text
        link = re.search(r'href="(/glossary/new\?[^"]+)"', page)
        assert link is not None
        address = unescape(link[1])
        assert parse_qs(urlsplit(address).query) == {"term": ["clever"], "lang": ["en"], "next": [line]}
        form = (await eva.get(address)).text
        assert 'value="clever"' in form
        added = await eva.post("/glossary/new", {"term": "clever", "lang": "en", "next": line})
        assert (added.status, added.location) == (303, line)
        assert now.id == cue.id
        elsewhere = await eva.post("/glossary/new", {"term": "other", "lang": "en", "next": "//evil.example"})
        assert elsewhere.location == "/"
        unsafe = (await eva.get("/glossary/new?" + urlencode({"next": "//evil.example", "term": '"><b>'}))).text
        assert 'href="//evil.example"' not in unsafe
        assert '"><b>' not in unsafe


async def id_of(site: Site, name: str) -> int:
    async with site.services.database.read() as connection:
        return next(user.id for user in await accounts.users(connection) if user.name == name)
