"""People with accounts, signed in as a browser is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape

import aiohttp
from argon2 import PasswordHasher

from streamarchive.catalogue import accounts
from streamarchive.models import Role
from tests.site import Site

PASSWORD = "correct horse battery"
PASSWORD_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
"""Checked in no time, as a hash says itself how much work it is; real ones are meant to take long."""


@dataclass(frozen=True)
class Answer:
    """What came back, with redirects not followed."""

    status: int
    text: str
    headers: dict[str, str]

    @property
    def location(self) -> str:
        return self.headers.get("Location", "")

    @property
    def notices(self) -> list[str]:
        """The sentences in the page's boxes."""
        boxes = re.findall(r'<p class="notice[^>]*>(.*?)</p>', self.text, re.DOTALL)
        return [text for box in boxes if (text := unescape(re.sub(r"<[^>]+>", "", box)).strip())]


@dataclass(frozen=True)
class Client:
    """Somebody's browser: keeps cookies, and sends the token of its forms."""

    session: aiohttp.ClientSession
    url: str
    token: str = ""

    async def ask(self, method: str, path: str, **options) -> Answer:
        async with self.session.request(method, self.url + path, allow_redirects=False, **options) as response:
            return Answer(response.status, await response.text(errors="replace"), dict(response.headers))

    async def get(self, path: str, **options) -> Answer:
        return await self.ask("GET", path, **options)

    async def post(self, path: str, fields: Iterable[tuple[str, str]] | dict[str, str] = (), **options) -> Answer:
        """Send a form with its token."""
        pairs = list(fields.items() if isinstance(fields, dict) else fields)
        return await self.ask("POST", path, data=[("csrf", self.token), *pairs], **options)

    async def send(self, path: str, *files: tuple[str, str, bytes], token: str | None = None) -> Answer:
        """Send a form with files: (field, file name, bytes)."""
        form = aiohttp.FormData(quote_fields=False, default_to_multipart=True)  # names as browsers send them
        form.add_field("csrf", self.token if token is None else token)
        for field, name, data in files:
            form.add_field(field, data, filename=name, content_type="application/octet-stream")
        return await self.ask("POST", path, data=form)


async def add(site: Site, name: str, role: Role) -> None:
    """Give somebody an account."""
    async with site.services.database.write() as tx:
        await accounts.add_user(tx, name, role, PASSWORD_HASH)


@asynccontextmanager
async def visitor(site: Site) -> AsyncIterator[Client]:
    """Somebody without an account."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield Client(session, site.url)


@asynccontextmanager
async def signed_in(site: Site, role: Role, name: str = "") -> AsyncIterator[Client]:
    """Somebody of this role, through the sign-in form."""
    name = name or role.value
    await add(site, name, role)
    async with visitor(site) as client:
        yield await sign_in(client, name)


async def sign_in(client: Client, name: str, password: str = PASSWORD) -> Client:
    """The same browser, signed in."""
    form = await client.get("/sign-in")
    token = form_token(form.text.partition('action="/sign-in"')[2])
    fields = {"csrf": token, "name": name, "password": password, "next": "/"}
    answer = await client.ask("POST", "/sign-in", data=fields)
    assert answer.status == 303, answer.notices
    home = await client.get("/")
    return Client(client.session, client.url, form_token(home.text))


def form_token(page: str) -> str:
    """What the forms of a page carry."""
    match = re.search(r'name="csrf" value="([^"]+)"', page)
    assert match is not None
    return match[1]
