"""Fixtures for every test: real servers and programs, started when the first test asks for them."""

from __future__ import annotations

import itertools
import os
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from playwright.async_api import Browser, BrowserContext, async_playwright, expect
from psycopg import sql

from streamarchive.search import elastic_queries
from tests import services
from tests.blocking import site_never_blocks
from tests.sharing import SharedServers
from tests.site import Media, Site, make_media, open_site
from tests.waiting import PATIENCE

CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]

MISSING = "missing service "
"""How the reason of a skipped test begins, if a service is why."""

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_skipped: dict[str, list[str]] = defaultdict(list)
_numbers = itertools.count(1)
_servers: SharedServers | None = None


def absent(name: str, reason: str) -> NoReturn:
    """Fail where the service is required, else skip the test."""
    message = f"{MISSING}{name}: {reason}"
    if services.required(name):
        pytest.fail(f"required, but a {message}", pytrace=False)
    pytest.skip(message)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> SharedServers:
    """The servers of this run. They are stopped when the session is over, which no test's time counts."""
    global _servers
    own = tmp_path_factory.getbasetemp()
    _servers = SharedServers(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)
    return _servers


def pytest_sessionfinish() -> None:
    """Stop them."""
    if _servers is not None:
        _servers.close()


def _service(servers: SharedServers, name: str, start: Callable[[], AbstractContextManager[str]]) -> str:
    try:
        return servers.url(name, start)
    except services.MissingServiceError as error:
        absent(name, str(error))


@pytest.fixture(autouse=True)
def _site_never_blocks() -> Iterator[None]:
    """A site that blocks its event loop fails the test."""
    with site_never_blocks():
        yield


@pytest.fixture(scope="session")
def postgresql_url(servers: SharedServers) -> str:
    """A PostgreSQL server's maintenance database; tests ask for `postgresql_database`."""
    return _service(servers, "postgresql", services.postgresql)


@pytest.fixture(scope="session")
def postgresql_databases(postgresql_url: str) -> Iterator[Callable[..., str]]:
    """A function that makes a database and gives its URL: empty, or a copy of `template` (a name or URL).

    Copying takes some 50 ms, so migrate a template once and copy it for every test. Nobody may be connected
    to the template meanwhile.
    """
    made: list[str] = []

    def create(template: str = "template0") -> str:
        name = f"test_{os.getpid()}_{next(_numbers)}"
        source = urlsplit(template).path.lstrip("/") if "://" in template else template
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        with psycopg.connect(postgresql_url, autocommit=True) as connection:
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(source)))
        made.append(name)
        return urlsplit(postgresql_url)._replace(path=f"/{name}").geturl()

    yield create
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        for name in made:
            statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(statement.format(sql.Identifier(name)))


@pytest.fixture
def postgresql_database(postgresql_databases: Callable[..., str]) -> str:
    """URL of an empty database of this test's own."""
    return postgresql_databases()


@pytest.fixture(scope="session")
def elasticsearch_url(servers: SharedServers) -> str:
    """An Elasticsearch node's address. It is shared: use index names of your own."""
    return _service(servers, "elasticsearch", services.elasticsearch)


@pytest.fixture(scope="session")
def elasticsearch_9_url(servers: SharedServers) -> str:
    """The same of Elasticsearch 9."""
    return _service(servers, "elasticsearch 9", services.elasticsearch_9)


@pytest.fixture
def s3_access(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who one is to the S3 servers of the tests, and nothing that this machine says of others."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", services.S3Server.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", services.S3Server.SECRET_KEY)


@pytest.fixture(scope="session")
def s3_endpoint(servers: SharedServers) -> str:
    """An S3 server's address. It is shared: use prefixes of your own."""
    return _service(servers, "s3", services.s3)


@pytest.fixture
def s3_url(s3_endpoint: str, s3_access: None) -> str:
    """URL of a media store of this test's own on a server that others use, too."""
    return f"s3://{services.S3Server.BUCKET}/{secrets.token_hex(8)}?endpoint={s3_endpoint}"


@pytest.fixture
def s3_server(s3_access: None) -> Iterator[services.S3Server]:
    """An S3 server of this test's own."""
    with ExitStack() as stack:
        try:
            yield stack.enter_context(services.s3_server())
        except services.MissingServiceError as error:
            absent("s3", str(error))


@pytest.fixture
def patient_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches may take a minute on a loaded machine; that they are given up sooner has tests of its own."""
    monkeypatch.setattr("streamarchive.search.elastic._PATIENCE_SECONDS", 60.0)
    monkeypatch.setitem(elastic_queries._SEARCH, "timeout", "60s")
    monkeypatch.setattr("streamarchive.search.ranking.SEARCH_SECONDS", 60.0)
    monkeypatch.setattr("streamarchive.search.ranking.COUNTING_SECONDS", 60.0)
    monkeypatch.setattr("streamarchive.search.elastic_server.REQUEST_SECONDS", 60.0)
    monkeypatch.setattr("streamarchive.search.elastic_inspection._LIMIT_SECONDS", 60.0)


@pytest.fixture(scope="session")
def rtsp_url(servers: SharedServers) -> str:
    """A server for RTSP with cameras."""
    return _service(servers, "gstreamer", services.rtsp_server)


@pytest.fixture
def nginx_rtmp() -> Iterator[Callable[[str], str]]:
    """A function that starts a server for RTMP, given who is to be asked about publishing; its URL."""
    with ExitStack() as stack:

        def start(on_publish: str = "") -> str:
            try:
                return stack.enter_context(services.nginx_rtmp(on_publish))
            except services.MissingServiceError as error:
                absent("nginx-rtmp", str(error))

        yield start


@pytest.fixture(scope="session")
def ffmpeg() -> Path:
    """The ffmpeg program."""
    return services.find_ffmpeg()


@pytest.fixture(scope="session")
def chromium_path() -> Path:
    """The browser's program."""
    try:
        return services.find_chromium()
    except services.MissingServiceError as error:
        absent("chromium", str(error))


@pytest.fixture
async def chromium(chromium_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Browser]:
    """A running browser (Playwright, async). It belongs to the test's event loop."""
    expect.set_options(timeout=5_000 * PATIENCE)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium_path, args=CHROMIUM_ARGUMENTS, chromium_sandbox=False
        )
        new_context = browser.new_context

        async def patient_context(**options: Any) -> BrowserContext:
            context = await new_context(**options)
            context.set_default_timeout(30_000 * PATIENCE)  # of navigation, too
            return context

        monkeypatch.setattr(browser, "new_context", patient_context)
        try:
            yield browser
        finally:
            await browser.close()


@pytest.fixture(scope="session")
def media(ffmpeg: Path, tmp_path_factory: pytest.TempPathFactory) -> Media:
    """Thirty seconds of test picture and tone, as files and as segments."""
    return make_media(ffmpeg, tmp_path_factory.mktemp("media"))


@pytest.fixture
async def site(media: Media, tmp_path: Path) -> AsyncIterator[Site]:
    """A running site over an empty archive of this test's own."""
    async with open_site(tmp_path, media) as running:
        yield running


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count the tests that a missing service cost."""
    if not report.skipped or not isinstance(report.longrepr, tuple):
        return
    reason = str(report.longrepr[2]).removeprefix("Skipped: ")
    if reason.startswith(MISSING):
        _skipped[reason.removeprefix(MISSING)].append(report.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name, last of all, every suite that could not run, and why."""
    if not _skipped:
        return
    terminalreporter.section("not run, because something is missing", yellow=True)
    for missing, tests in sorted(_skipped.items()):
        suites = ", ".join(sorted({test.partition("::")[0] for test in tests}))
        terminalreporter.line(f"{missing}: {len(tests)} tests of {suites}")
