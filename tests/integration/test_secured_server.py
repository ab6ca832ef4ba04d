"""Elasticsearch with TLS and with the rights that the operator's guide gives; what doctor says of a server.

The distribution that tests run on cannot keep API keys (it lacks the analysers of its own index of them). So
its users have the roles that the guide gives to keys, and a proxy in front of it takes keys for users: what is
real is TLS, every right, and what the client sends.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from streamarchive.errors import SearchError, SearchUnavailableError, SettingsError
from streamarchive.protocols import Portion, SearchFinding, SearchIndex
from streamarchive.search import open_index
from streamarchive.search.feed import everything
from streamarchive.services import open_services
from streamarchive.settings import load_settings
from tests import factories, secured, services
from tests.conftest import absent
from tests.indexes import expected, stored
from workers import indexer

pytestmark = pytest.mark.usefixtures("patient_search")

GUIDE = Path(__file__).parents[2] / "docs/operator-guide.md"
READER, INDEXER = "streamarchive-reader", "streamarchive-indexer"
DISK = "cluster.routing.allocation.disk"
KEYS = {READER: "reader-id:reader-secret", INDEXER: "indexer-id:indexer-secret"}


def in_guide(part: str) -> list[dict[str, Any]]:
    """The requests in the operator's guide that have this part."""
    blocks = map(json.loads, re.findall(r"```json\n(.*?)\n```", GUIDE.read_text(encoding="utf-8"), re.DOTALL))
    return [block for block in blocks if part in block]


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    roles: dict[str, dict[str, object]] = {}
    for key in in_guide("role_descriptors"):
        roles |= key["role_descriptors"]
    try:
        return secured.make_secrets(tmp_path_factory.mktemp("secrets"), roles)
    except services.MissingServiceError as error:
        absent("openssl", str(error))


@pytest.fixture(scope="module")
def node(secrets: Path) -> Iterator[services.ElasticsearchNode]:
    try:
        with services.elasticsearch_node(secrets=secrets) as node:
            yield node
    except services.MissingServiceError as error:
        absent("elasticsearch", str(error))


@pytest.fixture
async def url(node: services.ElasticsearchNode, secrets: Path) -> AsyncIterator[str]:
    """The address of an index, through the proxy; nothing is left of it afterwards."""
    async with proxy(node.url, secrets) as address:
        yield f"{address}/streamarchive"
    async with administrator(node, secrets) as admin:
        for name in await admin("GET", "/streamarchive*"):
            await admin("DELETE", f"/{name}")


@asynccontextmanager
async def proxy(server: str, secrets: Path) -> AsyncIterator[str]:
    """Takes API keys for users of the server, changes nothing else."""
    users = {base64.b64encode(key.encode()).decode(): name for name, key in KEYS.items()}
    trust = ssl.create_default_context(cafile=secrets / "ca.pem")

    async def pass_on(request: web.Request) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() in _PASSED}
        kind, _, key = request.headers.get("Authorization", "").partition(" ")
        if kind == "ApiKey":
            password = secured.PASSWORD if key in users else "of nobody"
            headers["Authorization"] = aiohttp.encode_basic_auth(users.get(key, "nobody"), password)
        sent = session.request(
            request.method, server + request.raw_path, data=await request.read(), headers=headers, ssl=trust
        )
        async with sent as answer:
            told = {name: value for name, value in answer.headers.items() if name.lower() in _PASSED}
            return web.Response(status=answer.status, body=await answer.read(), headers=told)

    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/{path:.*}", pass_on)
    runner = web.AppRunner(app)
    await runner.setup()
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(secrets / "node.pem", secrets / "node.key")
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=own)
        await site.start()
        try:
            yield f"https://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


_PASSED = {"content-type", "accept", "content-encoding", "x-elastic-product", "authorization"}


@asynccontextmanager
async def administrator(node: services.ElasticsearchNode, secrets: Path) -> AsyncIterator[Any]:
    """Asks the server itself, with every right."""
    trust = ssl.create_default_context(cafile=secrets / "ca.pem")
    login = {"Authorization": aiohttp.encode_basic_auth(secured.ADMIN, secured.PASSWORD)}
    async with aiohttp.ClientSession(headers=login, raise_for_status=True) as session:

        async def ask(method: str, path: str, body: object = None) -> Any:
            async with session.request(method, node.url + path, json=body, ssl=trust) as answer:
                return await answer.json()

        yield ask


@asynccontextmanager
async def opened(url: str, secrets: Path, key: str) -> AsyncIterator[SearchIndex]:
    encoded = base64.b64encode(KEYS.get(key, key).encode()).decode()
    index = open_index(url, api_key=encoded, ca=str(secrets / "ca.pem"))
    try:
        yield index
    finally:
        await index.close()


async def test_a_key_in_a_file_with_the_rights_of_the_guide_does_all_that_an_indexer_does(
    url: str, secrets: Path, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(base64.b64encode(KEYS[INDEXER].encode()).decode() + "\n")
    environ = {
        "STREAMARCHIVE_DATA_DIR": str(tmp_path),
        "STREAMARCHIVE_SEARCH": url,
        "STREAMARCHIVE_SEARCH_API_KEY_FILE": str(file),
        "STREAMARCHIVE_SEARCH_CA": str(secrets / "ca.pem"),
    }
    async with open_services(load_settings(environ=environ, dotenv=None)) as archive:
        await archive.search.prepare()
        _, recording_id = await factories.uploaded(archive.database)
        await factories.heard(archive.database, recording_id, factories.line(0, "a lidar"))
        await indexer.catch_up(archive)
        assert await stored(archive) == await expected(archive)
        assert await archive.search.rebuild(lambda after: everything(archive.database, after)) == 2
        assert await stored(archive) == await expected(archive)
        assert (await archive.search.health()).documents == 2
        findings = await archive.search.examine()
        assert all(each.ok for each in findings), findings
        assert "every right" in of(findings, "rights").sentence


async def test_a_readers_key_searches_and_nothing_else(url: str, secrets: Path) -> None:
    async with opened(url, secrets, INDEXER) as writer, opened(url, secrets, READER) as index:
        await writer.prepare()
        await index.prepare()
        assert (await index.health()).ok
        assert await index.stored(["nothing"]) == {}
        with pytest.raises(SearchError, match=r"refuses the key in the setting `search_api_key`.*doctor"):
            await index.rebuild(no_portions)
        rights = of(await index.examine(), "rights")
        assert rights.ok
        assert "may search" in rights.sentence
        assert "create_index" in rights.sentence


async def no_portions(_after: int) -> AsyncIterator[Portion]:
    return
    yield


async def test_a_key_is_of_no_use_for_other_indexes(url: str, secrets: Path) -> None:
    async with opened(url.replace("/streamarchive", "/another"), secrets, INDEXER) as index:
        with pytest.raises(SearchError, match="refuses the key"):
            await index.prepare()
        assert not of(await index.examine(), "rights").ok


async def test_a_wrong_key_is_told(url: str, secrets: Path) -> None:
    async with opened(url, secrets, "wrong:key") as index:
        with pytest.raises(SearchError, match="refuses the key"):
            await index.prepare()
        assert not (await index.health()).ok


async def test_a_certificate_that_nobody_vouches_for_is_told(url: str, secrets: Path, tmp_path: Path) -> None:
    for ca in ("", str(secured.make_ca(tmp_path, "other"))):
        index = open_index(url, api_key="a2V5", ca=ca)
        with pytest.raises(SearchUnavailableError, match=r"certificate.*`search_ca`"):
            await index.prepare()
        findings = await index.examine()
        assert [(each.subject, each.ok) for each in findings] == [("version", False)]
        await index.close()


@pytest.mark.parametrize(
    ("address", "options", "sentence"),
    [
        ("https://user:word@search.example/x", {"api_key": "key"}, "keep one of them"),
        ("https://search.example/x", {"ca": "/nowhere/ca.pem"}, "search_ca"),
        ("https://search.example/x", {"ca": __file__}, "search_ca"),
    ],
)
def test_settings_that_make_no_sense_are_told(address: str, options: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        open_index(address, **options)


async def test_shards_are_the_operators_to_decide(
    url: str, node: services.ElasticsearchNode, secrets: Path
) -> None:
    (template,) = in_guide("index_patterns")
    async with administrator(node, secrets) as admin, opened(url, secrets, INDEXER) as index:
        assert "no index template" in of(await index.examine(), "template").sentence
        await admin("PUT", "/_index_template/streamarchive", template)
        try:
            await index.prepare()
            health = await admin("GET", "/_cluster/health/streamarchive")
            assert health["active_primary_shards"] == template["template"]["settings"]["number_of_shards"]
            told = of(await index.examine(), "template")
            assert (told.ok, "number_of_shards 3" in told.sentence) == (True, True)
            template["template"]["mappings"] = {"properties": {"text": {"type": "keyword"}}}
            await admin("PUT", "/_index_template/streamarchive", template)
            assert not of(await index.examine(), "template").ok
        finally:
            await admin("DELETE", "/_index_template/streamarchive")


async def test_what_is_wrong_with_a_server_is_found(
    url: str, node: services.ElasticsearchNode, secrets: Path
) -> None:
    async with administrator(node, secrets) as admin, opened(url, secrets, INDEXER) as index:
        assert not of(await index.examine(), "index").ok, "there is none yet"
        await index.prepare()
        assert of(await index.examine(), "index").ok
        await admin("PUT", "/streamarchive/_settings", {"index.blocks.read_only_allow_delete": True})
        assert not of(await index.examine(), "disk").ok
        await admin("PUT", "/streamarchive/_settings", {"index.blocks.read_only_allow_delete": None})
        assert of(await index.examine(), "disk").ok


async def test_a_disk_over_the_servers_watermark_is_found(
    url: str, node: services.ElasticsearchNode, secrets: Path
) -> None:
    async with administrator(node, secrets) as admin, opened(url, secrets, INDEXER) as index:
        await index.prepare()
        disk = of(await index.examine(), "disk")
        assert disk.ok, "these servers are told to write on however full the machine is"
        assert "threshold_enabled is false" in disk.sentence
        watermarks = {"low": "4pb", "high": "1b", "flood_stage": "1b"}
        settings = {f"{DISK}.watermark.{name}": value for name, value in watermarks.items()}
        try:
            await admin("PUT", "/_cluster/settings", {"persistent": {f"{DISK}.threshold_enabled": True}})
            await admin("PUT", "/_cluster/settings", {"persistent": settings})
            disk = of(await index.examine(), "disk")
            assert not disk.ok
            assert "watermarks 0% and 100%" in disk.sentence
            await admin("PUT", "/_cluster/settings", {"persistent": {f"{DISK}.watermark.low": "2b"}})
            assert of(await index.examine(), "disk").ok
        finally:
            await admin("PUT", "/_cluster/settings", {"persistent": {f"{DISK}.*": None}})


async def test_a_server_without_security_is_found(elasticsearch_url: str) -> None:
    index = open_index(f"{elasticsearch_url}/nothing-here")
    findings = await index.examine()
    await index.close()
    assert "asks nobody" in of(findings, "rights").sentence
    assert of(findings, "version").ok
    assert of(findings, "transport").ok


def of(findings: Any, subject: str) -> SearchFinding:
    """The finding about this."""
    found: SearchFinding = next(each for each in findings if each.subject == subject)
    return found
