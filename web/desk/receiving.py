"""A recording that a browser sends: from the socket to the disk, in pieces, whatever its size.

The form's first field is its token: nothing is written before that has been checked. What is refused, cut off
or stalls leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import BadHttpMessage

from streamarchive import captions, ingest
from streamarchive.catalogue import uploads
from streamarchive.catalogue.database import Database
from streamarchive.errors import StorageError, UsageError
from streamarchive.media.incoming import Incoming, display_name
from streamarchive.media.probe import HEAD_BYTES, check_head
from streamarchive.models import InterviewId, UploadId

from .. import auth
from ..keys import RECEIVING, SERVICES, VISIT

READ_BYTES = 1 << 18
STALLED_SECONDS = 60.0
"""A browser that sends nothing for so long has gone."""
_NOTE_SECONDS = 2.0
_MOST_CAPTIONS_BYTES = 10 << 20
_MOST_FIELD_BYTES = 1 << 10

T = TypeVar("T")


@dataclass(slots=True)
class Received:
    """What a form has brought."""

    upload_id: UploadId | None = None
    file_name: str = ""
    size_bytes: int = 0
    captions: bytes = b""


async def receive(request: web.Request, interview_id: InterviewId) -> Received:
    """Take a form's recording in and have it looked at; durable once this returns.

    Raises `UsageError` for a form without a recording, `MediaError` for what is no recording, `StorageError`
    when there is no room, 403 for a wrong token. Then nothing is left, neither on the disk nor in the catalogue.
    """
    if request.content_type != "multipart/form-data":
        raise UsageError("send the recording as a form with a file")
    receiver = _Receiver(request, interview_id)
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - we are in a coroutine
    request.app[RECEIVING].add(task)
    try:
        return await receiver.receive()
    finally:
        request.app[RECEIVING].discard(task)


async def stop_receiving(app: web.Application) -> None:
    """End what is still arriving: a shutdown must not wait for it."""
    arriving = app[RECEIVING]
    for task in tuple(arriving):
        task.cancel()


async def _soon(step: Awaitable[T]) -> T:
    """The next step of reading a form. Raises `UsageError` if the browser sends nothing, or nonsense."""
    try:
        async with asyncio.timeout(STALLED_SECONDS):
            return await step
    except TimeoutError as error:
        raise UsageError("the file stopped arriving; check the connection and send it once more") from error
    except (ValueError, RuntimeError, AssertionError, BadHttpMessage) as error:
        raise UsageError("the form arrived damaged; send it once more") from error


async def _field(part: BodyPartReader, most_bytes: int = _MOST_FIELD_BYTES) -> bytes:
    """All of a short field."""
    data = bytearray()
    while chunk := await _soon(part.read_chunk()):
        data += chunk
        if len(data) > most_bytes:
            raise UsageError("a field of the form is too long")
    return bytes(data)


class _Receiver:
    def __init__(self, request: web.Request, interview_id: InterviewId) -> None:
        services = request.app[SERVICES]
        self._request = request
        self._interview_id = interview_id
        self._user = request[VISIT].asker.user
        self._database: Database = services.database
        self._incoming = Incoming(services.settings.incoming)
        self._received = Received()

    async def receive(self) -> Received:
        form = await self._request.multipart()
        await self._check_token(form)
        await self._check_room()
        done = False
        try:
            while (part := await _soon(form.next())) is not None:
                if isinstance(part, BodyPartReader):
                    await self._take(part)
            done = await self._complete()
        finally:
            if not done and self._received.upload_id is not None:
                await asyncio.shield(self._forget(self._received.upload_id))
        return self._received

    async def _check_token(self, form: MultipartReader) -> None:
        """The first field, before anything else is even looked at."""
        first = await _soon(form.next())
        sent = b""
        if isinstance(first, BodyPartReader) and first.name == auth.CSRF_FIELD:
            sent = await _field(first)
        auth.check_token(self._request, sent.decode("utf-8", "replace"))

    async def _check_room(self) -> None:
        room = await asyncio.to_thread(self._incoming.room_bytes)
        if room < (self._request.content_length or 0):
            raise StorageError(
                "there is not enough room on the archive's disk for this file; free some space first"
            )

    async def _take(self, part: BodyPartReader) -> None:
        if part.name == "recording" and part.filename and self._received.upload_id is None:
            await self._take_recording(part)
        elif part.name == "captions" and part.filename:
            self._received.captions = await _field(part, _MOST_CAPTIONS_BYTES)
        else:
            await _field(part)

    async def _take_recording(self, part: BodyPartReader) -> None:
        received = self._received
        received.file_name = display_name(part.filename or "")
        async with self._database.write() as tx:
            announced = self._request.content_length
            received.upload_id = await uploads.begin(
                tx, self._interview_id, self._user.id if self._user else None, received.file_name, announced
            )
        async with await self._incoming.open(self._incoming.media(received.upload_id)) as file:
            head, noted = b"", time.monotonic()
            while chunk := await _soon(part.read_chunk(READ_BYTES)):
                if len(head) < HEAD_BYTES:
                    head += chunk[:HEAD_BYTES]
                    if len(head) >= HEAD_BYTES:
                        check_head(head[:HEAD_BYTES], received.file_name)
                await file.write(chunk)
                if time.monotonic() - noted > _NOTE_SECONDS:
                    noted = time.monotonic()
                    async with self._database.write() as tx:
                        await uploads.arrived(tx, received.upload_id, file.size_bytes)
            check_head(head[:HEAD_BYTES], received.file_name)
            await file.finish()
            received.size_bytes = file.size_bytes

    async def _keep_captions(self, upload_id: UploadId) -> None:
        data = self._received.captions
        if data.strip():
            await asyncio.to_thread(captions.read_captions, data)
            async with await self._incoming.open(self._incoming.captions(upload_id)) as file:
                await file.write(data)
                await file.finish()

    async def _complete(self) -> bool:
        received = self._received
        if received.upload_id is None:
            raise UsageError("choose a file first")
        await self._keep_captions(received.upload_id)
        about = {"file": received.file_name, "bytes": received.size_bytes}
        async with self._database.write() as tx:
            await uploads.complete(tx, received.upload_id, received.size_bytes)
            await ingest.enqueue_upload(tx, received.upload_id)
            await auth.note(tx, self._request, "recording uploaded", self._interview_id, about)
        return True

    async def _forget(self, upload_id: UploadId) -> None:
        """Whoever is cut off while it is completed may have completed it: then its bytes are wanted."""
        async with self._database.write() as tx:
            await uploads.forget(tx, upload_id)
            wanted = await uploads.wanted(tx, [upload_id])
        if not wanted:
            await asyncio.to_thread(self._incoming.remove, upload_id)
