"""What the desk shows of the parts of a recording that nobody gets."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import withheld
from streamarchive.models import RecordingId


async def withheld_context(
    connection: AsyncConnection, recording_id: RecordingId | None, typed: Mapping[str, str]
) -> dict[str, object]:
    """The list, and what was typed into the form below it."""
    ranges = await withheld.of_recording(connection, recording_id) if recording_id is not None else []
    return {"withheld_ranges": [one for one in ranges if one.is_hole], "withheld_typed": typed}
