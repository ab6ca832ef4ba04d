"""Calling the addresses that people have given: signed, with patience that ends, and never into our own network.

Signatures are those of Standard Webhooks 1.0 (headers `webhook-id`, `webhook-timestamp`, `webhook-signature`;
HMAC-SHA256 over `id.timestamp.body`, in base64 behind `v1,`), which libraries in many languages check. A call
is repeated until it is answered with 2xx, always with the same id, so whoever gets one twice can tell.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import json
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult

from streamarchive.catalogue.saved_searches import SECRET_PREFIX
from streamarchive.errors import DeliveryError, SourceError, UsageError
from streamarchive.media.egress import Network, look_up, refuse_private

JOB = "webhook"
"""The kind of job that makes a call; its key is the id of the hit that is told."""
TIMEOUT = aiohttp.ClientTimeout(total=10, connect=5)
MAX_URL = 2_000


async def vet(url: str, networks: Sequence[Network] = ()) -> None:
    """Refuse an address that would not be called. Raises `UsageError` for what is none, else `DeliveryError`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url[:80]!r} is not an address: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or len(url) > MAX_URL:
        raise UsageError("a webhook's address begins with https:// or http:// and names a host")
    if parts.username is not None or parts.password is not None:
        raise UsageError("leave the password out of the webhook's address: every call is signed")
    resolver = _VettedResolver(networks)
    try:
        host = _host(url)
        _vet_literal(host, networks)
        await asyncio.wait_for(resolver.resolve(host, port or 443), TIMEOUT.connect)
    except (OSError, ValueError) as error:
        raise DeliveryError(f"the host {parts.hostname} is not known; check the address") from error
    finally:
        await resolver.close()


def signature(secret: str, call_id: str, timestamp: int, body: bytes) -> str:
    """What `webhook-signature` says."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = b".".join((call_id.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


async def call(
    url: str, secret: str, call_id: str, at: datetime, values: Mapping[str, Any], networks: Sequence[Network] = ()
) -> None:
    """Send it once. Raises `DeliveryError` unless it is taken (2xx); redirects are not followed."""
    body = json.dumps(values, ensure_ascii=False).encode()
    timestamp = int(at.timestamp())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "StreamArchive",
        "webhook-id": call_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, call_id, timestamp, body),
    }
    host = _host(url)
    connector = aiohttp.TCPConnector(resolver=_VettedResolver(networks), use_dns_cache=False)
    try:
        _vet_literal(host, networks)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=TIMEOUT, trust_env=False) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            if not 200 <= response.status < 300:
                raise DeliveryError(f"{host} answers {response.status}; it is called again")
    except TimeoutError as error:
        raise DeliveryError(
            f"{host} does not answer within {TIMEOUT.total:.0f} seconds; it is called again"
        ) from error
    except (aiohttp.ClientError, OSError, UnicodeError, ValueError) as error:
        raise DeliveryError(f"{host} cannot be reached; it is called again: {error}") from error
    finally:
        await connector.close()


class _VettedResolver(AbstractResolver):
    """Resolves a name once and gives out its addresses only if all of them may be called: the connection goes
    to what was vetted, whatever the name says a moment later."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        known = await look_up(host, port, family, socket.AI_ADDRCONFIG)
        found = [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in known
        ]
        _refuse([each["host"] for each in found], self._networks, host)
        return found

    async def close(self) -> None:
        """Nothing is held open."""


def _host(url: str) -> str:
    """As the client will read it, which is not how everybody does: to it, ①②⑦ is 127."""
    return yarl.URL(url).raw_host or ""


def _vet_literal(host: str, networks: Sequence[Network]) -> None:
    """An address in figures is not resolved, so it is looked at here."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    _refuse([host], networks, host)


def _refuse(addresses: Sequence[str], networks: Sequence[Network], host: str) -> None:
    try:
        refuse_private([ipaddress.ip_address(each.partition("%")[0]) for each in addresses], networks, host)
    except SourceError as error:
        raise DeliveryError(
            f"{host} is in a private network; the operator can list it in STREAMARCHIVE_ALLOW_NETWORKS"
        ) from error
