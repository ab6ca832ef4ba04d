"""The indexes behind an alias of Elasticsearch: writing to them, and building the next one.

The alias `NAME` is on the index that answers, `NAME-next` on the one being built if there is one, `NAME-old` on
one that has been replaced and is about to go. Writers write to the first two; they look at the aliases before
and after, and repeat a write where they have changed: versions make that harmless, so nothing falls between two
indexes. How far a build has got stands in the index itself: whoever comes after a killed one goes on from there,
and what was written meanwhile is in it already.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from elasticsearch import AuthorizationException, BadRequestError, NotFoundError
from elasticsearch.helpers import async_streaming_bulk

from streamarchive.errors import SearchError, SearchUnavailableError
from streamarchive.protocols import Operation
from streamarchive.search.elastic_requests import MAPPINGS, SETTINGS, Json, action
from streamarchive.search.elastic_server import CONFLICT, MISSING, Server
from streamarchive.text import ANALYZER_VERSION

BULK_DOCUMENTS = 1_000
BULK_BYTES = 5 * 1024 * 1024
BULK_RETRIES = 5
"""How often a document is sent again that the server had no room for (429), each time after a longer wait."""
_ATTEMPTS = 10
_LINGER_SECONDS = 5.0
"""How long an index that has been replaced may stay for searches under way."""
_LOOK_SECONDS = 0.1
_QUIET_LOOKS = 3
TEMPLATED = ("number_of_shards", "number_of_replicas", "auto_expand_replicas")
"""Settings that an operator's index template may decide."""

_ARRANGED = [MAPPINGS, SETTINGS["sort.field"], SETTINGS["sort.order"]]
LAYOUT = hashlib.sha256(json.dumps(_ARRANGED, sort_keys=True).encode()).hexdigest()[:12]
"""Names this version's mapping, order and analyser; an index of another one is to be rebuilt."""
_OVERTAKEN = "another rebuild of the search index has overtaken this one; let that one finish"


@dataclass(frozen=True, slots=True)
class State:
    """What we know of one index of ours."""

    aliases: frozenset[str]
    layout: str | None
    analyzer_version: int
    checkpoint: int
    """How far the catalogue has been copied into it, as `streamarchive.protocols.Portion` counts."""

    @property
    def current(self) -> bool:
        """Whether this version made it, or one that makes the same."""
        return self.layout == LAYOUT


class Indexes:
    """The indexes of the alias `name`. Errors are those of the client: see `Server.translated`."""

    def __init__(self, server: Server, name: str) -> None:
        self._server = server
        self._client = server.patient
        self._name = name
        self._next = f"{name}-next"
        self._old = f"{name}-old"

    # --- looking ----------------------------------------------------------------------------------------

    async def states(self) -> dict[str, State]:
        """Every index that has one of our aliases."""
        found = await self._client.indices.get(
            index=[self._name, self._next, self._old],
            ignore_unavailable=True,
            filter_path="*.aliases,*.mappings._meta",
        )
        return {index: _state(value) for index, value in found.body.items()}

    async def answering(self) -> State | None:
        """The one that answers searches; None if there is none yet."""
        return next((state for state in (await self.states()).values() if self._name in state.aliases), None)

    # --- writing ----------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Make the first index if there is none; give an older one the fields that this version writes."""
        state = await self.answering()
        if state is None:
            await self._create_first()
        elif not state.current:
            # Where a field has another meaning now, only a rebuild helps, and writing says so.
            with suppress(BadRequestError):
                await self._client.indices.put_mapping(index=self._name, properties=MAPPINGS["properties"])

    async def write(self, operations: Sequence[Operation]) -> None:
        """Apply to the index that answers, and to the one being built if there is one."""
        for _ in range(_ATTEMPTS):
            before = await self.states()
            self._refuse_newer(before)
            aliases = {index: state.aliases for index, state in before.items()}
            targets = set().union(*aliases.values()) & {self._name, self._next}
            if self._name not in targets:
                await self._create_first()
                continue
            complete, _ = await self._bulk(sorted(targets), operations)
            if complete and {index: state.aliases for index, state in (await self.states()).items()} == aliases:
                return
        raise SearchUnavailableError(
            f"the index {self._name!r} on {self._server.address} keeps being replaced; is it rebuilt in a loop?"
        )

    def _refuse_newer(self, states: Mapping[str, State]) -> None:
        """What this version would write there, nobody could find."""
        if any(state.analyzer_version > ANALYZER_VERSION for state in states.values()):
            raise SearchUnavailableError(
                f"the index {self._name!r} on {self._server.address} belongs to a newer StreamArchive; bring this"
                " process to the same version"
            )

    async def _bulk(self, aliases: Sequence[str], operations: Sequence[Operation]) -> tuple[bool, int]:
        """Whether every alias was still there, and how many operations were news."""
        complete, applied = True, 0
        actions = await asyncio.to_thread(
            lambda: [action(alias, operation) for operation in operations for alias in aliases]
        )
        answers = async_streaming_bulk(
            self._client,
            actions,
            chunk_size=BULK_DOCUMENTS,
            max_chunk_bytes=BULK_BYTES,
            max_retries=BULK_RETRIES,
            initial_backoff=0.2,
            max_backoff=10,
            raise_on_error=False,
            # Else the server would make an index of the alias's name where the alias has just gone.
            require_alias=True,
        )
        async for ok, answer in answers:
            item = answer["index"]
            if ok:
                applied += 1
            elif item["status"] == MISSING:
                complete = False
            elif item["status"] != CONFLICT:
                self._server.refuse(item["status"], f"document {item['_id']}: {_why(item)}")
        return complete, applied

    # --- building ---------------------------------------------------------------------------------------

    async def begin(self, *, afresh: bool = False) -> tuple[str, int]:
        """The index to fill and from where on: the unfinished one if it is of this version, else a new one."""
        for _ in range(_ATTEMPTS):
            states = await self.states()
            self._refuse_newer(states)
            for index, state in states.items():
                if self._next in state.aliases and state.current and not afresh:
                    return index, state.checkpoint
                if self._name not in state.aliases:
                    await self._delete(index)
            answering = [index for index, state in states.items() if self._name in state.aliases]
            if not answering:
                await self._create_first()
                continue
            index = self._numbered(1 + max(map(self._number, answering)))
            settings = await self._settings() | {"refresh_interval": "-1"}
            # Its number is the next one, so of several rebuilds that begin at once one makes it.
            if await self._create(index, settings, self._next, _filler(index)):
                return index, 0
        raise SearchError(_OVERTAKEN)

    async def fill(self, index: str, operations: Sequence[Operation], checkpoint: int) -> int:
        """Write these to the index being built, then how far it has got; how many were news to it."""
        complete, applied = await self._bulk([_filler(index)], operations)
        if not complete:
            raise SearchError(_OVERTAKEN)
        try:
            await self._client.indices.put_mapping(index=index, meta=_meta(checkpoint))
        except NotFoundError as error:
            raise SearchError(_OVERTAKEN) from error
        return applied

    async def swap(self, index: str) -> None:
        """Have searches answered by the index that was built; the old one goes when they have left it.

        From that moment on it shows what it holds and what comes, as the old one did.
        """
        refresh = {"refresh_interval": SETTINGS["refresh_interval"]}
        try:
            await self._client.indices.put_settings(index=index, settings=refresh)
            await self._client.indices.refresh(index=index)
            old = [each for each, state in (await self.states()).items() if self._name in state.aliases]
            await self._client.indices.update_aliases(actions=self._swapping(index, old))
        except NotFoundError as error:
            raise SearchError(_OVERTAKEN) from error
        for each in old:
            await self._left(each)
            await self._delete(each)

    def _swapping(self, index: str, old: Sequence[str]) -> list[Json]:
        """All of it happens at once or not at all."""
        actions: list[Json] = [
            {"remove": {"index": index, "aliases": [self._next, _filler(index)], "must_exist": True}},
            {"add": {"index": index, "alias": self._name}},
        ]
        for each in old:
            actions += [
                {"remove": {"index": each, "alias": self._name}},
                {"add": {"index": each, "alias": self._old}},
            ]
        return actions

    async def _left(self, index: str) -> None:
        """Wait until no search uses an index that has no more to come."""
        quiet, deadline = 0, time.monotonic() + _LINGER_SECONDS
        while quiet < _QUIET_LOOKS and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_SECONDS)
            found = await self._client.indices.stats(index=index, metric="search")
            search = found["_all"]["total"]["search"]
            quiet = (
                0 if search["open_contexts"] or search["query_current"] or search["fetch_current"] else quiet + 1
            )

    # --- indexes ----------------------------------------------------------------------------------------

    async def _create_first(self) -> None:
        """Make the first index. Its name is fixed, so of several processes one makes it."""
        first = self._numbered(1)
        if await self._create(first, await self._settings(), self._name):
            return
        if not await self._client.indices.exists_alias(name=self._name):
            await self._client.indices.put_alias(index=first, name=self._name)

    async def _create(self, index: str, settings: Mapping[str, Any], *aliases: str) -> bool:
        """False if there is one of this name."""
        mappings = MAPPINGS | {"_meta": _meta(0)}
        try:
            await self._client.indices.create(
                index=index, mappings=mappings, settings=settings, aliases={alias: {} for alias in aliases}
            )
        except BadRequestError as error:
            if error.error != "resource_already_exists_exception":
                raise
            return False
        return True

    async def _settings(self) -> dict[str, Any]:
        """Ours, without what the operator's template decides."""
        if not await self.has_template():
            return dict(SETTINGS)
        return {name: value for name, value in SETTINGS.items() if name not in TEMPLATED}

    async def has_template(self) -> bool:
        """Whether an index template of our name is there, as far as we may know."""
        with suppress(AuthorizationException):
            return bool(await self._client.indices.exists_index_template(name=self._name))
        return False

    async def _delete(self, index: str) -> None:
        await self._client.options(ignore_status=MISSING).indices.delete(index=index)

    def _numbered(self, number: int) -> str:
        return f"{self._name}-{number:06d}"

    def _number(self, index: str) -> int:
        last = index.removeprefix(f"{self._name}-")
        return int(last) if last.isdecimal() else 0


def _filler(index: str) -> str:
    """The alias that only the rebuilds of this very index write by."""
    return f"{index}-filling"


def _meta(checkpoint: int) -> Json:
    return {"analyzer_version": ANALYZER_VERSION, "layout": LAYOUT, "checkpoint": checkpoint}


def _state(value: Mapping[str, Any]) -> State:
    meta = value.get("mappings", {}).get("_meta", {})
    return State(
        aliases=frozenset(value.get("aliases", {})),
        layout=meta.get("layout"),
        analyzer_version=meta.get("analyzer_version", 0),
        checkpoint=meta.get("checkpoint", 0),
    )


def _why(item: Mapping[str, Any]) -> str:
    error = item["error"]
    return str(error["reason"]) if isinstance(error, Mapping) else str(error)
