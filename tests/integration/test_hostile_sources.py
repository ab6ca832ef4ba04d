"""What a source can name is not what we fetch: a canary server and a canary file are never touched."""

from __future__ import annotations

import asyncio
import contextlib
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import quote

import pytest

from streamarchive.errors import SourceError
from streamarchive.media import commands, sandbox, source
from streamarchive.media.egress import Rules
from streamarchive.media.process import FfmpegProcess
from tests.encoders import encoder
from tests.hostile import HERE, Rebinding, allowed, hostile
from tests.media import make
from tests.services import free_port
from tests.waiting import until_async

LISTS = (
    "file",
    "absolute",
    "segment",
    "redirected",
    "key",
    "map",
    "variant",
    "rendition",
    "crypto",
    "nested",
    "tcp",
)
NAMES = (
    *(f"{name}.m3u8" for name in LISTS),
    "named.mp4",
    "list.mp4",
    "list.ts",
    "dash.mpd",
    "session.sdp",
    "redirect/whole",
)
SECONDS = 6


@pytest.fixture
async def corpus(tmp_path):
    segment = make(tmp_path / "segment.ts", 2)
    canary = make(tmp_path / "canary.ts", 2)
    async with hostile(segment.read_bytes(), canary) as served:
        yield served


async def record(url, rules, folder, begun=lambda _way: True):
    """Try to record it as a recorder does, for some seconds from when it has `begun`; why that was refused."""
    folder.mkdir()
    try:
        async with source.reach(url, rules) as way:
            arguments = commands.record(way.input(), spool=None)
            with way.stdin() as stdin:
                process = await FfmpegProcess.start(
                    arguments,
                    cwd=folder,
                    wrapper=sandbox.wrapper(sandbox.RECORD),
                    stdin=stdin,
                    environ=way.environment,
                )
            async with process:

                async def has_begun():
                    return begun(way) or process.returncode is not None

                await until_async(has_begun, f"something to come of {url}")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), SECONDS)
            return way.refusal or process.complaint
    except SourceError as error:
        return str(error)


async def listens(port):
    """Whether somebody receives UDP there, as SRT does."""
    return f":{port:04X} " in Path("/proc/net/udp").read_text()


async def test_nothing_that_a_source_names_leads_into_our_network(corpus, tmp_path):
    refused = {"key.m3u8", "map.m3u8", "segment.m3u8", "redirected.m3u8", "redirect/whole"}

    def try_to_record(number, name):
        def begun(way):
            return way.refusal if name in refused else name in corpus.asked

        return record(f"{corpus.base}/{name}", allowed(), tmp_path / f"work{number}", begun)

    reasons = await asyncio.gather(*(try_to_record(number, name) for number, name in enumerate(NAMES)))
    said = dict(zip(NAMES, reasons, strict=True))
    assert corpus.hits == []
    assert not corpus.file_was_read
    assert set(NAMES) <= set(corpus.asked)
    for name in refused:
        assert "private network" in said[name], f"{name} is refused for what it is: {said[name]}"


async def test_the_canary_would_sing(corpus, tmp_path):
    """With everything allowed, the same corpus reaches it: the test above can fail."""
    everything = Rules((ip_network("127.0.0.0/8"),))
    await record(f"{corpus.base}/key.m3u8", everything, tmp_path / "work", lambda _way: corpus.hits)
    assert corpus.hits
    corpus.canary_file.read_bytes()
    assert corpus.file_was_read


async def test_a_name_that_changes_its_address_is_vetted_again(corpus, tmp_path):
    resolver = Rebinding()
    address = f"http://rebind.test:{corpus.port}/good.m3u8"
    reason = await record(address, allowed(resolver), tmp_path / "work", lambda way: way.refusal)
    assert resolver.answers > 1
    assert corpus.hits == []
    assert "private network" in reason


MOVED = "RTSP/1.0 302 Moved\r\n{cseq}\r\nLocation: {place}\r\n\r\n"
REDIRECTS = {
    "openly": MOVED,
    "behind media": "$\0\0\0" + MOVED,
    "with a number that begins with 0": MOVED.replace("302", "0302"),
    "with a number behind two blanks": MOVED.replace(" 302", "  302"),
    "inside a head": "RTSP/1.0 200 OK\n{cseq}\n\n" + MOVED,
    "inside a head that ends with three signs": "RTSP/1.0 200 OK\r\n{cseq}\r\n\r\r\n" + MOVED,
    "inside a body": "RTSP/1.0 200 OK\r\n{cseq}\r\nContent-Length: 999\r\nContent-Length: 0\r\n\r\n" + MOVED,
    "behind media inside a head": "RTSP/1.0 200 OK\r\n$\0\0\0\r\n" + MOVED,
    "by a request": "REDIRECT {place} RTSP/1.0\r\n{cseq}\r\nLocation: {place}\r\n\r\n",
}


@pytest.mark.parametrize("answer", REDIRECTS.values(), ids=REDIRECTS)
async def test_an_rtsp_server_cannot_send_us_elsewhere(corpus, tmp_path, answer):
    async def redirect(reader, writer):
        asked = (await reader.readuntil(b"\r\n\r\n")).decode()
        cseq = next(line for line in asked.split("\r\n") if line.startswith("CSeq"))
        place = f"rtsp://127.0.0.1:{corpus.port}/camera"
        writer.write(answer.format(cseq=cseq, place=place).encode())
        await reader.read()
        writer.close()

    server = await asyncio.start_server(redirect, HERE, 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reason = await record(
            f"rtsp://{HERE}:{port}/camera", allowed(), tmp_path / "work", lambda way: way.refusal
        )
    assert corpus.hits == []
    assert "sends us elsewhere" in reason or "does not speak RTSP" in reason


async def test_an_srt_source_cannot_pass_for_a_list(corpus, tmp_path):
    text = tmp_path / "list.txt"
    text.write_text(f"ffconcat version 1.0\nfile 'file:{corpus.canary_file}'\nfile '{corpus.canary}/srt'\n")
    port = free_port()
    target = f"srt://{HERE}:{port}?mode=listener"
    inputs = ("-f", "data", "-i", str(text))
    async with encoder("-map", "0", "-f", "data", target, codecs=("-c", "copy"), inputs=inputs):
        await until_async(lambda: listens(port), "the source listens")
        await record(f"srt://{HERE}:{port}", allowed(), tmp_path / "work")
    assert corpus.hits == []
    assert not corpus.file_was_read


async def test_the_options_of_an_srt_address_cannot_be_lines_of_a_list(corpus, tmp_path):
    port = free_port()
    lines = "\n".join(
        (
            "x",
            "outpoint 0.5",
            f"file file:{corpus.canary_file}",
            "option protocol_whitelist file",
            "option format_whitelist mpegts",
        )
    )
    async with encoder("-f", "mpegts", f"srt://{HERE}:{port}?mode=listener"):
        await until_async(lambda: listens(port), "the source listens")
        reason = await record(f"srt://{HERE}:{port}?streamid={quote(lines)}", allowed(), tmp_path / "work")
    assert not corpus.file_was_read
    assert "control characters" in reason


async def test_nobody_else_can_use_the_proxy(corpus):
    async with source.reach(f"{corpus.base}/good.m3u8", allowed()) as way:
        port = int(way.environment["http_proxy"].rpartition(":")[2])
        for login in ("", "Proxy-Authorization: Basic ZmZtcGVnOmd1ZXNz\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET http://source.invalid/stream HTTP/1.1\r\n{login}\r\n".encode())
            answer = (await reader.read()).decode()
            assert answer.startswith("HTTP/1.1 407")
            assert "good.m3u8" not in answer
            writer.close()
            await writer.wait_closed()
