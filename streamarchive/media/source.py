"""A stream's source: looked at before ffmpeg gets it, and reached without its secrets being shown.

ffmpeg's command line can be read by everybody on the machine, so no address stands there: HTTP sources are
reached through a vetting proxy that redirects to them, the others by a list on ffmpeg's stdin.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any
from urllib.parse import urljoin

import aiohttp
import yarl

from streamarchive.errors import SourceError, SourceUnreachableError
from streamarchive.media import commands
from streamarchive.media.addresses import Protocol, StreamAddress, parse, without_secrets
from streamarchive.media.egress import CONNECT_SECONDS, Loopback, Rules, reason
from streamarchive.media.inlet import Inlet
from streamarchive.media.probe import kind_of
from streamarchive.media.proxy import ENTRANCE, VettingProxy
from streamarchive.media.relay import Relay
from streamarchive.models import Stream
from streamarchive.settings import Settings

_MAX_REDIRECTS = 5
_HEAD_BYTES = 600
_PLAYLIST_BYTES = 1 << 20
_DURATION = re.compile(r"^#EXTINF:(\d+(?:\.\d+)?)", re.MULTILINE)
_PROGRESSIVE = frozenset({"mpegts", "aac", "mp3"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TWICE = commands.STALL_MICROSECONDS // 2
"""RTMP and RTSP wait a second time before they give up."""
_RTSP_OPTIONS: dict[str, str | int] = {"rtsp_transport": "tcp", "timeout": _TWICE}
_DEMUXERS = {Protocol.RTMP: "flv,live_flv", Protocol.RTSP: "rtsp"}


@dataclass(frozen=True, slots=True)
class Way:
    """A way by which ffmpeg can read a source, while it is held open."""

    protocol: Protocol
    hls: bool = False
    ended: bool = False
    """The source says itself that nothing more will come: an HLS playlist with an end, a file of known length."""
    listed: tuple[float, ...] = ()
    """How long each segment of an HLS playlist is, in seconds."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What ffmpeg needs besides its own."""
    _list: str = field(default="", repr=False)
    _encoder: int | None = None
    _guard: Loopback | None = None

    def segments_of_last(self, seconds: float) -> int:
        """How many of its newest segments hold so much time."""
        ends = accumulate(reversed(self.listed))
        return next((number for number, end in enumerate(ends, 1) if end >= seconds), len(self.listed))

    def input(self, *, segments_back: int | None = None, thorough: bool = False) -> Any:  # noqa: ANN401
        """The input of ffmpeg's graph; see `commands.http_input`."""
        if self.protocol is Protocol.HTTP:
            return commands.http_input(ENTRANCE, hls=self.hls, segments_back=segments_back, thorough=thorough)
        if self.protocol is Protocol.PUSH_HTTP:
            return commands.pushed_input()
        if self.protocol in (Protocol.SRT, Protocol.SRT_LISTENER):
            return commands.listed_input("srt", "mpegts")
        protocol = Protocol.RTSP if self.protocol is Protocol.RTSP else Protocol.RTMP
        return commands.listed_input(_transports(protocol), _DEMUXERS[protocol])

    @contextmanager
    def stdin(self) -> Iterator[int | None]:
        """What ffmpeg reads besides; None for nothing."""
        if self._encoder is not None or not self._list:
            yield self._encoder
            return
        reader, writer = os.pipe()
        try:
            os.write(writer, self._list.encode())  # a pipe holds more than an address can be long
            os.close(writer)
            yield reader
        finally:
            os.close(reader)

    @property
    def lacks_decoding_times(self) -> bool:
        """Whether pictures come without the times at which they have to be decoded."""
        return self.protocol is Protocol.RTSP

    @property
    def comes_once(self) -> bool:
        """Whether what has been read cannot be read again: an encoder has to connect anew."""
        return self._encoder is not None

    @property
    def waits_for_encoder(self) -> bool:
        """Whether silence at the beginning means only that nobody sends yet."""
        return self.protocol is Protocol.SRT_LISTENER

    @property
    def refusal(self) -> str | None:
        """Why something that the source names was not fetched, in a sentence."""
        return str(self._guard.problem) if self._guard and self._guard.problem else None


@asynccontextmanager
async def reach(
    url: str, rules: Rules, *, inlet: Inlet | None = None, halt: asyncio.Event | None = None
) -> AsyncIterator[Way]:
    """Look at what an address answers, and hold a way to it open. Raises `SourceError`, one sentence.

    For ``push:http`` this waits in `inlet` until an encoder sends, or until `halt`. ``push:rtmp`` has to be
    given as the address of the server that holds it.
    """
    address = parse(url)
    async with AsyncExitStack() as stack:
        if address.protocol is Protocol.HTTP:
            proxy = await stack.enter_async_context(VettingProxy(rules))
            yield await _look_over_http(address, proxy)
        elif address.protocol in (Protocol.RTMP, Protocol.RTSP):
            await rules.vetted(address.host, address.port)
            relay = await stack.enter_async_context(Relay(rules, address))
            yield Way(address.protocol, _list=_relayed(address, relay), _guard=relay)
        elif address.protocol in (Protocol.SRT, Protocol.SRT_LISTENER):
            yield Way(address.protocol, _list=await _srt(address, rules))
        elif address.protocol is Protocol.PUSH_HTTP and inlet is not None:
            encoder = await inlet.wait_for_encoder(halt or asyncio.Event())
            stack.callback(os.close, encoder)
            yield Way(address.protocol, _encoder=encoder)
        else:
            raise SourceError(f"{address.shown} is where an encoder sends to; nothing can be fetched from there")


async def check(url: str, rules: Rules) -> None:
    """Vet an address and, as far as it can be done without ffmpeg, see that it answers. Raises `SourceError`."""
    address = await vet(url, rules)
    if address.protocol is Protocol.HTTP:
        async with reach(url, rules):
            return
    if address.protocol in (Protocol.RTMP, Protocol.RTSP):
        try:
            _, writer = await rules.connect(address.host, address.port, encrypted=address.encrypted)
        except OSError as error:
            raise SourceUnreachableError(f"{address.shown} cannot be reached: {reason(error)}") from error
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def vet(url: str, rules: Rules) -> StreamAddress:
    """Refuse an address that may not be pulled from, without asking it anything. Raises `SourceError`."""
    address = parse(url)
    if address.host:
        await rules.vetted(address.host, address.port)
    return address


def plan(stream: Stream, settings: Settings) -> tuple[str, Rules]:
    """Where a stream is fetched from, and by which rules. Raises `SourceError`."""
    url, exact = stream.url, stream.exact_host_allowed
    if url == Protocol.PUSH_RTMP:
        if not settings.rtmp_server:
            raise SourceError("there is no server for RTMP here any more; set STREAMARCHIVE_RTMP_SERVER")
        url, exact = f"{settings.rtmp_server.rstrip('/')}/{stream.id}", True
    return url, rules_for(url, settings, exact=exact)


def rules_for(url: str, settings: Settings, *, exact: bool = False) -> Rules:
    """What may be connected to for this address: if `exact`, its very host and port too. Raises `SourceError`."""
    address = parse(url)
    return Rules(settings.networks, (address.host, address.port) if exact else None)


# --- lists for ffmpeg -----------------------------------------------------------------------------------


def _transports(protocol: Protocol) -> str:
    return "tcp" if protocol is Protocol.RTSP else "rtmp,tcp"


def _relayed(address: StreamAddress, relay: Relay) -> str:
    options = _RTSP_OPTIONS
    if address.protocol is Protocol.RTMP:
        # The server is told its own name, not the relay's: it may serve several.
        options = {"rw_timeout": _TWICE, "rtmp_tcurl": _application_url(address)}
    return commands.source_list(relay.url, _transports(address.protocol), _DEMUXERS[address.protocol], **options)


def _application_url(address: StreamAddress) -> str:
    """An RTMP address without the name of its stream: its first two parts of three, or its first of two."""
    parts = yarl.URL(address.url, encoded=True)
    names = parts.raw_path.strip("/").split("/")
    application = "/".join(names[:2] if len(names) > 2 and ":" not in names[1] else names[:1])
    return f"{parts.scheme}://{parts.raw_authority.rpartition('@')[2]}/{application}"


async def _srt(address: StreamAddress, rules: Rules) -> str:
    host = "0.0.0.0"  # noqa: S104 - an encoder sends from wherever it is; the passphrase keeps others out
    if address.protocol is Protocol.SRT:
        found = (await rules.vetted(address.host, address.port))[0]
        host = f"[{found}]" if found.version == 6 else str(found)
    return commands.source_list(f"srt://{host}:{address.port}", "srt", "mpegts", **address.options)


# --- looking over HTTP ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    url: str
    """Redirects followed."""
    hls: bool
    ended: bool
    listed: tuple[float, ...] = ()
    variant: str | None = None
    """For an HLS playlist of playlists: the first of them."""


async def _look_over_http(address: StreamAddress, proxy: VettingProxy) -> Way:
    timeout = aiohttp.ClientTimeout(total=CONNECT_SECONDS * 3, sock_read=CONNECT_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout, proxy=proxy.url) as session:
            found = await _follow(session, proxy, address.url)
            variant = await _follow(session, proxy, found.variant) if found.variant else found
    except TimeoutError as error:
        raise SourceUnreachableError(f"{address.shown} does not answer; is the stream on air?") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        if proxy.problem is not None:
            raise proxy.problem from error
        raise SourceUnreachableError(f"{address.shown} cannot be reached: {_reason(error)}") from error
    proxy.source_url = found.url
    return Way(
        Protocol.HTTP,
        found.hls,
        variant.ended,
        listed=variant.listed,
        environment=proxy.environment,
        _guard=proxy,
    )


async def _follow(session: aiohttp.ClientSession, proxy: VettingProxy, url: str) -> _Found:
    for _ in range(_MAX_REDIRECTS + 1):
        address = parse(url)
        if address.protocol is not Protocol.HTTP:
            raise SourceError(f"the source leads to {address.shown}, which is not http:// or https://")
        async with session.get(
            yarl.URL(address.url, encoded=True),
            headers={"User-Agent": "StreamArchive", "Accept-Encoding": "identity"},
            allow_redirects=False,
        ) as response:
            if proxy.problem is not None:
                raise proxy.problem
            if response.status not in _REDIRECTS or not (location := response.headers.get("Location")):
                return await _judge(address, response)
        url = urljoin(url, location)
    raise SourceError(f"{parse(url).shown} redirects more than {_MAX_REDIRECTS} times")


async def _judge(address: StreamAddress, response: aiohttp.ClientResponse) -> _Found:
    if response.status >= 400:
        raise SourceError(f"{address.shown} answers {response.status} {response.reason}; is the stream on air?")
    head = await _read(response, _HEAD_BYTES)
    if head.lstrip(b"\xef\xbb\xbf").startswith(b"#EXTM3U"):
        playlist = (head + await _read(response, _PLAYLIST_BYTES)).decode("utf-8", "replace")
        variant = _first_variant(address.url, playlist)
        listed = tuple(float(seconds) for seconds in _DURATION.findall(playlist))
        ended = "#EXT-X-ENDLIST" in playlist
        return _Found(address.url, hls=True, ended=ended, listed=listed, variant=variant)
    if kind_of(head) in _PROGRESSIVE:
        return _Found(address.url, hls=False, ended=response.content_length is not None)
    raise SourceError(
        f"{address.shown} is no stream that can be recorded; HLS, and MPEG-TS, AAC or MP3 over HTTP can"
    )


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
    data = b""
    while len(data) < most and (chunk := await response.content.read(most - len(data))):
        data += chunk
    return data


def _first_variant(url: str, playlist: str) -> str | None:
    lines = iter(playlist.splitlines())
    if any(line.startswith("#EXT-X-STREAM-INF") for line in lines):
        return next((urljoin(url, line.strip()) for line in lines if line.strip() and line[0] != "#"), None)
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return reason(error.certificate_error)
    if isinstance(error, aiohttp.ClientResponseError | ValueError):
        return "what it answers is not HTTP"
    return without_secrets(reason(error))
