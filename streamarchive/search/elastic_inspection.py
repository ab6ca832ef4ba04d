"""What `doctor` looks at on an Elasticsearch server; every look is a finding, none raises."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from elasticsearch import ApiError

from streamarchive.errors import SearchError
from streamarchive.protocols import SearchFinding
from streamarchive.search.elastic_disks import Disk, Watermarks, fullness
from streamarchive.search.elastic_indexes import Indexes
from streamarchive.search.elastic_server import Server

OLDEST = (8, 19)
READING = ("read", "view_index_metadata", "monitor")
"""Rights on the indexes that searching needs."""
WRITING = ("index", "create_index", "manage")
"""And those that the indexer, `reindex` and `verify` need besides."""
_LIMIT_SECONDS = 5.0


class Inspection:
    """Looks at the server, and at the index `name` on it, with the rights of whoever asks."""

    def __init__(self, server: Server, indexes: Indexes, name: str) -> None:
        self._server = server
        self._client = server.brisk
        self._indexes = indexes
        self._name = name

    async def findings(self) -> list[SearchFinding]:
        """In the order in which they should be mended. Where the server is away there is only one."""
        first = await self._looked("version", self._version)
        if not first.ok:
            return [first]
        looks: list[tuple[str, Callable[[], Awaitable[tuple[bool, str]]]]] = [
            ("transport", self._transport),
            ("rights", self._rights),
            ("template", self._template),
            ("index", self._index),
            ("disk", self._disk),
        ]
        return [first, *[await self._looked(subject, look) for subject, look in looks]]

    async def _looked(self, subject: str, look: Callable[[], Awaitable[tuple[bool, str]]]) -> SearchFinding:
        try:
            async with self._server.translated(_LIMIT_SECONDS):
                ok, sentence = await look()
        except SearchError as error:
            ok, sentence = False, str(error)
        return SearchFinding(subject, ok, sentence)

    async def _version(self) -> tuple[bool, str]:
        nodes = await self._client.nodes.info(metric="os", filter_path="nodes.*.version")
        versions = sorted({node["version"] for node in nodes["nodes"].values()})
        numbers = [tuple(int(part) for part in version.split(".")[:2]) for version in versions]
        told = f"Elasticsearch {', '.join(versions)} on {len(nodes['nodes'])} node(s)"
        if all(OLDEST <= number < (10, 0) for number in numbers):
            return True, told
        return False, f"{told}; this version of StreamArchive works with 8.19 and 9"

    async def _transport(self) -> tuple[bool, str]:
        parts = urlsplit(self._server.address)
        if parts.scheme == "https":
            return True, "https, and the certificate is checked"
        if _is_here(parts.hostname or ""):
            return True, "http, inside this machine only"
        return False, "http: texts and passwords cross the network in clear; set up TLS and name it by https://"

    async def _rights(self) -> tuple[bool, str]:
        patterns = [self._name, f"{self._name}-*"]
        try:
            answer = await self._client.security.has_privileges(
                cluster=["monitor"],
                index=[{"names": [name], "privileges": [*READING, *WRITING]} for name in patterns],
            )
        except ApiError as error:
            if error.status_code in {400, 405, 500}:
                return await self._without_security()
            raise
        given = [answer["index"][name] for name in patterns]
        lacking = [right for right in (*READING, *WRITING) if not all(each[right] for each in given)]
        if not answer["cluster"]["monitor"]:
            lacking.insert(0, "monitor (of the cluster)")
        told = f"{answer['username']} has every right that searching and indexing need"
        if not lacking:
            return True, told
        for_search = [right for right in lacking if right not in WRITING]
        wanting = ", ".join(lacking)
        if for_search:
            return False, f"{answer['username']} lacks {wanting} on {' and '.join(patterns)}"
        return True, f"{answer['username']} may search; indexer, reindex and verify need {wanting} as well"

    async def _without_security(self) -> tuple[bool, str]:
        here = _is_here(urlsplit(self._server.address).hostname or "")
        told = "the server asks nobody who they are: whoever reaches it may read and delete everything"
        return here, told if here else f"{told}; switch its security on"

    async def _template(self) -> tuple[bool, str]:
        if not await self._indexes.has_template():
            return (
                True,
                f"no index template {self._name!r}: one shard, and a replica where there is a second node",
            )
        found = await self._client.indices.get_index_template(name=self._name, flat_settings=True)
        template = found["index_templates"][0]["index_template"]
        if f"{self._name}-*" not in _listed(template["index_patterns"]):
            return (
                False,
                f"the index template {self._name!r} is not for {self._name}-*; correct its index_patterns",
            )
        if template.get("template", {}).get("mappings"):
            return False, f"the index template {self._name!r} has mappings, which are ours; leave only settings"
        settings = template.get("template", {}).get("settings", {})
        told = ", ".join(f"{name.removeprefix('index.')} {value}" for name, value in sorted(settings.items()))
        return True, f"the index template {self._name!r} says: {told or 'nothing'}"

    async def _index(self) -> tuple[bool, str]:
        state = await self._indexes.answering()
        if state is None:
            return False, f"there is no index {self._name!r} yet; `streamarchive reindex` makes one"
        health = await self._client.cluster.health(index=self._name)
        told = f"{health['status']}, {health['active_primary_shards']} shard(s)"
        if health["status"] == "red":
            return (
                False,
                f"{told}; a shard is lost: see the server's log, `streamarchive reindex` makes a new one",
            )
        if not state.current:
            return False, f"{told}; analysed by another version: run `streamarchive reindex`"
        if health["status"] == "yellow":
            told += "; a replica has no node to be on"
        return True, told

    async def _disk(self) -> tuple[bool, str]:
        stats = await self._client.nodes.stats(metric="fs", filter_path="nodes.*.fs.total")
        totals = [node["fs"]["total"] for node in stats.get("nodes", {}).values()]
        disks = [Disk(total["total_in_bytes"], total["available_in_bytes"]) for total in totals]
        settings = await self._client.cluster.get_settings(include_defaults=True, flat_settings=True)
        merged = {**settings["defaults"], **settings["persistent"], **settings["transient"]}
        enough, sentence = fullness(disks, Watermarks.of(merged))
        blocks = await self._client.indices.get_settings(
            index=self._name, name="index.blocks.read_only_allow_delete", flat_settings=True
        )
        if any(each["settings"] for each in blocks.values()):
            return (
                False,
                f"{sentence}; the index takes no more writes: make room, the server then goes on by itself",
            )
        return enough, sentence if enough else f"{sentence}; make room before it refuses writes"


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listed(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value
