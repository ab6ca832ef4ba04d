"""Keeps the archive in step with the broadcaster: an interview for each broadcast, the newest few kept."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from pathlib import Path

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import interviews, media_segments, streams, tables
from streamarchive.catalogue.database import Database, now
from streamarchive.catalogue.people import Guest
from streamarchive.demo.control import BroadcasterAwayError, BroadcasterClient, OnAir
from streamarchive.errors import ConflictError
from streamarchive.models import Interview, InterviewId, RecordingId, Stream, StreamState, Visibility
from streamarchive.protocols import MediaStore

_logger = logging.getLogger(__name__)

EVENT = {"en": "StreamArchive demo", "zh": "StreamArchive 演示"}
KEPT = 3
"""Broadcasts kept besides the one on air."""
_ADDRESSES = "http://127.0.0.1:%/broadcasts/%"
_LOOK_SECONDS = 1.0
TAIL_SECONDS = 6.0
"""The recorder finds the end of a broadcast by itself; later it is told, for the source may be gone."""


async def direct(database: Database, store: MediaStore, broadcaster: BroadcasterClient) -> None:
    """Look once a second, until cancelled."""
    over: dict[str, float] = {}
    tail = 0.0  # what ended while we were away is not served any more
    while True:
        with contextlib.suppress(BroadcasterAwayError):
            on_air = (await broadcaster.status()).on_air
            await put_on_air(database, on_air)
            await take_off_air(database, on_air, over, tail)
            tail = TAIL_SECONDS
            await forget_oldest(database, store)
        await asyncio.sleep(_LOOK_SECONDS)


async def put_on_air(database: Database, on_air: OnAir) -> InterviewId:
    """The interview of this broadcast; made, and its recording scheduled, where there is none yet."""
    async with database.read() as connection:
        known = await _stream_of(connection, on_air.id)
    if known is not None and known.url == on_air.url:
        return known.interview_id
    async with database.write() as tx:
        if known is not None:
            await streams.move(tx, known.id, on_air.url)
            return known.interview_id
        interview_id = await interviews.create(
            tx,
            titles=on_air.titles,
            descriptions=on_air.descriptions,
            languages=on_air.languages,
            visibility=Visibility.PUBLIC,
            held_at=on_air.started_at,
            event=EVENT,
            guests=[Guest(on_air.guest_names, on_air.guest_affiliations)],
        )
        await streams.create(tx, interview_id, on_air.url, exact_host_allowed=True)
    return interview_id


async def interview_on_air(connection: AsyncConnection, on_air: OnAir) -> Interview | None:
    """The interview of this broadcast, once the director has made it."""
    stream = await _stream_of(connection, on_air.id)
    return await interviews.get(connection, stream.interview_id) if stream else None


async def kill_recorder(database: Database) -> int:
    """Kill -9 the process that records the broadcast; its id. Raises `ConflictError` if nobody does."""
    async with database.read() as connection:
        moment = await now(connection)
        found = await streams.like(connection, _ADDRESSES)
    for stream in found:
        if stream.owner and stream.lease_until and stream.lease_until > moment:
            process = _process_here(stream.owner)
            if process is not None:
                os.kill(process, signal.SIGKILL)
                return process
    raise ConflictError("nothing is being recorded at the moment; try again in a few seconds")


def _process_here(owner: str) -> int | None:
    """The process of an owner such as ``recorder@host:1234:…``, if it is one of this machine and there."""
    host, number, *_ = [*owner.rpartition("@")[2].split(":"), ""]
    if host != socket.gethostname() or not number.isdigit() or not Path(f"/proc/{number}").exists():
        return None
    return int(number)


async def _stream_of(connection: AsyncConnection, broadcast_id: str) -> Stream | None:
    found = await streams.like(connection, f"{_ADDRESSES[:-1]}{broadcast_id}/%")
    return found[0] if found else None


async def take_off_air(database: Database, on_air: OnAir, over: dict[str, float], tail: float) -> None:
    """Stop recording what is no longer on air, `tail` seconds after that was first seen."""
    moment = asyncio.get_running_loop().time()
    async with database.read() as connection:
        found = await streams.like(connection, _ADDRESSES)
    for stream in found:
        if stream.state is StreamState.ENDED or stream.stop_requested or stream.url == on_air.url:
            continue
        if moment - over.setdefault(stream.url, moment) >= tail:
            over.pop(stream.url)
            async with database.write() as tx:
                await streams.request_stop(tx, stream.id)


# --- retention ----------------------------------------------------------------------------------------------


async def forget_oldest(database: Database, store: MediaStore) -> None:
    """Trash broadcasts beyond the newest few and delete their media: a demo must not fill a disk."""
    async with database.read() as connection:
        ended = [s for s in await streams.like(connection, _ADDRESSES) if s.state is StreamState.ENDED]
        known = await interviews.by_ids(connection, [stream.interview_id for stream in ended])
    kept = [stream for stream in ended if known[stream.interview_id].visibility is not Visibility.TRASHED]
    for stream in kept[KEPT:]:
        _logger.info("the demo forgets its broadcast %s", stream.interview_id)
        async with database.write() as tx:
            await interviews.set_visibility(tx, stream.interview_id, Visibility.TRASHED)
            keys = await _drop_media(tx, stream.recording_id) if stream.recording_id is not None else []
        for key in keys:
            await store.delete(key)


async def _drop_media(tx: AsyncConnection, recording_id: RecordingId) -> list[str]:
    segment, asset = tables.media_segment, tables.asset
    keys = [
        row.key for row in await tx.execute(select(segment.c.key).where(segment.c.recording_id == recording_id))
    ]
    keys += [row.key for row in await tx.execute(select(asset.c.key).where(asset.c.recording_id == recording_id))]
    await tx.execute(
        update(segment).where(segment.c.recording_id == recording_id).values(deleted_at=await now(tx))
    )
    await media_segments.note_change(tx, recording_id)
    await tx.execute(delete(asset).where(asset.c.recording_id == recording_id))
    return keys
