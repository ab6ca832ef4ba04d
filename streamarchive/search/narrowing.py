"""Whether an interview is one of those that the filters of a query mean; pure.

What `streamarchive.search.finding` asks of the catalogue for all interviews at once, of one that is known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC

from streamarchive import text
from streamarchive.models import Event, Interview
from streamarchive.protocols import Query


def admits(query: Query, interview: Interview) -> bool:
    """Whether `in:`, `event:`, `year:`, `after:` and `before:` let it through; days are those of UTC."""
    day = interview.held_at.astimezone(UTC).date()
    return (
        (not query.interviews or interview.id in query.interviews)
        and (not query.events or (interview.event is not None and is_named(interview.event, query.events)))
        and (not query.years or day.year in query.years)
        and (query.after is None or day >= query.after)
        and (query.before is None or day < query.before)
    )


def named(events: Iterable[Event], names: Collection[str]) -> set[int]:
    """The ids of the events that `is_named` names."""
    return {event.id for event in events if is_named(event, names)}


def is_named(event: Event, names: Collection[str]) -> bool:
    """Whether one of its names contains one of these."""
    return any(text.spans(known, names) for known in event.names.values() if known)
