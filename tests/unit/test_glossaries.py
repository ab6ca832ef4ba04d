"""Lists of glossary entries as spreadsheets write them, and what is wrong with a list, by line."""

from __future__ import annotations

import pytest

from streamarchive.glossaries import LONGEST, MOST, Entry, Flaw, from_bytes, from_csv, to_csv

COCKPIT = Entry("智能座舱", "zh", {"en": "smart cockpit"})
NIO = Entry('NIO "蔚来", Inc.', "en", {"zh": "蔚来", "de": "NIO; Autos"}, is_name=True)


def faults(written: str) -> list[tuple[int, Flaw]]:
    return [(fault.line, fault.flaw) for fault in from_csv(written).faults]


def test_what_is_written_is_read_again() -> None:
    written = to_csv([COCKPIT, NIO])
    assert written.splitlines()[0] == "term,language,name,de,en,zh"
    assert from_csv(written) == from_bytes(written.encode("utf-8-sig"))
    assert from_csv(written).entries == (COCKPIT, NIO)
    assert from_csv(written).faults == ()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_fields_are_parted_by_what_parts_the_first_line(delimiter: str, end: str) -> None:
    rows = (("Term", "LANGUAGE", "Name", "EN"), ("  智能座舱 ", "ZH", "", "smart   cockpit"), ("", "", "", ""))
    reading = from_csv(end.join(delimiter.join(row) for row in rows))
    assert reading.entries == (COCKPIT,)
    assert reading.faults == ()


@pytest.mark.parametrize("said", ["yes", "TRUE", "1", "x", "是"])
def test_a_name_is_said_in_several_ways(said: str) -> None:
    assert from_csv(f"term,language,name\nNIO,en,{said}").entries == (Entry("NIO", "en", {}, is_name=True),)


@pytest.mark.parametrize(
    ("row", "flaw"),
    [
        (",en,,", Flaw.NO_TERM),
        ("battery,,,", Flaw.NO_LANGUAGE),
        ("battery,English!,,", Flaw.NO_LANGUAGE),
        ("…,en,,", Flaw.NO_WORD),
        ("battery,en,,?", Flaw.NO_WORD),
        ("=1+1,en,,", Flaw.FORMULA),
        ("battery,en,,@SUM(A1)", Flaw.FORMULA),
        ("bat\x00tery,en,,", Flaw.UNPRINTABLE),
        ("b" * (LONGEST + 1) + ",en,,", Flaw.TOO_LONG),
        ("battery,en,perhaps,", Flaw.YES_OR_NO),
        ("battery,en,,电池,more", Flaw.TOO_MANY_FIELDS),
        ("KEPT,en,,", Flaw.TWICE),
        ('"battery,en,,', Flaw.BROKEN),
    ],
)
def test_a_flaw_names_its_line(row: str, flaw: Flaw) -> None:
    written = f'term,language,name,zh\nkept,en,,\n\n"spread over\ntwo lines",en,,\n{row}\n'
    assert faults(written) == [(6, flaw)]


@pytest.mark.parametrize(
    ("written", "flaw"),
    [
        ("", Flaw.NO_COLUMNS),
        (" \n\n", Flaw.NO_COLUMNS),
        ("battery,en\nmore,en", Flaw.NO_COLUMNS),
        ("term,language,remarks of mine\nbattery,en,", Flaw.UNKNOWN_COLUMN),
        ("term,language,term\nbattery,en,", Flaw.COLUMN_TWICE),
    ],
)
def test_a_list_without_its_columns_is_not_read_further(written: str, flaw: Flaw) -> None:
    assert faults(written) == [(1, flaw)]
    assert from_csv(written).entries == ()


def test_empty_lines_may_come_first() -> None:
    assert from_csv("\ufeff\r\n\nlanguage;term\nen;battery\n").entries == (Entry("battery", "en"),)
    assert faults("\n\nlanguage,notes of mine,term\nen,,battery\nen\n") == [(3, Flaw.UNKNOWN_COLUMN)]


def test_a_row_may_end_early() -> None:
    assert faults("language,term\nen,battery\nen\n") == [(3, Flaw.NO_TERM)]
    assert from_csv("term,language,name,zh\nbattery,en\n").entries == (Entry("battery", "en"),)


def test_what_is_not_utf8_says_in_which_line() -> None:
    reading = from_bytes(b"term,language\nbattery,en\n" + "电池,zh".encode("gb18030"))
    assert [(fault.line, fault.flaw) for fault in reading.faults] == [(3, Flaw.NOT_UTF8)]
    assert str(reading.faults[0]) == "line 3: this is not UTF-8; save the table as “CSV UTF-8”"


def test_a_list_that_is_too_long_is_said_once_a_line_too_many() -> None:
    rows = [f"word {number},en" for number in range(MOST + 3)]
    reading = from_csv("\n".join(["term,language", *rows]))
    assert [(fault.line, fault.flaw) for fault in reading.faults] == [(MOST + 2, Flaw.TOO_MANY)]
