"""The index that needs no server: an SQLite file of its own, with FTS5.

Several processes read and write at once (WAL); `write` returns when the data is on disk (synchronous=FULL)
and every process sees it from then on. The file may be deleted at any moment: the next use makes an empty one
and `streamarchive reindex` fills it. Made for up to some three million cues; beyond, use Elasticsearch.
"""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Concatenate, ParamSpec, TypeVar

from streamarchive.errors import SearchError, SearchUnavailableError
from streamarchive.models import InterviewId
from streamarchive.protocols import (
    Facets,
    Moments,
    Operation,
    Portion,
    Query,
    Results,
    SearchFinding,
    SearchHealth,
    Sort,
    Source,
    Stored,
)
from streamarchive.search import generations, spelling
from streamarchive.search.matching import NO_FACETS, NO_MOMENTS, NO_RESULTS, Wanted, wanted
from streamarchive.search.ranking import Page, Ranking
from streamarchive.text import ANALYZER_VERSION

BUSY_SECONDS = 15.0
"""How long to wait for another process's transaction."""
BATCH = 500
"""Documents a transaction, so that a long write lets others in between."""
PAGE = 2_000
"""Documents that `documents` looks at in one transaction."""
READERS = 2

_NEWER = "the search index belongs to a newer StreamArchive; bring this process to the same version"

P = ParamSpec("P")
R = TypeVar("R")


class EmbeddedIndex:
    """`SearchIndex` over an SQLite file."""

    def __init__(self, path: Path) -> None:
        self._file = _IndexFile(path)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="search-write")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="search-read")

    async def prepare(self) -> None:
        """Create the file if there is none, and clear away what an interrupted rebuild has left."""
        await self._write(_clear_leftovers, self._file.path)

    async def write(self, operations: Sequence[Operation]) -> None:
        """Apply to the index, and to the one being built if there is one."""
        for first in range(0, len(operations), BATCH):
            changes = await self._analyse(operations[first : first + BATCH])
            await self._write(_write_changes, changes)

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
        """See `SearchIndex.search`."""
        page = Page(hidden, sort, cursor, max(limit, 0))
        asked = wanted(query)
        if asked is None:
            return NO_RESULTS
        return await self._read(
            lambda connection: _ranking(connection, query, asked, page).interviews(max(moments, 0))
        )

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
        page = Page(hidden, sort, cursor, max(limit, 0))
        asked = wanted(query)
        if asked is None:
            return NO_MOMENTS
        return await self._read(lambda connection: _ranking(connection, query, asked, page).moments())

    async def facets(self, query: Query, *, hidden: Collection[InterviewId] = ()) -> Facets:
        """See `SearchIndex.facets`."""
        page = Page(hidden, Sort.RELEVANCE, "", 0)
        asked = wanted(query)
        if asked is None:
            return NO_FACETS
        return await self._read(lambda connection: _ranking(connection, query, asked, page).facets())

    async def similar(self, word: str, limit: int = 5) -> tuple[str, ...]:
        """See `SearchIndex.similar`."""
        word = spelling.comparable(word)
        return await self._read(_similar, word, limit) if word else ()

    async def rebuild(self, source: Source, *, afresh: bool = False) -> int:
        """See `SearchIndex.rebuild`. Raises `SearchError` where another rebuild is running."""
        lock = await asyncio.to_thread(_lock_rebuild, self._file.path)
        try:
            generation, checkpoint = await self._begin_rebuild(afresh=afresh)
            written = 0
            async for portion in source(checkpoint):
                written += await self._fill(generation, portion)
            await self._write(generations.make_current, generation)
            await self._write(generations.drop, "old")
        finally:
            lock.close()
        return written

    async def _fill(self, generation: int, portion: Portion) -> int:
        written = 0
        for first in range(0, len(portion.operations), BATCH):
            changes = await self._analyse(portion.operations[first : first + BATCH])
            written += await self._write(generations.apply, generation, changes)
        # What is written again after a kill is no news, so this need not be the same transaction.
        await self._write(generations.reach, generation, portion.checkpoint)
        return written

    async def stored(self, ids: Collection[str]) -> dict[str, Stored]:
        """See `SearchIndex.stored`."""
        return await self._read(_stored, ids)

    async def damage(self) -> str:
        """See `SearchIndex.damage`."""
        damaged = await self._write(_damaged)
        return f"the search index {self._file.path} is damaged; `streamarchive reindex` makes a new one" * damaged

    async def documents(self) -> AsyncIterator[Sequence[Stored]]:
        """See `SearchIndex.documents`."""
        after = ""
        while page := await self._read(_documents, after):
            yield page
            after = page[-1].id

    async def _analyse(self, operations: Sequence[Operation]) -> list[generations.Change]:
        """Before the transaction begins, which is to be short."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, generations.analyse, operations)

    async def health(self) -> SearchHealth:
        """See `SearchIndex.health`."""
        try:
            return await self._read(_health)
        except SearchError as error:
            return SearchHealth(ok=False, sentence=str(error), analyzer_current=False)

    async def examine(self) -> Sequence[SearchFinding]:
        """See `SearchIndex.examine`."""
        health = await self.health()
        return [SearchFinding("index", health.ok and health.analyzer_current, health.sentence)]

    async def close(self) -> None:
        """Wait for what is under way and close the file."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown()
        self._file.close()

    async def _begin_rebuild(self, *, afresh: bool) -> tuple[int, int]:
        try:
            return await self._write(_begin, afresh=afresh)
        except SearchUnavailableError:
            raise
        except SearchError:
            # Damaged, or written by another version: the truth is elsewhere.
            await asyncio.to_thread(self._file.delete)
            return await self._write(_begin, afresh=afresh)

    async def _write(
        self, work: Callable[Concatenate[sqlite3.Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        def run() -> R:
            with self._file.transaction("IMMEDIATE") as connection:
                return work(connection, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._writer, run)

    async def _read(
        self, work: Callable[Concatenate[sqlite3.Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        def run() -> R:
            with self._file.transaction("DEFERRED") as connection:
                return work(connection, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)


class _IndexFile:
    """The file, with a connection for each thread that uses it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []

    @contextmanager
    def transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        """A transaction on this thread's connection. sqlite3's errors become ours here."""
        try:
            connection = self._connection()
            connection.execute(f"BEGIN {kind}")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()
        except (sqlite3.OperationalError, OSError) as error:
            raise SearchUnavailableError(
                f"the search index {self.path} cannot be used ({error}); check its folder's permissions and"
                " free space, and whether another process keeps it locked"
            ) from error
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:
                raise  # a mistake of ours
            raise SearchError(
                f"the search index {self.path} is damaged ({error}); `streamarchive reindex` makes a new one"
            ) from error

    def close(self) -> None:
        """Close every connection; no thread may use one any more."""
        while self._connections:
            self._connections.pop().close()

    def delete(self) -> None:
        """Remove the file and what belongs to it."""
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None and self._identity() == self._local.identity:
            return connection
        if connection is not None:
            # Somebody has deleted or replaced the file; what is written to the old one would be lost.
            self._connections.remove(connection)
            connection.close()
            self._local.connection = None
        connection = self._open()
        self._local.connection, self._local.identity = connection, self._identity()
        self._connections.append(connection)
        return connection

    def _identity(self) -> tuple[int, int] | None:
        with suppress(FileNotFoundError):
            stat = self.path.stat()
            return stat.st_dev, stat.st_ino
        return None

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            _set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _set_up(connection: sqlite3.Connection) -> None:
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            generations.create_layout(connection)
        connection.commit()
    layout = connection.execute("PRAGMA user_version").fetchone()[0]
    if layout > generations.LAYOUT_VERSION:
        raise SearchUnavailableError(_NEWER)
    if layout < generations.LAYOUT_VERSION:
        raise SearchError(
            "the search index was made by an older version; `streamarchive reindex` makes a new one"
        )


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Wait for other processes by hand: SQLite does not while it changes the journal mode."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _lock_rebuild(path: Path) -> IO[bytes]:
    """Held, until closed, while an index is being built; it ends with the process, however that ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(path.name + "-rebuild").open("wb")
    except OSError as error:
        raise SearchUnavailableError(f"the folder of the search index cannot be written to ({error})") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise SearchError("another process is rebuilding the search index; wait until it is done") from error
    return lock


# --- work inside a transaction --------------------------------------------------------------------------


def _write_changes(connection: sqlite3.Connection, changes: Sequence[generations.Change]) -> None:
    _refuse_newer(connection)
    for generation in generations.numbers(connection, "current", "building"):
        generations.apply(connection, generation, changes)


def _begin(connection: sqlite3.Connection, *, afresh: bool) -> tuple[int, int]:
    _refuse_newer(connection)
    return generations.begin(connection, afresh=afresh)


def _refuse_newer(connection: sqlite3.Connection) -> None:
    """What this version would write there, nobody could find."""
    if generations.newest_analyzer(connection) > ANALYZER_VERSION:
        raise SearchUnavailableError(_NEWER)


def _clear_leftovers(connection: sqlite3.Connection, path: Path) -> None:
    """An unfinished generation stays: the next rebuild goes on with it."""
    if not generations.numbers(connection, "old"):
        return
    with suppress(SearchError), _lock_rebuild(path):
        generations.drop(connection, "old")


def _stored(connection: sqlite3.Connection, ids: Collection[str]) -> dict[str, Stored]:
    generation = generations.numbers(connection, "current")[0]
    return {each.id: each for each in generations.stored(connection, generation, ids)}


def _damaged(connection: sqlite3.Connection) -> bool:
    return generations.damaged(connection, generations.numbers(connection, "current")[0])


def _documents(connection: sqlite3.Connection, after: str) -> list[Stored]:
    generation = generations.numbers(connection, "current")[0]
    return generations.page(connection, generation, after, PAGE)


def _ranking(connection: sqlite3.Connection, query: Query, asked: Wanted, page: Page) -> Ranking:
    return Ranking(connection, generations.numbers(connection, "current")[0], query, asked, page)


def _similar(connection: sqlite3.Connection, word: str, limit: int) -> tuple[str, ...]:
    generation = generations.numbers(connection, "current")[0]
    first = word[:1]
    rows = connection.execute(
        f"SELECT term, doc FROM vocabulary_{generation} WHERE term >= ? AND term < ?",  # noqa: S608
        (first, chr(ord(first) + 1)),
    )
    return spelling.nearest(word, rows, limit)


def _health(connection: sqlite3.Connection) -> SearchHealth:
    number, version = connection.execute(
        "SELECT number, analyzer_version FROM generations WHERE state = 'current'"
    ).fetchone()
    documents = connection.execute(f"SELECT count(*) FROM documents_{number}").fetchone()[0]  # noqa: S608
    current = version == ANALYZER_VERSION
    sentence = f"embedded search, {documents} documents"
    if not current:
        sentence += "; made by another version, `streamarchive reindex` brings it up to date"
    if generations.numbers(connection, "building"):
        sentence += "; a rebuild is under way or was broken off, `streamarchive reindex` goes on with it"
    return SearchHealth(ok=True, sentence=sentence, documents=documents, analyzer_current=current)
