"""The HTTP proxy through which ffmpeg, and we ourselves, reach sources: every host is vetted, whoever names it.

ffmpeg learns of it by its environment, which only its own user can read; so nobody else on the machine knows the
password that it asks for. What ffmpeg is told to open is `ENTRANCE`, which the proxy alone answers, with a
redirect to the true address: that may hold a password or a token, and a command line can be read by everybody.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from streamarchive.errors import SourceError, SourceUnreachableError
from streamarchive.media.egress import CONNECT_SECONDS, Loopback, Rules, close, reason, splice

_ENTRANCE_HOST = "source.invalid"
ENTRANCE = f"http://{_ENTRANCE_HOST}/stream"
"""Leads to the source, through this proxy only; no name below ``.invalid`` ever exists (RFC 2606)."""
_NOT_FORWARDED = frozenset({"proxy-authorization", "proxy-connection", "connection", "keep-alive", "upgrade"})


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    target: str
    headers: Sequence[tuple[str, str]]

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


class VettingProxy(Loopback):
    """A proxy for the ffmpeg of one source."""

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self.source_url = ""
        """Where the entrance leads to."""
        self._password = secrets.token_urlsafe(24)
        login = base64.b64encode(f"ffmpeg:{self._password}".encode()).decode()
        self._expected = f"Basic {login}"

    @property
    def url(self) -> str:
        """Its address with its password."""
        return f"http://ffmpeg:{self._password}@127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What makes ffmpeg use it for http, https and whatever else it encrypts."""
        return {"http_proxy": self.url}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            request = _parse(await reader.readuntil(b"\r\n\r\n"))
        if not hmac.compare_digest(request.header("proxy-authorization").encode(), self._expected.encode()):
            return await _reply(writer, 407, "Who are you", 'Proxy-Authenticate: Basic realm="source"')
        host, port = _place(request)
        if request.method != "CONNECT" and host == _ENTRANCE_HOST:
            return await _reply(writer, 302, "Found", f"Location: {self.source_url}")
        try:
            wire = await self._rules.connect(host, port)
        except SourceError:
            await _reply(writer, 403, "Forbidden")
            raise
        except OSError as error:
            self.problem = SourceUnreachableError(f"{host}, port {port}, cannot be reached: {reason(error)}")
            return await _reply(writer, 502, "Bad Gateway")
        try:
            if request.method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                wire[1].write(_forwarded(request))
            await splice((reader, writer), wire)
        finally:
            await close(wire[1])


async def _reply(writer: asyncio.StreamWriter, status: int, phrase: str, *headers: str) -> None:
    lines = (f"HTTP/1.1 {status} {phrase}", *headers, "Content-Length: 0", "Connection: close", "", "")
    writer.write("\r\n".join(lines).encode("latin-1", "replace"))
    await writer.drain()


def _parse(head: bytes) -> _Request:
    """The first lines of a request. Raises `SourceError` for what is none."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise SourceError("ffmpeg has sent its proxy something else than a request")
    pairs = (line.partition(":") for line in lines if line)
    return _Request(words[0], words[1], [(name.strip(), value.strip()) for name, _, value in pairs])


def _place(request: _Request) -> tuple[str, int]:
    connect = request.method == "CONNECT"
    try:
        parts = urlsplit(f"//{request.target}" if connect else request.target)
        port = parts.port or (443 if connect else 80)
    except ValueError as error:
        raise SourceError("the source names an address that is none") from error
    if not parts.hostname or (not connect and parts.scheme != "http"):
        raise SourceError("the source names an address that is none")
    return parts.hostname, port


def _forwarded(request: _Request) -> bytes:
    """The request as its server expects it, and the last one of the connection: the next may go elsewhere."""
    parts = urlsplit(request.target)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    kept = [f"{name}: {value}" for name, value in request.headers if name.lower() not in _NOT_FORWARDED]
    lines = [f"{request.method} {path} HTTP/1.1", *kept, "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")
