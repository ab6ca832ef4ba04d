"""What an asker gets: moments and interviews as the catalogue knows them now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from streamarchive.models import Cue, Event, Interview
from streamarchive.protocols import Query, Total


@dataclass(frozen=True, slots=True)
class Moment:
    """A cue that met the query, as it reads now. `spans` are (start, end) offsets into its text.

    Where a phrase goes on in the next cue, `continued` is how that begins and `continued_spans` its part of it.
    """

    cue: Cue
    spans: tuple[tuple[int, int], ...]
    continued: str = ""
    continued_spans: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """An interview that meets the query. `total` counts its moments, shown or not."""

    interview: Interview
    total: int
    moments: tuple[Moment, ...]


@dataclass(frozen=True, slots=True)
class FoundMoment:
    """A moment and the interview it is in."""

    interview: Interview
    moment: Moment


class FallbackKind(StrEnum):
    """Why something else was looked for than was typed; only where that found nothing."""

    PINYIN = "pinyin"
    """A name that sounds like it: 张伟 for zhangwei, 张炜 for 张伟."""
    SPELLING = "spelling"
    """Words and names spelled nearly like it."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """What was looked for instead, and why: "did you mean"."""

    kind: FallbackKind
    query: Query


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found. `index_away`: only titles, guests and events were looked at.

    `timed_out`: the index answered with what it had found in time. `fallback`: nothing was found as it was
    typed; this is what was found with these words instead, and `query` is still what was typed.
    """

    query: Query
    total: Total
    total_interviews: Total
    found: tuple[Found, ...]
    next_cursor: str = ""
    timed_out: bool = False
    index_away: bool = False
    fallback: Fallback | None = None


@dataclass(frozen=True, slots=True)
class MomentsAnswer:
    """As `Answer`, moment by moment."""

    query: Query
    total: Total
    found: tuple[FoundMoment, ...]
    next_cursor: str = ""
    timed_out: bool = False
    index_away: bool = False
    fallback: Fallback | None = None


@dataclass(frozen=True, slots=True)
class FacetsAnswer:
    """How many moments of the answer have each of these, most first; visible interviews only.

    Each key is the value of its filter: `speaker:`, `lang:`, `event:`, `year:`, `in:`.
    """

    speakers: Mapping[str, int]
    langs: Mapping[str, int]
    events: tuple[tuple[Event, int], ...]
    years: Mapping[int, int]
    exact: bool = True
    timed_out: bool = False
    index_away: bool = False


def as_json(answer: Answer | MomentsAnswer, site: str) -> dict[str, Any]:
    """Plain values, as the command line and the API give them; `site` is the public address.

    In an answer by moments there are no `interviews`: its hits name them.
    """
    if isinstance(answer, Answer):
        pairs = [(found.interview, moment) for found in answer.found for moment in found.moments]
        interviews: dict[str, Any] = {
            "total_interviews": answer.total_interviews.value,
            "interviews": [
                {
                    "interview": _reference(found.interview),
                    "titles": dict(found.interview.titles),
                    "url": f"{site}{found.interview.address}",
                    "total": found.total,
                }
                for found in answer.found
            ],
        }
    else:
        pairs, interviews = [(found.interview, found.moment) for found in answer.found], {}
    fallback = answer.fallback
    return {
        "total": answer.total.value,
        "total_exact": answer.total.exact,
        **interviews,
        "hits": [_hit(interview, moment, site) for interview, moment in pairs],
        "next": answer.next_cursor or None,
        "ignored": list(answer.query.ignored),
        "fallback": {"kind": fallback.kind, "query": fallback.query.text} if fallback else None,
        "timed_out": answer.timed_out,
        "index_away": answer.index_away,
    }


def _hit(interview: Interview, moment: Moment, site: str) -> dict[str, Any]:
    cue = moment.cue
    return {
        "interview": _reference(interview),
        "title": interview.title(),
        "stage": interview.stage,
        "start_ms": cue.start_ms,
        "end_ms": cue.end_ms,
        "text": cue.text,
        "lang": cue.lang,
        "speaker": cue.speaker,
        "doubtful": cue.doubt is not None,
        "spans": [list(span) for span in moment.spans],
        "continued": moment.continued or None,
        "translated": bool(cue.track),
        "url": f"{site}{moment_path(interview, cue.start_ms, cue.track)}",
    }


def _reference(interview: Interview) -> str:
    return interview.address.rsplit("/", 1)[-1]


def moment_path(interview: Interview, at_ms: int, track: str = "") -> str:
    """Without the site: `/interviews/…?t=93.2`, of a translation `/interviews/…?track=en&t=93.2`."""
    seconds = f"{at_ms / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{interview.address}?{f'track={track}&' if track else ''}t={seconds}"
