"""Looking up the hosts of streams and webhooks."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from streamarchive import webhooks
from streamarchive.errors import DeliveryError, SourceUnreachableError
from streamarchive.media.egress import Rules


async def test_a_silent_name_server_keeps_nothing_else_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read and written by threads, too: captions and recordings would stand still with it."""
    answers = threading.Event()

    def silent(*_: Any, **__: Any) -> list[Any]:
        answers.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    asked = list[asyncio.Task[Any]]()
    for _ in range(32):
        asked.append(asyncio.create_task(Rules().vetted("silent.example", 80)))
        asked.append(asyncio.create_task(webhooks.vet("https://silent.example/")))
    await asyncio.wait(asked, timeout=0.1)
    try:
        async with asyncio.timeout(20):
            assert await asyncio.to_thread(threading.active_count) > 1
    finally:
        answers.set()
    failures = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(failure) for failure in failures} == {SourceUnreachableError, DeliveryError}
