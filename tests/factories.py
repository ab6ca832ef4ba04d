"""Things to test with, as the product itself makes them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from streamarchive.catalogue import interviews, recordings, streams, transcripts
from streamarchive.catalogue.database import Database
from streamarchive.models import (
    CueDraft,
    InterviewId,
    MediaSegment,
    RecordingId,
    RunStage,
    Stream,
    Take,
    Visibility,
    Word,
)

LEASE = timedelta(minutes=5)
SEGMENT_TICKS = 4 * 90_000
_numbers = itertools.count(1)


@dataclass(frozen=True)
class OnAir:
    """An interview whose stream somebody is recording."""

    interview_id: InterviewId
    stream: Stream
    recording_id: RecordingId
    take: Take


async def interview(
    database: Database, title: str = "Batteries", visibility: Visibility = Visibility.PUBLIC
) -> InterviewId:
    """An interview without media."""
    async with database.write() as tx:
        return await interviews.create(tx, titles={"en": title}, visibility=visibility)


async def uploaded(
    database: Database, title: str = "Batteries", visibility: Visibility = Visibility.PUBLIC
) -> tuple[InterviewId, RecordingId]:
    """An interview with a finished recording of a minute."""
    interview_id = await interview(database, title, visibility)
    async with database.write() as tx:
        recording_id = await recordings.create_uploaded(
            tx, interview_id, duration_ms=60_000, has_video=True, damage=None
        )
    return interview_id, recording_id


async def claimed_stream(database: Database, owner: str = "recorder") -> tuple[InterviewId, Stream]:
    """An interview whose stream `owner` has just claimed."""
    interview_id = await interview(database)
    async with database.write() as tx:
        stream_id = await streams.create(tx, interview_id, "http://source.example/live.m3u8")
    stream = await streams.claim(database, stream_id, owner, LEASE)
    assert stream is not None
    return interview_id, stream


async def on_air(database: Database, owner: str = "recorder") -> OnAir:
    """The same with its recording begun."""
    interview_id, stream = await claimed_stream(database, owner)
    async with database.write() as tx:
        recording_id = await recordings.begin(tx, stream, has_video=True)
        take = await recordings.begin_take(tx, stream, recording_id)
    return OnAir(interview_id, stream, recording_id, take)


def segment(take: Take, sequence: int, *, start_ticks: int | None = None, pts: int | None = None) -> MediaSegment:
    """The `sequence`-th media segment of 4 s, as if all of the recording were one take."""
    start = sequence * SEGMENT_TICKS if start_ticks is None else start_ticks
    return MediaSegment(
        recording_id=take.recording_id,
        take_id=take.id,
        sequence=sequence,
        key=f"media/{take.recording_id}/{sequence:06d}-{next(_numbers):064x}.ts",
        size_bytes=400_000,
        sha256=f"{sequence:064x}",
        start_ticks=start,
        duration_ticks=SEGMENT_TICKS,
        pts_ticks=126_000 + start - take.base_ticks if pts is None else pts,
        arrived_at=datetime.now(UTC),
    )


async def commit(
    database: Database, air: OnAir, *segments: MediaSegment, first: bool = False, joined: bool = False
) -> None:
    """Commit these, each in a transaction of its own, as the recorder does."""
    for one in segments:
        async with database.write() as tx:
            await recordings.commit_segment(
                tx, air.stream, one, 126_000, has_video=True, first=first, joined=joined
            )


def line(start_ms: int, text: str, *, end_ms: int | None = None, lang: str = "en") -> CueDraft:
    """A line of two seconds with its words spread evenly."""
    end = start_ms + 2_000 if end_ms is None else end_ms
    parts = text.split()
    step = (end - start_ms) / max(len(parts), 1)
    words = tuple(
        Word(part, round(start_ms + n * step), round(start_ms + (n + 1) * step), 0.9)
        for n, part in enumerate(parts)
    )
    return CueDraft(start_ms, end, text, lang, words)


async def run(
    database: Database, recording_id: RecordingId, stage: RunStage, *, identity: str = "model-1"
) -> transcripts.Run:
    """A machine pass, begun or continued."""
    async with database.write() as tx:
        return await transcripts.begin_run(
            tx, recording_id, stage, engine="openai", model="demo", model_identity=identity
        )


async def heard(
    database: Database, recording_id: RecordingId, *lines: CueDraft, stage: RunStage = RunStage.LIVE
) -> transcripts.Run:
    """What a pass of its own has heard; a final one is adopted."""
    began = await run(database, recording_id, stage)
    async with database.write() as tx:
        await transcripts.append(tx, began, lines, max((one.end_ms for one in lines), default=0))
        if stage is not RunStage.LIVE:
            await transcripts.adopt(tx, began)
    return began
