from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from streamarchive.errors import MediaError, SourceError
from streamarchive.media import commands, source
from streamarchive.media.addresses import Protocol, parse, shown, without_secrets
from streamarchive.media.egress import Rules, refuse_private

PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "192.168.0.7",
    "169.254.169.254",
    "0.0.0.0",
    "::1",
    "fe80::1",
    "::ffff:10.0.0.1",
    "100.64.0.1",
    "224.0.0.1",
    "fd00::1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "fec0::1",
    "2001:0:7f00:1::",
    "2002:7f00:1::",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public_are_refused(address):
    with pytest.raises(SourceError, match="private network"):
        refuse_private([ip_address(address)], (), "camera")


def test_one_private_address_among_public_ones_is_enough():
    addresses = [ip_address("93.184.216.34"), ip_address("10.0.0.1")]
    with pytest.raises(SourceError, match=r"10\.0\.0\.1"):
        refuse_private(addresses, (), "camera")


def test_a_listed_network_is_allowed():
    refuse_private([ip_address("10.1.2.3")], [ip_network("10.0.0.0/8")], "camera")
    refuse_private([ip_address("64:ff9b:1::a01:203")], [ip_network("64:ff9b:1::/48")], "camera")


def test_public_addresses_are_allowed():
    refuse_private([ip_address("93.184.216.34"), ip_address("2606:2800:220:1::1")], (), "camera")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://host/x",
        "concat:a|b",
        "plain words",
        "http://",
        "http://host:port/",
        "http://host/a\nb",
        "rtmp://host",
        "srt://host",
        "srt://host:0?mode=caller",
        "srt://host:9000?mode=rendezvous",
        "srt://host:9000?passphrase=short",
        "srt://host:9000?localaddr=10.0.0.1",
        "srt://host:9000?streamid=x%0Afile%20file:/etc/passwd",
        "srt://host:9000?passphrase=0123456789%0Doption%20protocol_whitelist%20file",
        "srt://host:9000?streamid=x%00",
        "srt://:9000?mode=listener",
        "srt://:80?mode=listener&passphrase=0123456789",
        "srt://10.0.0.1:9000?mode=listener&passphrase=0123456789",
    ],
)
def test_addresses_that_cannot_be_streams_are_refused_in_a_sentence(url):
    with pytest.raises(SourceError) as caught:
        parse(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("end", ["\n", "\r", "\0"])
def test_nothing_in_a_list_for_ffmpeg_begins_a_line_of_its_own(end):
    injected = f"x{end}file file:/etc/passwd"
    for url, options in (("srt://host:1", {"streamid": injected}), (injected, {})):
        with pytest.raises(MediaError, match="line break"):
            commands.source_list(url, "srt", "mpegts", **options)


@pytest.mark.parametrize(
    ("url", "protocol", "port"),
    [
        ("https://host/live.m3u8", Protocol.HTTP, 443),
        ("rtmp://host/app/stream", Protocol.RTMP, 1935),
        ("rtsps://user:word@host/camera", Protocol.RTSP, 322),
        ("srt://host:9000", Protocol.SRT, 9000),
        ("srt://:9000?mode=listener&passphrase=0123456789", Protocol.SRT_LISTENER, 9000),
        ("push:http", Protocol.PUSH_HTTP, 0),
    ],
)
def test_every_way_in_has_its_kind_of_address(url, protocol, port):
    address = parse(url)
    assert (address.protocol, address.port) == (protocol, port)


async def test_a_loopback_address_needs_permission():
    url = "http://127.0.0.1:1/live.m3u8"
    with pytest.raises(SourceError, match="STREAMARCHIVE_ALLOW_NETWORKS"):
        await source.vet(url, Rules())
    await source.vet(url, Rules(exact=("127.0.0.1", 1)))
    with pytest.raises(SourceError, match="private network"):
        await source.vet(url, Rules(exact=("127.0.0.1", 2)))


SECRET = [
    ("https://user:WORD@host/live.m3u8", "https://host/live.m3u8"),
    ("https://host:444/live.m3u8?token=WORD&x=1", "https://host:444/live.m3u8?…"),
    ("rtmp://host/app/WORD?key=WORD", "rtmp://host/app/…?…"),
    ("rtsp://user:WORD@[2001:db8::1]:554/camera", "rtsp://[2001:db8::1]:554/camera"),
    ("srt://:9000?mode=listener&passphrase=WORDWORDWORD", "srt://:9000?mode=listener"),
    ("srt://host:9000?passphrase=WORDWORDWORD", "srt://host:9000?…"),
    ("http://user:WORD@host:port/", "http:…"),
]


@pytest.mark.parametrize(("url", "expected"), SECRET)
def test_what_may_be_secret_in_an_address_is_not_shown(url, expected):
    assert shown(url) == expected
    assert (
        without_secrets(f"[srt @ 0x1] Connection to {url} failed")
        == f"[srt @ 0x1] Connection to {expected} failed"
    )


@pytest.mark.parametrize("url", [url for url, _ in SECRET])
def test_what_is_secret_is_in_no_representation(url):
    try:
        said = repr(parse(url))
    except SourceError as error:
        said = str(error)
    assert "WORD" not in said
