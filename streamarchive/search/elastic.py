"""The index on an Elasticsearch server, through its official asynchronous client.

An alias names the index; while it is rebuilt, a second alias names the one being filled. Writers look at both
aliases before and after each write and repeat it where they have changed: versions make that harmless, so
nothing falls between two indexes.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from urllib.parse import unquote, urlsplit

from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch, BadRequestError, NotFoundError
from elasticsearch.helpers import async_streaming_bulk

from streamarchive.errors import SearchError, SearchUnavailableError
from streamarchive.models import InterviewId
from streamarchive.protocols import Facets, Moments, Operation, Query, Results, SearchHealth, Sort, Total
from streamarchive.search.elastic_requests import (
    DOCUMENTS,
    MAPPINGS,
    SETTINGS,
    Json,
    Request,
    action,
    buckets,
    swap,
)
from streamarchive.search.matching import wanted
from streamarchive.settings import redact
from streamarchive.text import ANALYZER_VERSION

REQUEST_SECONDS = 5.0
LONG_REQUEST_SECONDS = 60.0
"""For writing, which may wait for the server's queues."""
BULK_DOCUMENTS = 1_000
BULK_BYTES = 5 * 1024 * 1024
BULK_RETRIES = 5
_ATTEMPTS = 10
_TEMPORARY = {429, 502, 503, 504}
_CONFLICT, _MISSING = 409, 404


class ElasticIndex:
    """`SearchIndex` over Elasticsearch 8.19 or 9. `name` is its alias."""

    def __init__(self, url: str, name: str) -> None:
        parts = urlsplit(url)
        self._server = redact(url)
        self._name = name
        self._building = f"{name}-next"
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = parts.port or (443 if parts.scheme == "https" else 80)
        self._client = AsyncElasticsearch(
            f"{parts.scheme}://{host}:{port}",
            basic_auth=(unquote(parts.username), unquote(parts.password or "")) if parts.username else None,
            request_timeout=REQUEST_SECONDS,
            max_retries=1,
        )
        self._patient = self._client.options(request_timeout=LONG_REQUEST_SECONDS)

    async def prepare(self) -> None:
        """Create the index if there is none."""
        async with self._translated():
            if not await self._client.indices.exists_alias(name=self._name):
                await self._create_first()

    async def write(self, operations: Sequence[Operation]) -> None:
        """Apply to the index, and to the one being built if there is one."""
        if not operations:
            return
        async with self._translated():
            for _ in range(_ATTEMPTS):
                before = await self._aliases()
                if not any(self._name in aliases for aliases in before.values()):
                    await self._create_first()
                    continue
                targets = sorted(set().union(*before.values()))
                complete, _ = await self._bulk(targets, operations)
                if complete and await self._aliases() == before:
                    return
        raise SearchUnavailableError(
            f"the index {self._name!r} on {self._server} keeps being replaced; is it rebuilt in a loop?"
        )

    async def search(
        self,
        query: Query,
        *,
        hidden: Collection[InterviewId] = (),
        sort: Sort = Sort.RELEVANCE,  # noqa: ARG002 - next
        cursor: str = "",
        limit: int = 20,
        moments: int = 3,
    ) -> Results:
        """See `SearchIndex.search`. One can page down to the 10,000th interview."""
        offset = int(cursor or "0")
        asked = wanted(query)
        nothing = Results(Total(0), Total(0), ())
        if asked is None:
            return nothing
        request = Request(query, asked, hidden)
        offset, limit, moments = max(offset, 0), max(limit, 0), max(moments, 0)
        async with self._translated():
            try:
                meeting = await self._meeting(request)
                if meeting is not None and not meeting:
                    return nothing
                answer = await self._client.search(
                    index=self._name, body=request.page(meeting, offset, limit, moments)
                )
            except NotFoundError:
                await self._create_first()
                return nothing
        return request.results(answer.body, offset, moments)

    async def moments(
        self,
        query: Query,
        *,
        hidden: Collection[InterviewId] = (),
        sort: Sort = Sort.RELEVANCE,
        cursor: str = "",
        limit: int = 20,
    ) -> Moments:
        """See `SearchIndex.moments`."""
        raise NotImplementedError

    async def facets(self, query: Query, *, hidden: Collection[InterviewId] = ()) -> Facets:
        """See `SearchIndex.facets`."""
        raise NotImplementedError

    async def similar(self, word: str, limit: int = 5) -> tuple[str, ...]:
        """See `SearchIndex.similar`."""
        raise NotImplementedError

    async def rebuild(self, batches: AsyncIterator[Sequence[Operation]]) -> int:
        """See `SearchIndex.rebuild`. A rebuild that begins later takes the place of an unfinished one."""
        async with self._translated():
            await self._discard_unfinished()
            index = await self._create(self._building, refresh_interval="-1")
        written = 0
        try:
            async for batch in batches:
                async with self._translated():
                    complete, applied = await self._bulk([self._building], batch)
                if not complete:
                    raise SearchError("another rebuild of the search index has begun; let that one finish")
                written += applied
            async with self._translated():
                await self._swap(index)
        except BaseException:
            with suppress(SearchError):
                async with self._translated():
                    await self._delete(index)
            raise
        return written

    async def health(self) -> SearchHealth:
        """See `SearchIndex.health`."""
        try:
            async with self._translated():
                if not await self._client.indices.exists_alias(name=self._name):
                    return SearchHealth(
                        ok=False, sentence=f"{self._server} has no index yet; `streamarchive reindex` makes one"
                    )
                cluster = await self._client.cluster.health(index=self._name)
                counted = await self._client.count(index=self._name, query=DOCUMENTS)
                mapping = await self._client.indices.get_mapping(index=self._name)
        except SearchError as error:
            return SearchHealth(ok=False, sentence=str(error), analyzer_current=False)
        versions = {each["mappings"].get("_meta", {}).get("analyzer_version") for each in mapping.body.values()}
        current = versions == {ANALYZER_VERSION}
        sentence = f"Elasticsearch at {self._server}, {counted['count']} documents, {cluster['status']}"
        if not current:
            sentence += "; made by another version, `streamarchive reindex` brings it up to date"
        return SearchHealth(
            ok=cluster["status"] != "red",
            sentence=sentence,
            documents=counted["count"],
            analyzer_current=current,
        )

    async def close(self) -> None:
        """Release connections."""
        await self._client.close()

    # --- searching --------------------------------------------------------------------------------------

    async def _meeting(self, request: Request) -> set[InterviewId] | None:
        """The interviews in which every clause occurs; None where the page itself will tell."""
        searches = request.meeting()
        if not searches:
            return None
        lines: list[Json] = []
        for search in searches:
            lines += [{"index": self._name}, search]
        answers = await self._client.msearch(searches=lines)
        found = []
        for answer in answers["responses"]:
            if answer["status"] == _MISSING:
                return set()
            if "error" in answer:
                self._refuse(answer["status"], answer["error"].get("reason", ""))
            found.append(buckets(answer["aggregations"]))
        return set.intersection(*found)

    # --- writing ----------------------------------------------------------------------------------------

    async def _bulk(self, aliases: Sequence[str], operations: Sequence[Operation]) -> tuple[bool, int]:
        """Whether every alias was still there, and how many operations were news."""
        complete, applied = True, 0
        actions = await asyncio.to_thread(
            lambda: [action(alias, operation) for operation in operations for alias in aliases]
        )
        answers = async_streaming_bulk(
            self._patient,
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
            elif item["status"] == _MISSING:
                complete = False
            elif item["status"] != _CONFLICT:
                self._refuse(item["status"], f"document {item['_id']}: {item['error']['reason']}")
        return complete, applied

    async def _aliases(self) -> dict[str, frozenset[str]]:
        """Which of our two aliases each index has; an answer 404 still lists those that exist."""
        found = await self._client.options(ignore_status=_MISSING).indices.get_alias(
            name=[self._name, self._building]
        )
        return {
            index: frozenset(value["aliases"])
            for index, value in found.body.items()
            if isinstance(value, dict) and "aliases" in value
        }

    # --- indexes ----------------------------------------------------------------------------------------

    async def _create_first(self) -> None:
        """Make the first index. Its name is fixed, so of several processes one makes it."""
        first = f"{self._name}-1"
        try:
            await self._patient.indices.create(
                index=first, mappings=MAPPINGS, settings=SETTINGS, aliases={self._name: {}}
            )
        except BadRequestError as error:
            if error.error != "resource_already_exists_exception":
                raise
            if not await self._client.indices.exists_alias(name=self._name):
                await self._client.indices.put_alias(index=first, name=self._name)

    async def _create(self, alias: str, refresh_interval: str) -> str:
        index = f"{self._name}-{secrets.token_hex(6)}"
        settings = SETTINGS | {"refresh_interval": refresh_interval}
        await self._patient.indices.create(index=index, mappings=MAPPINGS, settings=settings, aliases={alias: {}})
        return index

    async def _discard_unfinished(self) -> None:
        for index, aliases in (await self._aliases()).items():
            if aliases == {self._building}:
                await self._delete(index)

    async def _swap(self, index: str) -> None:
        """From the moment of the swap on the new index shows what it holds and what comes, as the old one did."""
        refresh = {"refresh_interval": SETTINGS["refresh_interval"]}
        try:
            await self._patient.indices.put_settings(index=index, settings=refresh)
            await self._patient.indices.refresh(index=index)
            old = [each for each, aliases in (await self._aliases()).items() if self._name in aliases]
            await self._patient.indices.update_aliases(actions=swap(self._name, self._building, index, old))
        except NotFoundError as error:
            raise SearchError("another rebuild of the search index has begun; let that one finish") from error

    async def _delete(self, index: str) -> None:
        await self._patient.options(ignore_status=_MISSING).indices.delete(index=index)

    # --- errors -----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            yield
        except ApiError as error:
            self._refuse(error.status_code, str(error.message), error)
        except TransportError as error:
            raise SearchUnavailableError(
                f"Elasticsearch at {self._server} does not answer ({error.message}); check that it runs and that"
                " the setting `search` names it"
            ) from error

    def _refuse(self, status: int, reason: str, cause: Exception | None = None) -> None:
        if status in _TEMPORARY:
            raise SearchUnavailableError(
                f"Elasticsearch at {self._server} is overloaded or starting ({reason}); try again in a moment"
            ) from cause
        if status in {401, 403}:
            raise SearchError(
                f"Elasticsearch at {self._server} refuses the user in the setting `search` ({reason})"
            ) from cause
        raise SearchError(
            f"Elasticsearch at {self._server} refused a request ({status}: {reason}); if its index was made by"
            " hand or by another version, `streamarchive reindex` makes a new one"
        ) from cause
