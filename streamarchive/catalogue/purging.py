"""Deleting a withheld range for good: every row that holds anything of it, step by step and repeatably.

Files are replaced in the catalogue first, in the transaction that writes down which keys are doomed; those are
deleted afterwards, so whoever takes up a purge that was killed knows what is left to do.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import cues, media_segments, tables, withheld
from streamarchive.catalogue.database import now
from streamarchive.catalogue.withheld import WithheldRange
from streamarchive.models import Asset, MediaSegment, RecordingId, Stretch, TranscriptId
from streamarchive.protocols import StoredObject

_t = tables.withheld_range
_NOTHING: dict[str, Any] = {"text": "", "words": [], "speaker": None, "doubt": None}


async def asked(connection: AsyncConnection, recording_id: RecordingId) -> list[WithheldRange]:
    """The ranges of a recording that are to be deleted and are not yet, by time."""
    found = await withheld.of_recording(connection, recording_id)
    return [one for one in found if one.purge_asked_at is not None and one.purged_at is None]


async def replace_segment(
    tx: AsyncConnection, purged: WithheldRange, segment: MediaSegment, stored: StoredObject | None
) -> None:
    """A media segment is without the range from now on, or gone; its old file is doomed."""
    table = tables.media_segment
    values: dict[str, Any] = {"deleted_at": await now(tx)}
    if stored is not None:
        values = {"key": stored.key, "size_bytes": stored.size_bytes, "sha256": stored.sha256, "partial": True}
    mine = (table.c.recording_id == segment.recording_id, table.c.sequence == segment.sequence)
    await tx.execute(update(table).where(*mine).values(**values))
    await media_segments.note_change(tx, segment.recording_id)
    await doom(tx, purged.id, [segment.key])


async def remove_asset(tx: AsyncConnection, purged: WithheldRange, asset: Asset) -> None:
    """A file that shows any of the range is a recording's no longer."""
    table = tables.asset
    await tx.execute(delete(table).where(table.c.recording_id == asset.recording_id, table.c.kind == asset.kind))
    await doom(tx, purged.id, [asset.key])


async def doom(tx: AsyncConnection, range_id: int, keys: Sequence[str]) -> None:
    """These files of the store have to go."""
    listed = select(_t.c.doomed).where(_t.c.id == range_id)
    if tx.dialect.name != "sqlite":  # a worker that has lost the job may be adding to the list as well
        listed = listed.with_for_update(key_share=True)
    doomed = list(dict.fromkeys([*(await tx.execute(listed)).scalar_one(), *keys]))
    await tx.execute(update(_t).where(_t.c.id == range_id).values(doomed=doomed))


async def forget_words(tx: AsyncConnection, purged: WithheldRange) -> None:
    """Empty every line that has any part in the range, as it is, as it was and as a machine has heard it."""
    transcript, hit = tables.transcript, tables.saved_search_hit
    await tx.execute(delete(hit).where(hit.c.recording_id == purged.recording_id, _touches(hit, purged.stretch)))
    mine = (
        select(transcript.c.id).where(transcript.c.recording_id == purged.recording_id).order_by(transcript.c.id)
    )
    for transcript_id in (await tx.execute(mine)).scalars().all():
        await _forget_in(tx, TranscriptId(transcript_id), purged.stretch)
    await withheld.announce(tx, purged.recording_id)


async def _forget_in(tx: AsyncConnection, transcript_id: TranscriptId, stretch: Stretch) -> None:
    await cues.hold(tx, transcript_id)
    cue, run, line = tables.cue, tables.transcript_run, tables.run_line
    runs = select(run.c.id).where(run.c.transcript_id == transcript_id)
    await tx.execute(delete(line).where(line.c.run_id.in_(runs), _touches(line, stretch)))
    inside = (cue.c.transcript_id == transcript_id) & _touches(cue, stretch)
    await cues.remove(tx, await cues.select_current(tx, inside), by_person=True)
    # The revision of lines that had vanished rises, too: nobody's typing is carried over to their place.
    emptied = update(cue).where(inside).values(**_NOTHING, revision=cue.c.revision + 1).returning(cue.c.id)
    ids = {row.id for row in await tx.execute(emptied)}
    of_lines = tables.suggestion.c.cue_id.in_(select(cue.c.id).where(inside))
    await tx.execute(delete(tables.suggestion).where(of_lines))
    for table in (tables.strike, tables.suggestion):
        await tx.execute(delete(table).where(table.c.transcript_id == transcript_id, _touches(table, stretch)))
    await _forget_history(tx, transcript_id, stretch, ids)


def _touches(table: Any, stretch: Stretch) -> Any:  # noqa: ANN401 - a table and SQL
    return (table.c.start_ms < stretch.end_ms) & (table.c.end_ms > stretch.start_ms)


async def _forget_history(
    tx: AsyncConnection, transcript_id: TranscriptId, stretch: Stretch, ids: Collection[int]
) -> None:
    """What people have done stays, without the words that it was done to.

    Lines of these `ids` are emptied wherever they stood before somebody gave them their time.
    """
    table = tables.revision
    for row in (await tx.execute(select(table).where(table.c.transcript_id == transcript_id))).all():
        before, after = (_emptied(lines, stretch, ids) for lines in (row.before, row.after))
        if (before, after) != (row.before, row.after):
            await tx.execute(update(table).where(table.c.id == row.id).values(before=before, after=after))


def _emptied(lines: Sequence[dict[str, Any]], stretch: Stretch, ids: Collection[int]) -> list[dict[str, Any]]:
    return [
        {**line, **_NOTHING} if line["id"] in ids or stretch.meets(line["start_ms"], line["end_ms"]) else line
        for line in lines
    ]


async def done(tx: AsyncConnection, purged: WithheldRange) -> None:
    """Nothing of it is left."""
    await tx.execute(update(_t).where(_t.c.id == purged.id).values(purged_at=await now(tx), doomed=[]))
