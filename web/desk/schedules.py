"""When a stream is to be recorded: read from a form of the desk, and kept alike for every kind of stream."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from multidict import MultiMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import streams
from streamarchive.errors import UsageError
from streamarchive.models import InterviewId, StreamId

from ..wording import Gettext
from . import details


@dataclass(frozen=True, slots=True)
class Schedule:
    """From `starts_at` (None: now) to `ends_at` (None: until it is stopped)."""

    starts_at: datetime | None
    ends_at: datetime | None


def read(form: MultiMapping[object], moment: datetime, gettext: Gettext) -> Schedule:
    """What was typed at this `moment`. Raises `UsageError` for no date, and for an end that comes too early."""

    def one(name: str) -> datetime | None:
        typed = str(form.get(f"{name}_exact", "")) or str(form.get(name, "")).strip()
        return details.moment(typed, gettext)

    schedule = Schedule(one("starts"), one("ends"))
    if schedule.ends_at is not None and schedule.ends_at <= max(schedule.starts_at or moment, moment):
        raise UsageError(gettext("The end has to come after the start, and not lie in the past."))
    return schedule


async def add(
    tx: AsyncConnection, interview_id: InterviewId, url: str, schedule: Schedule, token: str | None = None
) -> StreamId:
    """Have it recorded from a little before its start, and past its end while the source delivers."""
    return await streams.create(
        tx,
        interview_id,
        url,
        starts_at=schedule.starts_at,
        ends_at=schedule.ends_at,
        lead_in=streams.LEAD_IN,
        overruns=True,
        token=token,
    )
