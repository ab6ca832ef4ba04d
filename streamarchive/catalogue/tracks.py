"""The tracks of a recording's text: as spoken, and in other languages.

What is spoken in a track's language already is not translated: its lines are those of the transcript as spoken,
with all that people correct there, and search finds each sentence once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import cues, tables, transcripts
from streamarchive.models import Cue, RecordingId

SPOKEN = ""
"""The track as spoken; every other is named by its language."""
_SAME = 0.5
"""So much of a spoken line beneath translated ones is translated there."""


async def of_recording(connection: AsyncConnection, recording_id: RecordingId) -> list[str]:
    """The languages that it has been translated into."""
    transcript, run = tables.transcript, tables.transcript_run
    statement = (
        select(transcript.c.lang)
        .join(run, run.c.transcript_id == transcript.c.id)
        .where(
            transcript.c.recording_id == recording_id,
            transcript.c.lang != SPOKEN,
            run.c.finished_at.is_not(None),
        )
        .distinct()
        .order_by(transcript.c.lang)
    )
    return list((await connection.execute(statement)).scalars())


async def lines(
    connection: AsyncConnection, recording_id: RecordingId, track: str = SPOKEN, *, words: bool = True
) -> list[Cue]:
    """The current lines of a track, by time; none of one that there is not.

    Without their words they are for reading only.
    """
    spoken = await transcripts.of_recording(connection, recording_id, words=words)
    if track == SPOKEN:
        return spoken
    if track not in await of_recording(connection, recording_id):
        return []
    translated = await cues.select_current(
        connection,
        tables.transcript.c.recording_id == recording_id,
        tables.transcript.c.lang == track,
        words=words,
    )
    return together(translated, [cue for cue in spoken if cue.lang == track])


def together(translated: Sequence[Cue], spoken: Sequence[Cue]) -> list[Cue]:
    """Both by time, without what is there twice: spoken lines of which more than half is translated. Pure."""
    ends = [cue.end_ms for cue in translated]
    kept = [cue for cue in spoken if _covered(cue, translated, ends) <= _SAME * (cue.end_ms - cue.start_ms)]
    return sorted([*translated, *kept], key=lambda cue: (cue.start_ms, cue.id))


def _covered(cue: Cue, translated: Sequence[Cue], ends: Sequence[int]) -> int:
    """How many milliseconds of it lie beneath translated lines, which come by time."""
    covered = 0
    for other in translated[bisect_left(ends, cue.start_ms) :]:
        if other.start_ms >= cue.end_ms:
            break
        covered += max(min(cue.end_ms, other.end_ms) - max(cue.start_ms, other.start_ms), 0)
    return covered
