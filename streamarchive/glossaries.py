"""Glossary entries, what may be wrong with one, and lists of them as CSV; pure.

A list is a table with the columns `term`, `language` and `name` (yes or nothing), and a column for each language
with what the term is called in it: what spreadsheets read and write. Commas, semicolons or tabs part its fields,
whichever the first line has; UTF-8, with or without a byte order mark.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from streamarchive import text

MOST = 5_000
"""Every search looks through all terms."""
LONGEST = 200
"""Characters of a term, and of what it is called elsewhere."""
_LANGUAGE = re.compile(r"[a-z]{2,8}")
_COLUMNS = ("term", "language", "name")
_YES, _NO = frozenset({"yes", "y", "true", "1", "x", "是"}), frozenset({"", "no", "n", "false", "0", "否"})

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """A term with what it is called in other languages, or otherwise in its own, by language."""

    term: str
    lang: str
    means: Mapping[str, str] = field(default_factory=dict)
    is_name: bool = False

    @property
    def key(self) -> Key:
        """What makes it this term and no other: its language, and its letters whatever their case and width."""
        return self.lang, unicodedata.normalize("NFKC", self.term).casefold()

    @property
    def wordings(self) -> tuple[str, ...]:
        """All that it is called."""
        return (self.term, *self.means.values())

    def as_json(self) -> dict[str, Any]:
        """For the audit log."""
        return {"term": self.term, "lang": self.lang, "means": dict(self.means), "is_name": self.is_name}


class Flaw(StrEnum):
    """Why something is not taken; the value is the sentence, `%(value)s` what was found."""

    NO_TERM = "the term is missing"
    NO_WORD = "“%(value)s” holds no letter and no digit"
    TOO_LONG = "“%(value)s…” is longer than 200 characters"
    FORMULA = "“%(value)s” begins as a formula does in spreadsheets (=, +, -, @)"
    UNPRINTABLE = "“%(value)s” holds characters that cannot be printed"
    NO_LANGUAGE = "“%(value)s” is no language; write a code such as en or zh"
    YES_OR_NO = "“%(value)s” is neither yes nor no"
    TWICE = "“%(value)s” stands further up already"
    TOO_MANY_FIELDS = "there are more fields than columns"
    NO_COLUMNS = "the first line has to name the columns, such as term,language,name,en,zh"
    UNKNOWN_COLUMN = "“%(value)s” is neither term, language, name nor a language code such as en or zh"
    COLUMN_TWICE = "the column “%(value)s” is there twice"
    NOT_UTF8 = "this is not UTF-8; save the table as “CSV UTF-8”"
    BROKEN = "this cannot be read as CSV; look for a quotation mark that is not closed"
    TOO_MANY = "a glossary has at most 5,000 terms"


@dataclass(frozen=True, slots=True)
class Fault:
    """A flaw, where it is (the first line is 1) and what was found there."""

    line: int
    flaw: Flaw
    value: str = ""

    def __str__(self) -> str:
        """One sentence."""
        return f"line {self.line}: {self.flaw.value % {'value': self.value}}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a list comes to. It is taken whole or not at all: not while there are faults."""

    entries: tuple[Entry, ...]
    faults: tuple[Fault, ...]


def cleaned(typed: str) -> str:
    """Without space around it, and a single one wherever there is some inside."""
    return " ".join(typed.split())


def flaws(entry: Entry) -> Iterator[tuple[Flaw, str]]:
    """What is wrong with an entry, and the value that it is about."""
    if not entry.term:
        yield Flaw.NO_TERM, ""
    for code in (entry.lang, *entry.means):
        if not _LANGUAGE.fullmatch(code):
            yield Flaw.NO_LANGUAGE, code[:20]
    for wording in filter(None, entry.wordings):
        flaw = _flaw(wording)
        if flaw is not None:
            yield flaw, "".join(c for c in wording[:40] if c.isprintable())


def _flaw(wording: str) -> Flaw | None:
    if len(wording) > LONGEST:
        return Flaw.TOO_LONG
    if not all(character.isprintable() for character in wording):
        return Flaw.UNPRINTABLE
    if wording[0] in "=+-@":
        return Flaw.FORMULA
    return None if text.tokens(wording) else Flaw.NO_WORD


def to_csv(entries: Iterable[Entry]) -> str:
    """All of them as a list, with a column for each language that one of them has a wording in."""
    listed = list(entries)
    codes = sorted({code for entry in listed for code in entry.means} | {"en", "zh"})
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\r\n")
    table.writerow((*_COLUMNS, *codes))
    for entry in listed:
        means = [entry.means.get(code, "") for code in codes]
        table.writerow((entry.term, entry.lang, "yes" if entry.is_name else "", *means))
    return written.getvalue()


def from_bytes(data: bytes) -> Reading:
    """The list in a file."""
    try:
        return from_csv(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return Reading((), (Fault(data.count(b"\n", 0, error.start) + 1, Flaw.NOT_UTF8),))


def from_csv(written: str) -> Reading:
    """The list in a text."""
    written = written.removeprefix("\ufeff")
    first, _, _ = written.lstrip(" \r\n").partition("\n")
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(io.StringIO(written, newline=""), delimiter=delimiter, strict=True)
    reader = _Reader()
    line = 1
    try:
        for row in rows:
            if any(value.strip() for value in row):
                reader.take(line, [cleaned(value) for value in row])
            line = rows.line_num + 1
    except csv.Error:
        reader.faults.append(Fault(line, Flaw.BROKEN))
    if reader.columns is None and not reader.faults:
        reader.faults.append(Fault(1, Flaw.NO_COLUMNS))
    return Reading(tuple(reader.entries), tuple(reader.faults))


class _Reader:
    """Takes one row after the other; the first names the columns."""

    def __init__(self) -> None:
        self.columns: list[str] | None = None
        self.entries: list[Entry] = []
        self.faults: list[Fault] = []
        self._is_lost = False
        self._known: set[Key] = set()

    def take(self, line: int, row: list[str]) -> None:
        if self.columns is None:
            self.columns = [name.casefold() for name in row]
            self.faults += [Fault(line, flaw, value) for flaw, value in _column_flaws(self.columns)]
            self._is_lost = bool(self.faults)
        elif self._is_lost:
            return  # without its columns nothing can be said of a row
        elif any(row[len(self.columns) :]):
            self.faults.append(Fault(line, Flaw.TOO_MANY_FIELDS))
        else:
            self._take_entry(line, dict(zip(self.columns, row, strict=False)))

    def _take_entry(self, line: int, values: Mapping[str, str]) -> None:
        said = values.get("name", "").casefold()
        means = {code: value for code, value in values.items() if code not in _COLUMNS and value}
        entry = Entry(values.get("term", ""), values.get("language", "").lower(), means, said in _YES)
        found = list(flaws(entry))
        if said not in _YES | _NO:
            found.append((Flaw.YES_OR_NO, said[:20]))
        if not found and entry.key in self._known:
            found.append((Flaw.TWICE, entry.term))
        if len(self.entries) == MOST:
            found = [(Flaw.TOO_MANY, "")]
        self.faults += [Fault(line, flaw, value) for flaw, value in found]
        self._known.add(entry.key)
        self.entries.append(entry)


def _column_flaws(columns: Sequence[str]) -> Iterator[tuple[Flaw, str]]:
    if "term" not in columns or "language" not in columns:
        yield Flaw.NO_COLUMNS, ""
        return
    for at, name in enumerate(columns):
        if name in columns[:at]:
            yield Flaw.COLUMN_TWICE, name[:20]
        elif name not in _COLUMNS and not _LANGUAGE.fullmatch(name):
            yield Flaw.UNKNOWN_COLUMN, name[:20]
