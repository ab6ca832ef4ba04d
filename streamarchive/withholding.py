"""Taking a part of a recording away from everybody, giving it back, and deleting it for good.

`streamarchive.catalogue.withheld` makes it so for every reader in the same transaction; the jobs that are asked
for here make the recording's files again.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive import jobs
from streamarchive.catalogue import cuts, interviews, recordings, withheld
from streamarchive.catalogue.withheld import WithheldRange
from streamarchive.models import InterviewId, RecordingId, RecordingState


async def withhold(
    tx: AsyncConnection,
    recording_id: RecordingId,
    start_ms: int,
    end_ms: int,
    *,
    reason: str = "",
    user_id: int | None = None,
) -> WithheldRange:
    """Nobody gets this stretch any more; files are made without it. Raises `UsageError`."""
    found = await withheld.withhold(tx, recording_id, start_ms, end_ms, reason=reason, user_id=user_id)
    await make_again(tx, recording_id)
    return found


async def lift(tx: AsyncConnection, range_id: int) -> WithheldRange:
    """Everybody gets it again; files are made with it. Raises `UsageError`."""
    found = await withheld.lift(tx, range_id)
    await make_again(tx, found.recording_id)
    return found


async def purge(tx: AsyncConnection, range_id: int) -> WithheldRange:
    """Delete this stretch for good: there is no way back. Raises `UsageError` while the recording is on air."""
    found = await withheld.ask_purge(tx, range_id)
    await jobs.enqueue(tx, jobs.PURGE, str(found.recording_id), recording_id=found.recording_id)
    return found


async def cut(tx: AsyncConnection, interview_id: InterviewId, in_ms: int | None, out_ms: int | None) -> None:
    """Show the recording from `in_ms` to `out_ms`, and make its files to match. Raises `UsageError`."""
    await cuts.cut(tx, interview_id, in_ms, out_ms)
    recording_id = (await interviews.get(tx, interview_id)).recording_id
    if recording_id is not None:
        await make_again(tx, recording_id)


async def choose(tx: AsyncConnection, interview_id: InterviewId, recording_id: RecordingId) -> None:
    """Show this recording instead of another, within the same cut, and make its files to match."""
    await withheld.hold(tx, recording_id)
    await interviews.attach(tx, interview_id, recording_id)
    await make_again(tx, recording_id)


async def make_again(tx: AsyncConnection, recording_id: RecordingId) -> None:
    """Have the files of a recording made to match what may be shown of it; one on air has none yet."""
    if (await recordings.get(tx, recording_id)).state is RecordingState.FINISHED:
        await jobs.enqueue(tx, jobs.FINALISE, str(recording_id), recording_id=recording_id)
