"""The tables of the embedded index, and writing to them; plain sqlite3, called on a thread.

The file holds one *generation* of tables, and while it is rebuilt a second one beside it. Which one is
current changes in a transaction, so a rebuild needs no renaming of files that other processes have open.

FTS5 takes repeated inserts and deletions of wrong terms without an error and its own integrity check passes
both, so a row of `documents` (version, exact terms) changes in the same transaction as the terms, which are
contentless. What the numbers of documents tell is said in `streamarchive.search.numbering`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from streamarchive.protocols import CueDocument, InterviewDocument, Operation, Stored, Tombstone
from streamarchive.search import numbering
from streamarchive.search.matching import indexed
from streamarchive.text import ANALYZER_VERSION

LAYOUT_VERSION = 2

# Every non-ASCII character is part of a term for the tokenizer `ascii`, and terms hold no ASCII punctuation.
_TABLES = """
CREATE TABLE interviews_{n} (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, held INTEGER NOT NULL);
CREATE TABLE languages_{n} (number INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE);
CREATE TABLE documents_{n} (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    end_ms INTEGER NOT NULL,
    lang TEXT NOT NULL,
    speaker TEXT,
    doubtful INTEGER NOT NULL,
    text TEXT NOT NULL,
    following TEXT NOT NULL,
    terms TEXT NOT NULL
);
CREATE TABLE tombstones_{n} (id TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE VIRTUAL TABLE terms_{n} USING fts5(terms, content='', tokenize='ascii');
CREATE VIRTUAL TABLE vocabulary_{n} USING fts5vocab(terms_{n}, row);
"""
_GENERATIONS = """
CREATE TABLE generations (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    state TEXT NOT NULL CHECK (state IN ('current', 'building', 'old')),
    analyzer_version INTEGER NOT NULL,
    checkpoint INTEGER NOT NULL DEFAULT 0
)
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A document ready to be stored; analysed before the transaction begins, to keep that short."""

    id: str
    version: int
    interview_id: str
    held: int
    start_ms: int
    end_ms: int
    lang: str
    speaker: str | None
    doubtful: bool
    text: str
    following: str
    terms: str
    is_cue: bool


Change = Row | Tombstone


def analyse(operations: Iterable[Operation]) -> list[Change]:
    """Do the slow part of writing."""
    return [each if isinstance(each, Tombstone) else _row(each) for each in operations]


def _row(document: CueDocument | InterviewDocument) -> Row:
    cue = document if isinstance(document, CueDocument) else None
    return Row(
        id=document.id,
        version=document.version,
        interview_id=document.interview_id,
        held=numbering.minute(document.held_at),
        start_ms=cue.start_ms if cue else 0,
        end_ms=cue.end_ms if cue else 0,
        lang=cue.lang if cue else "",
        speaker=cue.speaker if cue else None,
        doubtful=cue.doubtful if cue else False,
        text=document.text,
        following=cue.following if cue else "",
        terms=indexed(document),
        is_cue=cue is not None,
    )


def create_layout(connection: sqlite3.Connection) -> None:
    """Make an empty index, inside the caller's transaction."""
    connection.execute(_GENERATIONS)
    add(connection, "current")
    connection.execute(f"PRAGMA user_version = {LAYOUT_VERSION}")


def add(connection: sqlite3.Connection, state: str) -> int:
    """Create empty tables; their generation's number."""
    number = connection.execute(
        "INSERT INTO generations (state, analyzer_version) VALUES (?, ?) RETURNING number",
        (state, ANALYZER_VERSION),
    ).fetchone()[0]
    for statement in _TABLES.format(n=number).split(";"):
        connection.execute(statement)
    return int(number)


def drop(connection: sqlite3.Connection, state: str) -> None:
    """Remove the generations in this state."""
    for number in numbers(connection, state):
        for table in ("vocabulary", "terms", "tombstones", "documents", "languages", "interviews"):
            connection.execute(f"DROP TABLE {table}_{number}")
        connection.execute("DELETE FROM generations WHERE number = ?", (number,))


def numbers(connection: sqlite3.Connection, *states: str) -> list[int]:
    """The generations in these states."""
    marks = ",".join("?" * len(states))
    rows = connection.execute(f"SELECT number FROM generations WHERE state IN ({marks})", states)  # noqa: S608
    return [row[0] for row in rows]


def begin(connection: sqlite3.Connection, *, afresh: bool) -> tuple[int, int]:
    """The generation to fill and the checkpoint to go on from: the unfinished one if this version began it."""
    row = connection.execute(
        "SELECT number, checkpoint FROM generations WHERE state = 'building' AND analyzer_version = ?",
        (ANALYZER_VERSION,),
    ).fetchone()
    drop(connection, "old")
    if row is not None and not afresh:
        return int(row[0]), int(row[1])
    drop(connection, "building")
    return add(connection, "building"), 0


def reach(connection: sqlite3.Connection, number: int, checkpoint: int) -> None:
    """Everything up to this checkpoint is in the generation, in the caller's transaction."""
    connection.execute("UPDATE generations SET checkpoint = ? WHERE number = ?", (checkpoint, number))


def newest_analyzer(connection: sqlite3.Connection) -> int:
    """Of the generations that are written to."""
    return int(
        connection.execute("SELECT max(analyzer_version) FROM generations WHERE state <> 'old'").fetchone()[0]
    )


def make_current(connection: sqlite3.Connection, number: int) -> None:
    """Answer searches from this generation from now on."""
    connection.execute("UPDATE generations SET state = 'old' WHERE state = 'current'")
    connection.execute("UPDATE generations SET state = 'current' WHERE number = ?", (number,))


def apply(connection: sqlite3.Connection, generation: int, changes: Sequence[Change]) -> int:
    """Apply what is newer than what is there, inside the caller's transaction; how much that was."""
    tables = _Tables(connection, generation)
    return sum(tables.apply(change) for change in changes)


def stored(connection: sqlite3.Connection, generation: int, ids: Iterable[str]) -> list[Stored]:
    """What is known of these documents."""
    found = connection.execute(
        f"SELECT id, version, 0 FROM documents_{generation}"  # noqa: S608 - our own table names
        " WHERE id IN (SELECT value FROM json_each(:ids))"
        f" UNION ALL SELECT id, version, 1 FROM tombstones_{generation}"
        " WHERE id IN (SELECT value FROM json_each(:ids))",
        {"ids": json.dumps(list(ids))},
    )
    return [Stored(document_id, version, gone=bool(gone)) for document_id, version, gone in found]


def damaged(connection: sqlite3.Connection, generation: int) -> bool:
    """Whether its documents and its terms differ, or the terms are not what FTS5 has written; minutes long."""
    documents, terms = f"documents_{generation}", f"terms_{generation}"
    try:
        connection.execute(f"INSERT INTO {terms} ({terms}) VALUES ('integrity-check')")  # noqa: S608
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
        return True
    unlike = connection.execute(
        f"SELECT (SELECT count(*) FROM {documents} WHERE number NOT IN (SELECT id FROM {terms}_docsize))"  # noqa: S608
        f" + (SELECT count(*) FROM {terms}_docsize WHERE id NOT IN (SELECT number FROM {documents}))"
    )
    return bool(unlike.fetchone()[0])


def page(connection: sqlite3.Connection, generation: int, after: str, limit: int) -> list[Stored]:
    """The documents behind an id, in the order of their ids, which is the same in every generation."""
    found = connection.execute(
        f"SELECT id, version FROM documents_{generation} WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608
        (after, limit),
    )
    return [Stored(document_id, version) for document_id, version in found]


class _Tables:
    """One generation's tables in one transaction."""

    def __init__(self, connection: sqlite3.Connection, generation: int) -> None:
        self._connection = connection
        self._documents = f"documents_{generation}"
        self._interviews = f"interviews_{generation}"
        self._languages = f"languages_{generation}"
        self._tombstones = f"tombstones_{generation}"
        self._terms = f"terms_{generation}"
        self._known_languages: dict[str, int] = {}
        self._known: dict[str, int] = {}

    def apply(self, change: Change) -> bool:
        stored = self._execute(
            f"SELECT version FROM {self._documents} WHERE id = :id "  # noqa: S608 - our own table names
            f"UNION ALL SELECT version FROM {self._tombstones} WHERE id = :id",
            {"id": change.id},
        ).fetchone()
        if stored is not None and stored[0] >= change.version:
            return False
        if stored is not None:
            self._remove(change.id)
        if isinstance(change, Tombstone):
            self._execute(f"INSERT INTO {self._tombstones} VALUES (?, ?)", (change.id, change.version))  # noqa: S608
        else:
            self._insert(change)
        return True

    def _remove(self, document_id: str) -> None:
        """Take a document away with its terms."""
        self._execute(f"DELETE FROM {self._tombstones} WHERE id = ?", (document_id,))  # noqa: S608
        row = self._execute(
            f"DELETE FROM {self._documents} WHERE id = ? RETURNING number, terms",  # noqa: S608
            (document_id,),
        ).fetchone()
        if row is not None:
            self._remove_terms(*row)

    def _insert(self, row: Row) -> None:
        interview = self._interview(row)
        number = numbering.base(interview)
        if row.is_cue:
            number = self._free(number | numbering.place(row.start_ms))
            number |= numbering.features(self._language(row.lang), doubtful=row.doubtful)
        else:
            self._remove_at(number)
        self._execute(
            f"INSERT INTO {self._documents} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            (
                number, row.id, row.version, row.start_ms, row.end_ms, row.lang, row.speaker, row.doubtful,
                row.text, row.following, row.terms,
            ),
        )  # fmt: skip
        self._insert_terms(number, row.terms)

    def _free(self, place: int) -> int:
        """The lowest place from this one on that no cue has."""
        rows = self._execute(
            f"SELECT number & ~:features FROM {self._documents}"  # noqa: S608
            " WHERE number BETWEEN :place AND :last ORDER BY number",
            {
                "features": numbering.FEATURES_MASK,
                "place": place,
                "last": numbering.last(numbering.interview_of(place)),
            },
        )
        for (taken,) in rows:
            if taken != place:
                break
            place += numbering.SERIAL_STEP
        return place

    def _language(self, code: str) -> int:
        """Its number; archives with more languages than there are numbers know the rest by their rows alone."""
        if code not in self._known_languages:
            self._execute(
                f"INSERT OR IGNORE INTO {self._languages} (code) SELECT :code"  # noqa: S608
                f" WHERE (SELECT count(*) FROM {self._languages}) < :most",
                {"code": code, "most": numbering.MAX_LANGUAGES},
            )
            row = self._execute(f"SELECT number FROM {self._languages} WHERE code = ?", (code,)).fetchone()  # noqa: S608
            self._known_languages[code] = int(row[0]) if row else numbering.NO_LANGUAGE
        return self._known_languages[code]

    def _interview(self, row: Row) -> int:
        """Its number: of the minute its own document names, or as long as there is none, any of its cues."""
        if row.interview_id not in self._known or not row.is_cue:
            self._known[row.interview_id] = self._numbered(row)
        return self._known[row.interview_id]

    def _numbered(self, row: Row) -> int:
        known = self._execute(
            f"SELECT number, held FROM {self._interviews} WHERE id = ?",  # noqa: S608
            (row.interview_id,),
        ).fetchone()
        if known is not None and (row.is_cue or known[1] == row.held):
            return int(known[0])
        number = self._unused(numbering.first_of_minute(row.held))
        if known is not None:
            self._move(known[0], number)
        self._execute(
            f"INSERT OR REPLACE INTO {self._interviews} VALUES (?, ?, ?)",  # noqa: S608
            (number, row.interview_id, row.held),
        )
        return number

    def _unused(self, number: int) -> int:
        """The lowest number from this one on that no interview has."""
        rows = self._execute(
            f"SELECT number FROM {self._interviews} WHERE number >= ? ORDER BY number",  # noqa: S608
            (number,),
        )
        for (taken,) in rows:
            if taken != number:
                break
            number += 1
        return number

    def _move(self, old: int, new: int) -> None:
        """Give every document of an interview its place under another number."""
        rows = self._execute(
            f"SELECT number, terms FROM {self._documents} WHERE number BETWEEN ? AND ?",  # noqa: S608
            (numbering.base(old), numbering.last(old)),
        ).fetchall()
        for number, terms in rows:
            moved = number - numbering.base(old) + numbering.base(new)
            self._remove_terms(number, terms)
            self._execute(f"UPDATE {self._documents} SET number = ? WHERE number = ?", (moved, number))  # noqa: S608
            self._insert_terms(moved, terms)

    def _remove_at(self, number: int) -> None:
        """An interview has one document of its own: a second one under another id takes its place."""
        row = self._execute(f"SELECT id FROM {self._documents} WHERE number = ?", (number,)).fetchone()  # noqa: S608
        if row is not None:
            self._remove(row[0])

    def _insert_terms(self, number: int, terms: str) -> None:
        self._execute(f"INSERT INTO {self._terms} (rowid, terms) VALUES (?, ?)", (number, terms))  # noqa: S608

    def _remove_terms(self, number: int, terms: str) -> None:
        self._execute(
            f"INSERT INTO {self._terms} ({self._terms}, rowid, terms) VALUES ('delete', ?, ?)",  # noqa: S608
            (number, terms),
        )

    def _execute(self, statement: str, parameters: Sequence[object] | dict[str, object]) -> sqlite3.Cursor:
        return self._connection.execute(statement, parameters)
