"""Which names and terms the recogniser is told to expect in an interview. Pure.

By language, as a window is in one: its guests, then its event, then the glossary's names, then its other terms,
those corrected last first. In Chinese, what has no Chinese name is said in English.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from streamarchive.glossaries import Entry
from streamarchive.models import Interview, Script
from streamarchive.protocols import Expectation
from streamarchive.text import in_script

MOST_WORDS = 100
"""More than a prompt has room for."""
_OPENING = "以下是普通话的句子。"
"""What makes the recogniser write Chinese in its script, and with punctuation."""


def expected(
    interviews: Sequence[Interview],
    terms: Sequence[Entry],
    languages: Sequence[str],
    script: Script = Script.SIMPLIFIED,
) -> dict[str, Expectation]:
    """What is expected in each language; `terms` come in the order of their importance."""
    found = {}
    for code in languages:
        words = dict.fromkeys(_words(interviews, terms, code))
        opening = in_script(_OPENING, script) if code == "zh" else ""
        told = Expectation(opening, tuple(words)[:MOST_WORDS])
        if told != Expectation():
            found[code] = told
    return found


def _words(interviews: Sequence[Interview], terms: Sequence[Entry], code: str) -> Iterator[str]:
    for interview in interviews:
        for guest in interview.guests:
            yield from _in(guest.names, code)
        for guest in interview.guests:
            yield from _in(guest.affiliations, code)
        if interview.event is not None:
            yield from _in(interview.event.names, code)
    for wanted in (True, False):
        for entry in terms:
            if entry.is_name is wanted:
                yield from _in({entry.lang: entry.term, **entry.means}, code)


def _in(wordings: Mapping[str, str], code: str) -> Iterator[str]:
    """What it is called in this language; in Chinese at least in English."""
    wording = wordings.get(code) or (wordings.get("en") if code == "zh" else None)
    if wording:
        yield wording
