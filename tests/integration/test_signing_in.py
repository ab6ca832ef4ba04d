"""Signing in and out through the pages: where it is allowed, what cookies are worth, one's own account."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web as http

from streamarchive.catalogue import accounts, passwords
from streamarchive.models import Role
from streamarchive.services import open_services
from streamarchive.settings import Settings
from tests import people
from tests.people import PASSWORD, Client, form_token
from tests.site import Site
from web.app import create_app

PUBLIC = "archive.example"


@pytest.fixture
async def behind_a_proxy(tmp_path):
    """A function that opens a site of this public address; requests to it come from loopback, as a proxy's do."""
    running = []

    async def start(base_url: str, trusted: str = "127.0.0.0/8") -> str:
        settings = Settings(data_dir=tmp_path / "archive", base_url=base_url, trusted_proxies=trusted)
        opened = open_services(settings)
        services = await opened.__aenter__()
        password_hash = await passwords.hash_password(PASSWORD)
        async with services.database.write() as tx:
            await accounts.add_user(tx, "eva", Role.EDITOR, password_hash)
        runner = http.AppRunner(create_app(services), handle_signals=False, access_log=None)
        await runner.setup()
        await http.TCPSite(runner, "127.0.0.1", 0).start()
        running.append((runner, opened, services))
        host, port = runner.addresses[0][:2]
        return f"http://{host}:{port}"

    yield start
    for runner, opened, _ in running:
        await runner.cleanup()
        await opened.__aexit__(None, None, None)


async def sign_in(url: str, **headers: str) -> tuple[int, list[str]]:
    """Through the form, with these headers; the status, and the cookies that came with it."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession(headers=sent, cookie_jar=aiohttp.DummyCookieJar()) as session:
        async with session.get(f"{url}/sign-in") as form:
            text = await form.text()
            if 'name="password"' not in text:
                return form.status, []
            cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in form.cookies.items())
        fields = {"csrf": form_token(text), "name": "eva", "password": PASSWORD}
        answer = session.post(f"{url}/sign-in", data=fields, headers={"Cookie": cookies}, allow_redirects=False)
        async with answer as response:
            return response.status, response.headers.getall("Set-Cookie", [])


async def test_behind_a_proxy_that_says_https_cookies_are_bound_to_it(behind_a_proxy):
    url = await behind_a_proxy(f"https://{PUBLIC}")
    for headers in (
        {"Host": PUBLIC},
        {"Host": PUBLIC, "X_Forwarded_Proto": "https", "X_Forwarded_For": "192.0.2.1"},
    ):
        status, cookies = await sign_in(url, **headers)
        assert status == 303
        (session,) = [cookie for cookie in cookies if "session" in cookie]
        assert session.startswith("__Host-session=")
        for flag in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
            assert flag in session
        assert "Domain" not in session


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": PUBLIC, "X_Forwarded_Proto": "http"},
        {"Host": PUBLIC, "X_Forwarded_Proto": "https, http"},
        {"Host": f"{PUBLIC}:8080"},
        {"Host": "192.0.2.10:8080"},
        {"Host": "127.0.0.1:8080", "X_Forwarded_For": "192.0.2.1"},
        {"Host": "localhost", "Via": "1.1 proxy"},
    ],
)
async def test_over_plain_http_on_a_network_nobody_signs_in(behind_a_proxy, headers):
    url = await behind_a_proxy(f"https://{PUBLIC}")
    assert await sign_in(url, **headers) == (200, [])
    async with aiohttp.ClientSession() as session:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with session.get(f"{url}/sign-in", headers=sent) as page:
            assert "proxy_set_header X-Forwarded-Proto" in await page.text()
        async with session.post(
            f"{url}/sign-in", headers=sent, data={"name": "eva", "password": PASSWORD}
        ) as answer:
            assert answer.status == 403


async def test_https_is_believed_of_trusted_proxies_only(behind_a_proxy):
    url = await behind_a_proxy("", trusted="192.0.2.0/24")
    assert await sign_in(url, Host="evil.example", X_Forwarded_Proto="https") == (200, [])


async def test_on_the_own_machine_plain_http_will_do(behind_a_proxy):
    url = await behind_a_proxy("")
    status, cookies = await sign_in(url)
    assert status == 303
    (session,) = [cookie for cookie in cookies if "session" in cookie]
    assert session.startswith("session=")
    assert "Secure" not in session
    assert "HttpOnly" in session


async def test_guesses_are_counted_by_the_address_in_front_of_the_proxy(behind_a_proxy, tmp_path):
    url = await behind_a_proxy(f"https://{PUBLIC}")
    await sign_in(url, Host=PUBLIC, X_Forwarded_For="203.0.113.66, 192.0.2.1")
    async with (
        open_services(Settings(data_dir=tmp_path / "archive")) as services,
        services.database.read() as connection,
    ):
        (deed,) = await accounts.deeds(connection, 1)
    assert deed.details == {"address": "192.0.2.1"}, "the rightmost is what our proxy has seen"


async def test_over_https_browsers_are_told_to_stay_there(behind_a_proxy):
    url = await behind_a_proxy(f"https://{PUBLIC}")
    async with aiohttp.ClientSession() as session:
        async with session.get(url, headers={"Host": PUBLIC}) as page:
            assert page.headers["Strict-Transport-Security"].startswith("max-age=")
        async with session.get(url) as page:
            assert "Strict-Transport-Security" not in page.headers


async def test_the_sign_in_form_cannot_be_sent_from_elsewhere(site: Site):
    await people.add(site, "eva", Role.EDITOR)
    async with people.visitor(site) as client:
        form = await client.get("/sign-in")
        fields = {"csrf": form_token(form.text), "name": "eva", "password": PASSWORD}
        for token in ("", "wrong", "ungültig"):
            assert (await client.ask("POST", "/sign-in", data={**fields, "csrf": token})).status == 403
        foreign = {"Origin": "http://evil.example"}
        assert (await client.ask("POST", "/sign-in", data=fields, headers=foreign)).status == 403
        assert (await client.ask("POST", "/sign-in", data=fields)).status == 303


async def test_signing_in_leads_back_but_never_away(site: Site):
    await people.add(site, "eva", Role.EDITOR)
    for wanted, leads_to in (
        ("/search?q=x", "/search?q=x"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
    ):
        async with people.visitor(site) as client:
            form = await client.get("/sign-in")
            fields = {"csrf": form_token(form.text), "name": "eva", "password": PASSWORD, "next": wanted}
            assert (await client.ask("POST", "/sign-in", data=fields)).location == leads_to


async def test_a_session_is_new_at_every_sign_in_and_dead_after_signing_out(site: Site):
    async with people.signed_in(site, Role.EDITOR, "eva") as client:
        first = cookie(client)
        again = await people.sign_in(client, "eva")
        second = cookie(client)
        assert first != second
        assert (await again.get("/account")).status == 200
        assert (await again.post("/sign-out")).status == 303
    for token in (first, second):
        async with people.visitor(site) as stranger:
            headers = {"Cookie": f"session={token}"}
            assert (await stranger.get("/account", headers=headers)).location.startswith("/sign-in")


def cookie(client: Client) -> str:
    (value,) = [morsel.value for morsel in client.session.cookie_jar if morsel.key == "session"]
    return value


async def test_a_new_password_takes_the_old_one_and_ends_other_sessions(site: Site):
    async with people.signed_in(site, Role.EDITOR, "eva") as eva, people.visitor(site) as other:
        second = await people.sign_in(other, "eva")
        page = await eva.get("/account")
        assert page.headers["Cache-Control"] == "no-store"
        assert page.text.count('action="/account/sessions"') == 2
        wrong = await eva.post("/account/password", {"password": "not it at all", "new": "another good one"})
        assert (wrong.status, wrong.notices) == (400, ["the password is wrong"])
        short = await eva.post("/account/password", {"password": PASSWORD, "new": "short"})
        assert short.status == 400
        done = await eva.post("/account/password", {"password": PASSWORD, "new": "another good one"})
        assert done.status == 303
        assert (await eva.get("/account")).status == 200
        assert (await second.get("/account")).status == 303
    async with people.visitor(site) as client:
        await people.sign_in(client, "eva", "another good one")


async def test_guessing_the_password_at_ones_own_account_is_throttled_too(site: Site):
    """Who finds a browser left open has a session, not the password."""
    async with people.signed_in(site, Role.EDITOR, "eva") as eva:
        guesses = [eva.post("/account/password", {"password": f"guess {n}", "new": "x" * 12}) for n in range(12)]
        sentences = {sentence for answer in await asyncio.gather(*guesses) for sentence in answer.notices}
        last = await eva.post("/account/password", {"password": PASSWORD, "new": "x" * 12})
    assert "the password is wrong" in sentences
    assert last.status == 400
    assert "too many attempts" in last.notices[0]
