"""The addresses that streams have: which there are, what they need, and how they are shown without their secrets.

    http, https     HLS, and MPEG-TS, AAC or MP3 as they come
    rtmp, rtmps     pulled from a server
    rtsp, rtsps     cameras; media inside the same TCP connection
    srt             pulled (``mode=caller``), or received from an encoder (``mode=listener``, with a passphrase)
    push:http       received by the site from an encoder that has the stream's token
    push:rtmp       the same through a server for RTMP that stands beside the archive

What is secret in an address cannot be told by looking at it, so what is shown leaves out all that may be: user,
password, query, and the name of an RTMP stream.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

from streamarchive.errors import SourceError


class Protocol(StrEnum):
    """How a stream comes in."""

    HTTP = "http"
    RTMP = "rtmp"
    RTSP = "rtsp"
    SRT = "srt"
    SRT_LISTENER = "srt-listener"
    PUSH_HTTP = "push:http"
    PUSH_RTMP = "push:rtmp"


PUSHED = (Protocol.PUSH_HTTP, Protocol.PUSH_RTMP)
"""An encoder sends them, with the stream's token; each is its own address."""
_SCHEMES = {
    "http": (Protocol.HTTP, 80),
    "https": (Protocol.HTTP, 443),
    "rtmp": (Protocol.RTMP, 1935),
    "rtmps": (Protocol.RTMP, 443),
    "rtsp": (Protocol.RTSP, 554),
    "rtsps": (Protocol.RTSP, 322),
    "srt": (Protocol.SRT, 0),
}
_ENCRYPTED = frozenset({"https", "rtmps", "rtsps"})
_SRT_OPTIONS = frozenset({"mode", "passphrase", "pbkeylen", "latency", "streamid"})
_SRT_MODES = {"caller": Protocol.SRT, "listener": Protocol.SRT_LISTENER}
_PASSPHRASE_CHARACTERS = range(10, 80)
_FIRST_FREE_PORT = 1024
_URL = re.compile(r"[a-z][a-z0-9+.-]*:/{1,2}[^\s'\"<>]+", re.IGNORECASE)
_NOT_ENCODED = "%/:=&?~#+!$,;'@()*[]"


@dataclass(frozen=True, slots=True)
class StreamAddress:
    """An address that makes sense; whether it may be used is for `streamarchive.media.egress` to say."""

    url: str = field(repr=False)
    """All of it, secrets included, in ASCII."""
    protocol: Protocol
    host: str
    """Empty where we are the ones who listen."""
    port: int
    encrypted: bool
    options: dict[str, str] = field(default_factory=dict, repr=False)
    """Of SRT."""

    @property
    def shown(self) -> str:
        """For people and logs."""
        return shown(self.url)

    def at(self, host: str, port: int, scheme: str) -> str:
        """The same address with another scheme, host and port; who asks and for what stays."""
        parts = urlsplit(self.url)
        user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        return parts._replace(scheme=scheme, netloc=f"{user}{_bracketed(host)}:{port}").geturl()


def parse(url: str) -> StreamAddress:
    """Read an address. Raises `SourceError`, one sentence, for one that cannot be a stream's."""
    if url in PUSHED:
        return StreamAddress(url, Protocol(url), "", 0, encrypted=False)
    if any(character <= " " or character == "\x7f" for character in url):
        raise SourceError(f"{shown(url)!r} has blanks in it; copy the address once more")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SourceError(f"{shown(url)!r} is no address: {error}") from error
    if parts.scheme not in _SCHEMES:
        what = f"{parts.scheme}://" if parts.scheme else "no scheme"
        raise SourceError(
            f"{shown(url)!r} has {what}; streams are recorded from http(s)://, rtmp(s)://, rtsp(s):// and srt://"
        )
    protocol, usual_port = _SCHEMES[parts.scheme]
    ascii_url = quote(url, safe=_NOT_ENCODED)
    if protocol is Protocol.SRT:
        return _parse_srt(ascii_url, parts, port)
    if not parts.hostname:
        raise SourceError(f"{shown(url)!r} names no host")
    if protocol is Protocol.RTMP and not parts.path.strip("/"):
        raise SourceError(f"{shown(url)!r} names no stream; write rtmp://host/application/stream")
    return StreamAddress(
        ascii_url, protocol, parts.hostname, port or usual_port, encrypted=parts.scheme in _ENCRYPTED
    )


def _parse_srt(url: str, parts: SplitResult, port: int | None) -> StreamAddress:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(set(options) - _SRT_OPTIONS)
    if unknown:
        known = ", ".join(sorted(_SRT_OPTIONS))
        raise SourceError(f"{shown(url)!r} has the option {unknown[0]!r}; SRT takes {known}")
    if any(not value.isprintable() for value in options.values()):
        raise SourceError(f"{shown(url)!r} has control characters in its options; copy the address once more")
    if not port:
        raise SourceError(f"{shown(url)!r} names no port; SRT has no usual one")
    protocol = _SRT_MODES.get(options.setdefault("mode", "caller"))
    if protocol is None:
        raise SourceError("the mode of an SRT address is caller (we ask the source) or listener (it sends to us)")
    passphrase = options.get("passphrase")
    if passphrase is not None and len(passphrase) not in _PASSPHRASE_CHARACTERS:
        raise SourceError("the passphrase of an SRT address has 10 to 79 characters")
    if protocol is Protocol.SRT and not parts.hostname:
        raise SourceError(f"{shown(url)!r} names no host; to wait for an encoder instead, add mode=listener")
    if protocol is Protocol.SRT_LISTENER:
        _check_listener(parts, port, passphrase)
    return StreamAddress(url, protocol, parts.hostname or "", port, encrypted=bool(passphrase), options=options)


def _check_listener(parts: SplitResult, port: int, passphrase: str | None) -> None:
    if parts.hostname:
        raise SourceError(f"a listener has no host: write srt://:{port}?mode=listener&passphrase=…")
    if passphrase is None:
        raise SourceError("a listener needs a passphrase, else anybody could send to it: add &passphrase=…")
    if port < _FIRST_FREE_PORT:
        raise SourceError(f"a listener's port is {_FIRST_FREE_PORT} or higher")


def shown(url: str) -> str:
    """An address without what may be secret in it; also one that is none."""
    if url in PUSHED:
        return url
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return f"{url.partition(':')[0]}:…"
    path = parts.path
    if parts.scheme.startswith("rtmp"):
        application, slash, stream = path.removeprefix("/").partition("/")
        path = f"/{application}/…" if slash and stream else path
    query = "?mode=listener" if parts.scheme == "srt" and "mode=listener" in parts.query else ""
    query = query or ("?…" if parts.query else "")
    place = f"{_bracketed(host)}:{port}" if port else _bracketed(host)
    return f"{parts.scheme}://{place}{path}{query}" if parts.scheme else path


def without_secrets(text: str) -> str:
    """A message, ffmpeg's for instance, with every address in it as it may be shown."""
    return _URL.sub(lambda found: shown(found[0]), text)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
