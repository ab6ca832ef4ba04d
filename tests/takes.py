"""Broadcasts of given files, recorded take by take, and the jobs that come after them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import ffmpeg

from streamarchive import jobs
from streamarchive.catalogue import assets, interviews, media_segments, streams
from streamarchive.media import commands
from workers import finaliser
from workers.folders import Folders
from workers.ledger import Ledger
from workers.runner import run_job


async def record_takes(services, *sources):
    """A finished recording of these files, each recorded as a take of its own."""
    async with services.database.write() as tx:
        interview_id = await interviews.create(tx, titles={"en": "Talk"}, languages=("en",))
        stream_id = await streams.create(tx, interview_id, "http://example.org/live.m3u8")
    claimed = await streams.claim(services.database, stream_id, "test", timedelta(hours=1))
    ledger = await Ledger.open(services, claimed, Folders(services.settings.data_dir.absolute(), claimed.id))
    for number, source in enumerate(sources):
        work, _ = ledger.folders.prepare(number)
        arguments = commands.record(ffmpeg.input(str(source)), spool=None)
        process = await asyncio.create_subprocess_exec(
            *commands.program(),
            *arguments,
            cwd=work,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert await process.wait() == 0
        await ledger.commit_rest(number, listed="s99999999.ts")
    await ledger.finish()
    return ledger.recording_id


async def finalise(services):
    """Do the one job; how it ended."""
    job = await jobs.claim(services.database, ("finalise",), "test")
    await run_job(services, finaliser.finalise, job, asyncio.Event())
    async with services.database.read() as connection:
        return await jobs.get(connection, job.id)


async def assets_of(services, recording_id):
    async with services.database.read() as connection:
        return await assets.of_recording(connection, recording_id), await media_segments.of_recording(
            connection, recording_id
        )
