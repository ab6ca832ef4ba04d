"""A relay on this machine through which ffmpeg reads RTMP and RTSP: one vetted host, connected to by its address.

It takes the encryption of ``rtmps`` and ``rtsps`` off, checking the server's certificate, which not every ffmpeg
does. An RTSP server that sends its clients elsewhere is refused: ffmpeg 5 would follow to any address.
"""

from __future__ import annotations

import asyncio
import re

from streamarchive.errors import SourceError, SourceUnreachableError
from streamarchive.media.addresses import Protocol, StreamAddress
from streamarchive.media.egress import Loopback, Rules, carry, close, reason, splice

_INTERLEAVED = b"$"
"""How media begin inside an RTSP connection; a channel and a length follow (RFC 2326, 10.12)."""
_ANSWER = re.compile(rb"RTSP/1\.\d (\d{3})(?: .*)?")
_REQUEST = re.compile(rb"([A-Z_]+) \S+ RTSP/1\.\d")
_LENGTH = re.compile(rb"content-length:[ \t]*(\d{1,7})[ \t]*", re.IGNORECASE)
_ELSEWHERE = b"3"


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
        back = self._carry_answers if address.protocol is Protocol.RTSP else carry
        try:
            await splice((reader, writer), wire, back)
        finally:
            await close(wire[1])

    async def _carry_answers(self, server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """Carry what an RTSP server says, until it ends. Raises `SourceError` if it leads elsewhere.

        ffmpeg is lenient about where a message ends, and would find a redirect inside what we took for a body,
        for media or for one long answer. So what could be read in two ways is refused, and each message is
        written anew.
        """
        while first := await server.read(1):
            if first == _INTERLEAVED:
                place = await server.readexactly(3)
                message = first + place + await server.readexactly(int.from_bytes(place[1:], "big"))
            else:
                head = first + await server.readuntil(b"\r\n\r\n")
                lines, length = self._judge(head.removesuffix(b"\r\n\r\n").split(b"\r\n"))
                message = b"\r\n".join((*lines, b"", b"")) + await server.readexactly(length)
            client.write(message)
            await client.drain()

    def _judge(self, lines: list[bytes]) -> tuple[list[bytes], int]:
        """The lines of a message as they may go on, and how many bytes follow. Raises `SourceError`."""
        shown = self._address.shown
        answer, request = _ANSWER.fullmatch(lines[0]), _REQUEST.fullmatch(lines[0])
        if (answer and answer[1].startswith(_ELSEWHERE)) or (request and request[1] == b"REDIRECT"):
            raise SourceError(f"{shown} sends us elsewhere; use the address that it names")
        lengths = [line for line in lines if line.lower().startswith(b"content-length:")]
        found = {length[1] for line in lengths if (length := _LENGTH.fullmatch(line))}
        unclear = any(set(line) & set(b"\r\n\0") or line.startswith(_INTERLEAVED) for line in lines)
        if not (answer or request) or unclear or len(lengths) > 1 or len(found) != len(lengths):
            raise SourceError(f"{shown} does not speak RTSP as it should; is it a camera's address?")
        return lines, int(next(iter(found), b"0"))
