from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from streamarchive.errors import SourceError
from streamarchive.media import source

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
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public_are_refused(address):
    with pytest.raises(SourceError, match="private network"):
        source.refuse_private([ip_address(address)], (), "camera")


def test_one_private_address_among_public_ones_is_enough():
    addresses = [ip_address("93.184.216.34"), ip_address("10.0.0.1")]
    with pytest.raises(SourceError, match=r"10\.0\.0\.1"):
        source.refuse_private(addresses, (), "camera")


def test_a_listed_network_is_allowed():
    source.refuse_private([ip_address("10.1.2.3")], [ip_network("10.0.0.0/8")], "camera")


def test_public_addresses_are_allowed():
    source.refuse_private([ip_address("93.184.216.34"), ip_address("2606:2800:220:1::1")], (), "camera")


@pytest.mark.parametrize(
    "url",
    ["rtmp://host/app", "file:///etc/passwd", "ftp://host/x", "plain words", "http://", "http://host:port/"],
)
async def test_addresses_that_cannot_be_streams_are_refused_in_a_sentence(url):
    with pytest.raises(SourceError) as caught:
        await source.vet(url)
    assert "\n" not in str(caught.value)


async def test_a_loopback_address_needs_permission():
    with pytest.raises(SourceError, match="STREAMARCHIVE_ALLOW_NETWORKS"):
        await source.vet("http://127.0.0.1:1/live.m3u8")
    await source.vet("http://127.0.0.1:1/live.m3u8", exact_host_allowed=True)


async def test_a_password_in_the_address_is_not_shown():
    with pytest.raises(SourceError) as caught:
        await source.vet("srt://user:secret@host:1/x")
    assert "secret" not in str(caught.value)
