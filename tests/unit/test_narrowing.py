from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from streamarchive.models import Event, Interview, InterviewId, Stage, Visibility
from streamarchive.search.narrowing import admits
from streamarchive.search.query import parse

BEIJING = timezone(timedelta(hours=8))
EVENT = Event(1, {"en": "Auto Beijing", "zh": "北京车展"})


def interview(
    held_at: datetime = datetime(2026, 4, 25, 10, tzinfo=UTC), event: Event | None = EVENT
) -> Interview:
    return Interview(
        id=InterviewId("0123456789"),
        slug="talk",
        titles={"en": "Talk"},
        descriptions={},
        languages=("en",),
        visibility=Visibility.PUBLIC,
        stage=Stage.READY,
        held_at=held_at,
        event=event,
        guests=(),
        recording_id=None,
        in_ms=None,
        out_ms=None,
        created_at=held_at,
        updated_at=held_at,
    )


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("", True),
        ("in:0123456789", True),
        ("in:9876543210", False),
        ("in:9876543210 in:0123456789", True),
        ("event:beijing", True),
        ("event:车展", True),
        ("event:車展", True),
        ("event:shanghai", False),
        ("year:2026", True),
        ("year:2025", False),
        ("year:2025 year:2026", True),
        ("after:2026-04-25", True),
        ("after:2026-04-26", False),
        ("before:2026-04-26", True),
        ("before:2026-04-25", False),
        ("event:beijing year:2025", False),
    ],
)
def test_filters_say_which_interviews_are_meant(filters: str, expected: bool) -> None:
    assert admits(parse(f"battery {filters}"), interview()) is expected


def test_days_are_those_of_utc_and_no_event_is_none_of_those_named() -> None:
    late = interview(datetime(2026, 1, 1, 7, tzinfo=BEIJING))
    assert admits(parse("battery year:2025"), late)
    assert not admits(parse("battery after:2026"), late)
    assert not admits(parse("battery event:beijing"), interview(event=None))
