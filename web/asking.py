"""What a search asks for, as its address says it: the address bar is the query. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from streamarchive.protocols import Query, Sort
from streamarchive.search.query import write

INTERVIEWS, MOMENTS = "interviews", "moments"
_LONGEST_CURSOR = 2_000
_FIELDS = {"speaker": "speakers", "lang": "langs", "event": "events", "year": "years", "in": "interviews"}


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


def with_filter(query: Query, name: str, value: str) -> str:
    """The query as text, with a filter more."""
    held = [each for kind, each in filters(query) if kind == name]
    return _written(query, name, [*held, value])


def without_filter(query: Query, name: str, value: str) -> str:
    """The query as text, without this filter."""
    held = [each for kind, each in filters(query) if kind == name and each.casefold() != value.casefold()]
    return _written(query, name, held)


def _written(query: Query, name: str, values: Sequence[str]) -> str:
    typed: Sequence[str | int] = [int(value) for value in values] if name == "year" else values
    return write(replace(query, **{_FIELDS[name]: tuple(typed)}))  # type: ignore[arg-type]


def filters(query: Query) -> list[tuple[str, str]]:
    """The filters of a query as (name, value as typed), in a settled order."""
    return [
        *(("speaker", value) for value in query.speakers),
        *(("lang", value) for value in query.langs),
        *(("event", value) for value in query.events),
        *(("year", str(value)) for value in query.years),
        *(("in", value) for value in query.interviews),
    ]
