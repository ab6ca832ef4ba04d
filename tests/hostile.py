"""Sources that mean harm, and what they are after: a server on loopback and a file beside the archive.

They live on 127.0.0.2, which the tests list as allowed; the canary listens on the same port of 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path

from aiohttp import web

from streamarchive.media.egress import Address, Rules, system_resolver

HERE, CANARY = "127.0.0.2", "127.0.0.1"
_LONG_AGO = 1_000_000_000
NETWORK = ip_network(f"{HERE}/32")


@dataclass
class Hostile:
    """The corpus: `playlists` by name, below `base`; what of the canary was touched is in `hits`."""

    segment: bytes
    canary_file: Path
    port: int = 0
    hits: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def base(self) -> str:
        return f"http://{HERE}:{self.port}"

    @property
    def canary(self) -> str:
        return f"http://{CANARY}:{self.port}"

    def text(self, name: str) -> str | None:
        """What the server answers for this name."""
        file, canary = f"file:{self.canary_file}", f"{self.canary}/{name}"
        here = f"{self.base}/segment.ts"
        return {
            "file.m3u8": media(file),
            "absolute.m3u8": media(str(self.canary_file)),
            "named.mp4": media(file),
            "segment.m3u8": media(here, canary),
            "redirected.m3u8": media(here, f"{self.base}/redirect/{name}"),
            "key.m3u8": media(here, key=canary),
            "map.m3u8": media(here, tag=f'#EXT-X-MAP:URI="{canary}"'),
            "variant.m3u8": variants(f"{self.base}/good.m3u8", canary),
            "rendition.m3u8": variants(f"{self.base}/good.m3u8", rendition=canary),
            "crypto.m3u8": media(f"crypto+{canary}", f"crypto+{file}", here),
            "nested.m3u8": media(f"concat:{file}|{file}", f"subfile,,start,0,end,9,,:{file}", here),
            "tcp.m3u8": media(f"tcp://{CANARY}:{self.port}", f"rtmp://{CANARY}:{self.port}/a/b", here),
            "good.m3u8": media(here),
            "list.mp4": f"ffconcat version 1.0\nfile '{file}'\nfile '{canary}'\n",
            "list.ts": f"ffconcat version 1.0\nfile '{file}'\nfile '{canary}'\n",
            "dash.mpd": DASH.format(url=canary),
            "session.sdp": SDP.format(host=CANARY, port=self.port),
        }.get(name)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        name = request.path.removeprefix("/")
        self.asked.append(name)
        if name == "segment.ts":
            return web.Response(body=self.segment, content_type="video/mp2t")
        if name.startswith("redirect/"):
            raise web.HTTPFound(f"{self.canary}/{name}")
        content = self.text(name)
        if content is None:
            raise web.HTTPNotFound
        return web.Response(text=content, content_type="application/vnd.apple.mpegurl")

    async def be_hit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readline()
        self.hits.append(first.decode("latin-1").strip() or "a connection")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    @property
    def file_was_read(self) -> bool:
        """Whether anybody has read the file since `rest`."""
        return int(self.canary_file.stat().st_atime) != _LONG_AGO

    def rest(self) -> None:
        """Forget that it was read: a time of access before that of the last change is set anew by any read."""
        os.utime(self.canary_file, (_LONG_AGO, _LONG_AGO + 1))


def media(*uris: str, key: str = "", tag: str = "") -> str:
    lines = ["#EXTM3U", "#EXT-X-VERSION:6", "#EXT-X-TARGETDURATION:2", "#EXT-X-MEDIA-SEQUENCE:1"]
    lines += [f'#EXT-X-KEY:METHOD=AES-128,URI="{key}"'] * bool(key) + [tag] * bool(tag)
    for uri in (*uris, *uris):
        lines += ["#EXTINF:2.0,", uri]
    return "\n".join(lines) + "\n"


def variants(*uris: str, rendition: str = "") -> str:
    lines = ["#EXTM3U"]
    if rendition:
        lines.append(
            f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="x",DEFAULT=YES,AUTOSELECT=YES,URI="{rendition}"'
        )
    for uri in uris:
        group = ',AUDIO="a"' if rendition else ""
        lines += [f"#EXT-X-STREAM-INF:BANDWIDTH=900000{group}", uri]
    return "\n".join(lines) + "\n"


DASH = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011" type="static"
 mediaPresentationDuration="PT4S"><Period><AdaptationSet mimeType="video/mp4">
<Representation id="1" bandwidth="1">
<BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period></MPD>
"""
SDP = """v=0
o=- 0 0 IN IP4 {host}
s=x
c=IN IP4 {host}
t=0 0
m=video {port} RTP/AVP 96
a=rtpmap:96 H264/90000
"""


class Rebinding:
    """The resolver of a name that points here when it is vetted, and to the canary ever after."""

    def __init__(self) -> None:
        self.answers = 0

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        if host != "rebind.test":
            return await system_resolver(host, port)
        self.answers += 1
        return [ip_address(HERE if self.answers == 1 else CANARY)]


@contextlib.asynccontextmanager
async def hostile(segment: bytes, canary_file: Path) -> AsyncIterator[Hostile]:
    """The corpus, served until the end of the block."""
    corpus = Hostile(segment, canary_file)
    app = web.Application()
    app.router.add_get("/{path:.*}", corpus.answer)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    # The port is chosen where many others are in use; on the other address all are free.
    canary = await asyncio.start_server(corpus.be_hit, CANARY, 0)
    corpus.port = canary.sockets[0].getsockname()[1]
    await web.TCPSite(runner, HERE, corpus.port).start()
    corpus.rest()
    try:
        yield corpus
    finally:
        canary.close()
        await runner.cleanup()


def allowed(resolve=system_resolver) -> Rules:
    """The rules of an operator who has listed this network."""
    return Rules((NETWORK,), resolve=resolve)
