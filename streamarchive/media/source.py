"""What may be pulled, and what is there: the address of a stream, vetted before ffmpeg gets it.

Only HTTP and HTTPS for now: HLS, and progressive MPEG-TS, AAC and MP3. Addresses in private networks are
refused unless a setting lists the network or a person at the command line gave this very address. The vetting
covers the address and its redirects; what an HLS playlist names in turn is fetched by ffmpeg, whose own
whitelists keep it to HTTP but not to public addresses.
"""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
import re
import socket
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from urllib.parse import SplitResult, urljoin, urlsplit

from streamarchive.errors import SourceError, SourceUnreachableError
from streamarchive.media.probe import kind_of
from streamarchive.settings import redact

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

TIMEOUT = 8.0
"""Seconds to wait for a source's answer."""
_MAX_REDIRECTS = 5
_HEAD_BYTES = 600
_PLAYLIST_BYTES = 1 << 20
_DURATION = re.compile(r"^#EXTINF:(\d+(?:\.\d+)?)", re.MULTILINE)
_PROGRESSIVE = frozenset({"mpegts", "aac", "mp3"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Source:
    """A stream that answers."""

    url: str
    """Where it is, redirects followed."""
    hls: bool
    ended: bool
    """It says itself that nothing more will come: an HLS playlist with an end, a file of known length."""
    variant: str | None = None
    """For an HLS playlist of playlists: the first of them."""
    listed: tuple[float, ...] = ()
    """How long each segment of an HLS playlist is, in seconds."""

    def segments_of_last(self, seconds: float) -> int:
        """How many of its newest segments hold so much time."""
        ends = accumulate(reversed(self.listed))
        return next((number for number, end in enumerate(ends, 1) if end >= seconds), len(self.listed))


async def check(url: str, networks: Sequence[Network] = (), *, exact_host_allowed: bool = False) -> Source:
    """Vet an address and look at what it answers. Raises `SourceError`, one sentence."""
    try:
        return await asyncio.wait_for(
            asyncio.to_thread(_check, url, tuple(networks), exact_host_allowed=exact_host_allowed), TIMEOUT * 3
        )
    except TimeoutError as error:
        raise SourceUnreachableError(f"{redact(url)} does not answer; is the stream on air?") from error


async def vet(url: str, networks: Sequence[Network] = (), *, exact_host_allowed: bool = False) -> None:
    """Refuse an address that may not be pulled from, without asking it anything. Raises `SourceError`."""
    await asyncio.to_thread(_vet, url, tuple(networks), exact_host_allowed=exact_host_allowed)


def refuse_private(addresses: Iterable[Address], networks: Sequence[Network], host: str) -> None:
    """Raise `SourceError` if any of these addresses of `host` is not public and in none of the networks."""
    for address in addresses:
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        plain = mapped or address
        listed = any(plain in network for network in networks if network.version == plain.version)
        if not listed and (not plain.is_global or plain.is_multicast):
            raise SourceError(
                f"{host} is {plain}, an address in a private network; "
                "list the network in STREAMARCHIVE_ALLOW_NETWORKS to record from it"
            )


def _vet(url: str, networks: Sequence[Network], *, exact_host_allowed: bool) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SourceError(f"{url!r} is not an address: {error}") from error
    if parts.scheme not in ("http", "https"):
        what = f"{parts.scheme}://" if parts.scheme else "no scheme"
        raise SourceError(f"{redact(url)!r} has {what}; streams are recorded from http:// and https:// addresses")
    if not parts.hostname:
        raise SourceError(f"{redact(url)!r} names no host")
    addresses = _resolve(parts.hostname, port or (443 if parts.scheme == "https" else 80))
    if not exact_host_allowed:
        refuse_private(addresses, networks, parts.hostname)
    return parts


def _resolve(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SourceUnreachableError(
            f"the host {host} is not known; check the address for a typing error"
        ) from error
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def _check(url: str, networks: Sequence[Network], *, exact_host_allowed: bool) -> Source:
    found = _look(url, networks, exact_host_allowed=exact_host_allowed)
    if found.variant is None:
        return found
    same_host = urlsplit(found.variant).hostname == urlsplit(url).hostname
    variant = _look(found.variant, networks, exact_host_allowed=exact_host_allowed and same_host)
    return replace(found, ended=variant.ended, listed=variant.listed)


def _first_variant(url: str, playlist: str) -> str | None:
    lines = iter(playlist.splitlines())
    if any(line.startswith("#EXT-X-STREAM-INF") for line in lines):
        return next((urljoin(url, line.strip()) for line in lines if line.strip() and line[0] != "#"), None)
    return None


def _look(url: str, networks: Sequence[Network], *, exact_host_allowed: bool) -> Source:
    given = urlsplit(url).hostname
    for _ in range(_MAX_REDIRECTS + 1):
        same_host = urlsplit(url).hostname == given
        parts = _vet(url, networks, exact_host_allowed=exact_host_allowed and same_host)
        try:
            target = _request(url, parts)
        except (OSError, http.client.HTTPException) as error:
            raise SourceUnreachableError(f"{redact(url)} cannot be reached: {_reason(error)}") from error
        if isinstance(target, Source):
            return target
        url = urljoin(url, target)
    raise SourceError(f"{redact(url)} redirects more than {_MAX_REDIRECTS} times")


def _request(url: str, parts: SplitResult) -> Source | str:
    """What the address holds, or where it sends us."""
    connection = _connect(parts)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"User-Agent": "StreamArchive", "Accept": "*/*"})
        response = connection.getresponse()
        if response.status in _REDIRECTS and (location := response.getheader("Location")):
            return location
        if response.status >= 400:
            raise SourceError(f"{redact(url)} answers {response.status} {response.reason}; is the stream on air?")
        return _judge(url, response)
    finally:
        connection.close()


def _connect(parts: SplitResult) -> http.client.HTTPConnection:
    assert parts.hostname is not None  # noqa: S101 - vetted
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT, context=context)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT)


def _judge(url: str, response: http.client.HTTPResponse) -> Source:
    head = response.read(_HEAD_BYTES)
    if head.lstrip(b"\xef\xbb\xbf").startswith(b"#EXTM3U"):
        playlist = (head + response.read(_PLAYLIST_BYTES)).decode("utf-8", "replace")
        return Source(
            url,
            hls=True,
            ended="#EXT-X-ENDLIST" in playlist,
            variant=_first_variant(url, playlist),
            listed=tuple(float(seconds) for seconds in _DURATION.findall(playlist)),
        )
    if kind_of(head) in _PROGRESSIVE:
        return Source(url, hls=False, ended=response.length is not None)
    raise SourceError(
        f"{redact(url)} is no stream that can be recorded; HLS, and MPEG-TS, AAC or MP3 over HTTP can"
    )


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, ConnectionRefusedError):
        return "the connection is refused; is the stream on air?"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
