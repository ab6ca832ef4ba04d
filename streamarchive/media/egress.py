"""Where streams may be pulled from: hosts are resolved once, their addresses vetted, and those connected to.

Addresses in private networks are refused unless a setting lists the network, or a person at the command line has
named this very host and port. The vetting is done where the connection is made, so a redirect, a playlist, a key
or a DNS answer that changes cannot get around it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

from streamarchive.errors import SourceError, SourceUnreachableError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Awaitable[Sequence[Address]]]
Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Carrier = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]

CONNECT_SECONDS = 8.0
"""How long a name may take to be resolved, and a host to take a connection."""
CHUNK_BYTES = 1 << 16
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""What a NAT64 gateway makes of IPv4."""
_GIVEN_OUT = ipaddress.IPv6Network("2000::/3")
"""The part of IPv6 that public addresses are from (IANA); outside of it, IPv4 is wrapped in several more ways."""


_NAMES = ThreadPoolExecutor(16, thread_name_prefix="names")
"""Threads of their own: a name server that is silent holds one for up to a minute, and those that read and write
files are few."""


async def look_up(host: str, port: int, family: int = 0, flags: int = 0) -> list[Any]:
    """What this machine knows of a host, as `socket.getaddrinfo` tells it. Raises `OSError`."""
    ask = partial(socket.getaddrinfo, host, port, family=family, type=socket.SOCK_STREAM, flags=flags)
    return await asyncio.get_running_loop().run_in_executor(_NAMES, ask)


async def system_resolver(host: str, port: int) -> Sequence[Address]:
    """The addresses of a host, as this machine knows them. Raises `OSError`."""
    found = await look_up(host, port)
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be connected to."""

    networks: tuple[Network, ...] = ()
    """Private networks that are allowed."""
    exact: tuple[str, int] | None = None
    """A host and port that a person has named, wherever they are."""
    resolve: Resolver = system_resolver

    async def vetted(self, host: str, port: int) -> list[Address]:
        """The addresses of a host that may be connected to. Raises `SourceError`."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                addresses = list(dict.fromkeys(await self.resolve(host, port)))
        except (OSError, UnicodeError) as error:  # a time-out is an OSError
            raise SourceUnreachableError(
                f"the host {host} is not known; check the address for a typing error"
            ) from error
        if (host, port) != self.exact:
            refuse_private(addresses, self.networks, host)
        return addresses

    async def connect(self, host: str, port: int, *, encrypted: bool = False) -> Wire:
        """A connection to one of the host's vetted addresses. Raises `SourceError`, `OSError`."""
        addresses = await self.vetted(host, port)
        context = await asyncio.to_thread(ssl.create_default_context) if encrypted else None
        problem: OSError = ConnectionError(f"{host} has no address")
        for address in addresses:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(
                        str(address), port, ssl=context, server_hostname=host if encrypted else None
                    )
            except OSError as error:
                problem = error
        raise problem


def refuse_private(addresses: Iterable[Address], networks: Sequence[Network], host: str) -> None:
    """Raise `SourceError` if any of these addresses of `host` is not public and in none of the networks."""
    for address in addresses:
        for meant in _meant(address):
            listed = any(meant in network for network in networks if network.version == meant.version)
            if not listed and not _is_public(meant):
                raise SourceError(
                    f"{host} is {meant}, an address in a private network; "
                    "list the network in STREAMARCHIVE_ALLOW_NETWORKS to record from it"
                )


def _is_public(address: Address) -> bool:
    given_out = isinstance(address, ipaddress.IPv4Address) or address in _GIVEN_OUT
    return given_out and address.is_global and not address.is_multicast


def _meant(address: Address) -> Iterator[Address]:
    """The address, or the IPv4 addresses that it wraps."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    wrapped = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _TRANSLATED:
        wrapped.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    inner = [plain for plain in wrapped if plain is not None]
    yield from inner or [address]


def reason(error: Exception) -> str:
    """Why a connection failed, for a sentence."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, ConnectionRefusedError):
        return "the connection is refused; is the stream on air?"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class Loopback(ABC):
    """A small server on loopback for the ffmpeg of one stream. Use it as an async context manager."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.problem: SourceError | None = None
        """Why a connection was not made last; None while all were."""

    @abstractmethod
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection. May raise `OSError` and `SourceError`."""

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None  # noqa: S101 - inside the block
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0, limit=CHUNK_BYTES)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, with all connections."""
        assert self._server is not None  # noqa: S101 - inside the block
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - the server makes one for every connection
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except SourceError as error:
            self.problem = error
        except (OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # one side has left, or all is over; ffmpeg says what that means to it
        finally:
            self._tasks.discard(task)
            await close(writer)


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes one way, as they come, until they end."""
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()


async def splice(one: Wire, other: Wire, back: Carrier = carry) -> None:
    """Carry bytes both ways until either side ends: from `other` by `back`. Raises what a way raises."""
    ways = [asyncio.ensure_future(carry(one[0], other[1])), asyncio.ensure_future(back(other[0], one[1]))]
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in done:
            way.result()
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def close(writer: asyncio.StreamWriter) -> None:
    """Send what is left and hang up; a side that takes nothing any more does not hold us up."""
    writer.close()
    with contextlib.suppress(OSError):
        async with asyncio.timeout(1):
            await writer.wait_closed()
    writer.transport.abort()
