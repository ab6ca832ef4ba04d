"""What a search asks for, as its address says it: the address bar is the query. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from streamarchive.protocols import Query, Sort

INTERVIEWS, MOMENTS = "interviews", "moments"
_LONGEST_CURSOR = 2_000
_PLAIN = re.compile(r"[\w-]+")
_QUOTES = '"＂“”'


@dataclass(frozen=True, slots=True)
class Asked:
    """The parameters of a search. What makes no sense is as if it had not been said."""

    typed: str
    view: str = INTERVIEWS
    sort: Sort = Sort.RELEVANCE
    after: str = ""
    """Where the page begins: the `next_cursor` of the one before."""

    def url(self, path: str = "/search", **changes: str) -> str:
        """The address of the same search with some things changed; another question begins at its beginning."""
        asked = replace(self, **{"after": "", **changes})  # type: ignore[arg-type]
        values = {"q": asked.typed}
        if asked.view != INTERVIEWS:
            values["view"] = asked.view
        if asked.sort != Sort.RELEVANCE:
            values["sort"] = asked.sort
        if asked.after:
            values["after"] = asked.after
        return f"{path}?{urlencode(values)}"


def read(parameters: Mapping[str, str]) -> Asked:
    """The search that these parameters of an address ask for."""
    sort, after = parameters.get("sort", ""), parameters.get("after", "")
    return Asked(
        typed=parameters.get("q", "").strip(),
        view=MOMENTS if parameters.get("view") == MOMENTS else INTERVIEWS,
        sort=Sort(sort) if sort in set(Sort) else Sort.RELEVANCE,
        after=after if len(after) <= _LONGEST_CURSOR else "",
    )


def with_filter(typed: str, name: str, value: object) -> str:
    """What was typed, with a filter more."""
    said = str(value)
    if not _PLAIN.fullmatch(said):
        said = '"' + re.sub(f"[{_QUOTES}]", " ", said).strip() + '"'
    return f"{typed} {name}:{said}".strip()


def without_filter(typed: str, value: object) -> str:
    """What was typed, without the filters of this value, whatever they are called."""
    said = re.escape(str(value))
    either = rf"(?:[{_QUOTES}]\s*{said}\s*[{_QUOTES}]|[「『]{said}[」』]|{said}(?![\w-]))"
    return " ".join(re.sub(rf"(?i)(?<!\S)[^\W\d_]+[:：]{either}", " ", typed).split())


def filters(query: Query) -> list[tuple[str, str]]:
    """The filters of a query as (name, value as typed), in a settled order."""
    return [
        *(("speaker", value) for value in query.speakers),
        *(("lang", value) for value in query.langs),
        *(("event", value) for value in query.events),
        *(("year", str(value)) for value in query.years),
        *(("in", value) for value in query.interviews),
    ]
