"""The index on an Elasticsearch server, through its official asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from elasticsearch import NotFoundError

from streamarchive.errors import SearchError, SearchUnavailableError
from streamarchive.models import InterviewId
from streamarchive.protocols import (
    Facets,
    Moments,
    Operation,
    Query,
    Results,
    SearchFinding,
    SearchHealth,
    Sort,
    Source,
    Stored,
)
from streamarchive.search.elastic_indexes import Indexes
from streamarchive.search.elastic_inspection import Inspection
from streamarchive.search.elastic_queries import Request
from streamarchive.search.elastic_requests import DOCUMENTS
from streamarchive.search.elastic_searching import Searching
from streamarchive.search.elastic_server import MISSING, Access, Server
from streamarchive.search.matching import NO_FACETS, NO_MOMENTS, NO_RESULTS, SEARCH_SECONDS, wanted

_PATIENCE_SECONDS = SEARCH_SECONDS + 0.5
"""A server that stops at the limit has this long to say what it has; one that says nothing is away."""
_PAGE = 2_000


class ElasticIndex:
    """`SearchIndex` over Elasticsearch 8.19 or 9. `name` is its alias."""

    def __init__(self, url: str, name: str, access: Access) -> None:
        self._server = Server(url, access)
        self._client = self._server.brisk
        self._name = name
        self._asking = Searching(self._client, name, self._refuse)
        self._indexes = Indexes(self._server, name)

    async def prepare(self) -> None:
        """Create the index if there is none."""
        async with self._server.translated():
            await self._indexes.prepare()

    async def write(self, operations: Sequence[Operation]) -> None:
        """Apply to the index, and to the one being built if there is one."""
        if not operations:
            return
        async with self._server.translated():
            await self._indexes.write(operations)

    async def search(
        self,
        query: Query,
        *,
        hidden: Collection[InterviewId] = (),
        sort: Sort = Sort.RELEVANCE,
        cursor: str = "",
        limit: int = 20,
        moments: int = 3,
    ) -> Results:
        """See `SearchIndex.search`. One can page down to the 10,000th interview."""
        asked = wanted(query)
        if asked is None:
            return NO_RESULTS
        async with self._searching():
            request = Request(query, asked, hidden)
            return await self._asking.interviews(request, sort, cursor, max(limit, 0), max(moments, 0))

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
        asked = wanted(query)
        if asked is None:
            return NO_MOMENTS
        async with self._searching():
            return await self._asking.moments(Request(query, asked, hidden), sort, cursor, max(limit, 0))

    async def facets(self, query: Query, *, hidden: Collection[InterviewId] = ()) -> Facets:
        """See `SearchIndex.facets`."""
        asked = wanted(query)
        if asked is None:
            return NO_FACETS
        async with self._searching():
            return await self._asking.facets(Request(query, asked, hidden))

    async def similar(self, word: str, limit: int = 5) -> tuple[str, ...]:
        """See `SearchIndex.similar`."""
        async with self._searching():
            return await self._asking.similar(word, limit)

    async def rebuild(self, source: Source, *, afresh: bool = False) -> int:
        """See `SearchIndex.rebuild`. Of several rebuilds at once, the first to end is the one that counts."""
        async with self._server.translated():
            index, checkpoint = await self._indexes.begin(afresh=afresh)
        written = 0
        async for portion in source(checkpoint):
            async with self._server.translated():
                written += await self._indexes.fill(index, portion.operations, portion.checkpoint)
        async with self._server.translated():
            await self._indexes.swap(index)
        return written

    async def stored(self, ids: Collection[str]) -> dict[str, Stored]:
        """See `SearchIndex.stored`."""
        if not ids:
            return {}
        async with self._server.translated():
            found = await self._server.patient.mget(index=self._name, ids=list(ids), source_includes="kind")
        return {
            each["_id"]: Stored(each["_id"], each["_version"], gone=each["_source"]["kind"] == "tombstone")
            for each in found["docs"]
            if each.get("found")
        }

    async def damage(self) -> str:
        """See `SearchIndex.damage`. The server checks its files itself; what it finds is red."""
        health = await self.health()
        return "" if health.ok else health.sentence

    async def documents(self) -> AsyncIterator[Sequence[Stored]]:
        """See `SearchIndex.documents`."""
        async with self._server.translated():
            await self._server.patient.indices.refresh(index=self._name)
            opened = await self._server.patient.open_point_in_time(index=self._name, keep_alive="5m")
            point, after = opened["id"], None
        while True:
            async with self._server.translated():
                found = await self._server.patient.search(
                    pit={"id": point, "keep_alive": "5m"},
                    query=DOCUMENTS,
                    sort=[{"_shard_doc": "asc"}],
                    search_after=after,
                    size=_PAGE,
                    version=True,
                    source=False,
                    track_total_hits=False,
                )
                point, hits = found["pit_id"], found["hits"]["hits"]
                if not hits:
                    await self._server.patient.close_point_in_time(id=point)
                    return
            after = hits[-1]["sort"]
            yield [Stored(each["_id"], each["_version"]) for each in hits]

    async def health(self) -> SearchHealth:
        """See `SearchIndex.health`."""
        try:
            async with self._server.translated(_PATIENCE_SECONDS):
                states = (await self._indexes.states()).values()
                state = next((each for each in states if self._name in each.aliases), None)
                if state is None:
                    return SearchHealth(ok=False, sentence=self._none_yet())
                cluster = await self._client.cluster.health(index=self._name)
                counted = await self._client.count(index=self._name, query=DOCUMENTS)
        except SearchError as error:
            return SearchHealth(ok=False, sentence=str(error), analyzer_current=False)
        sentence = f"Elasticsearch at {self._server.address}, {counted['count']} documents, {cluster['status']}"
        if not state.current:
            sentence += "; made by another version, `streamarchive reindex` brings it up to date"
        if len(states) > 1:
            sentence += "; a rebuild is under way or was broken off, `streamarchive reindex` goes on with it"
        return SearchHealth(
            ok=cluster["status"] != "red",
            sentence=sentence,
            documents=counted["count"],
            analyzer_current=state.current,
        )

    async def examine(self) -> Sequence[SearchFinding]:
        """See `SearchIndex.examine`."""
        return await Inspection(self._server, self._indexes, self._name).findings()

    async def close(self) -> None:
        """Release connections."""
        await self._server.close()

    @asynccontextmanager
    async def _searching(self) -> AsyncIterator[None]:
        """What every search is asked within: its time, and what an index that is not there means."""
        async with self._server.translated(_PATIENCE_SECONDS):
            try:
                yield
            except NotFoundError as error:
                raise SearchUnavailableError(self._none_yet()) from error

    def _refuse(self, status: int, reason: str) -> None:
        if status == MISSING:
            raise SearchUnavailableError(self._none_yet())
        self._server.refuse(status, reason)

    def _none_yet(self) -> str:
        return f"{self._server.address} has no index {self._name!r} yet; `streamarchive reindex` makes one"
