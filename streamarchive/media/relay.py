"""A relay on this machine through which ffmpeg reads RTMP and RTSP: one vetted host, connected to by its address.

It takes the encryption of ``rtmps`` and ``rtsps`` off, checking the server's certificate, which not every ffmpeg
does. An RTSP server that sends its clients elsewhere is refused: ffmpeg 5 would follow to any address.
"""

from __future__ import annotations

import asyncio
import re

from streamarchive.errors import SourceError, SourceUnreachableError
from streamarchive.media.addresses import Protocol, StreamAddress
from streamarchive.media.egress import Loopback, Rules, Wire, close, reason, splice

_INTERLEAVED = b"$"
"""How media begin inside an RTSP connection (RFC 2326, 10.12)."""
_STATUS = re.compile(rb"RTSP/1\.\d (\d{3})")
_LENGTH = re.compile(rb"^content-length:\s*(\d{1,7})\s*$", re.IGNORECASE | re.MULTILINE)


class Relay(Loopback):
    """A relay for the ffmpeg of one source."""

    def __init__(self, rules: Rules, address: StreamAddress) -> None:
        super().__init__(rules)
        self._address = address

    @property
    def url(self) -> str:
        """What ffmpeg opens: the address with this relay instead of the host."""
        return self._address.at("127.0.0.1", self.port, self._address.protocol)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = self._address
        try:
            wire = await self._rules.connect(address.host, address.port, encrypted=address.encrypted)
        except OSError as error:
            self.problem = SourceUnreachableError(f"{address.shown} cannot be reached: {reason(error)}")
            return
        try:
            if address.protocol is Protocol.RTSP:
                await self._watch_answers((reader, writer), wire)
            await splice((reader, writer), wire)
        finally:
            await close(wire[1])

    async def _watch_answers(self, client: Wire, server: Wire) -> None:
        """Carry an RTSP conversation until media flow. Raises `SourceError` if the server redirects."""
        questions = asyncio.ensure_future(_carry_questions(client[0], server[1]))
        try:
            while (first := await server[0].readexactly(1)) != _INTERLEAVED:
                head = first + await server[0].readuntil(b"\r\n\r\n")
                status = _STATUS.match(head)
                if status is None or status[1].startswith(b"3"):
                    raise SourceError(f"{self._address.shown} sends us elsewhere; use the address that it names")
                length = _LENGTH.search(head.replace(b"\r", b""))
                body = await server[0].readexactly(int(length[1])) if length else b""
                client[1].write(head + body)
                await client[1].drain()
            client[1].write(first)
        finally:
            questions.cancel()
            await asyncio.gather(questions, return_exceptions=True)


async def _carry_questions(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 12):
        writer.write(data)
        await writer.drain()
    writer.transport.abort()  # ffmpeg has left: the server's silence must not keep us
