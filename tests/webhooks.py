"""An address that takes webhook calls, as a customer's server would."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Receiver:
    """What was sent to `url`. It answers the `answers` one after the other, then 204."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def told(self) -> list[dict[str, Any]]:
        """The data of each call."""
        return [json.loads(body)["data"] for _, body in self.calls]

    @property
    def ids(self) -> list[str]:
        """The id of each call."""
        return [headers["webhook-id"] for headers, _ in self.calls]

    async def take(self, request: web.Request) -> web.Response:
        self.calls.append(
            ({name.lower(): value for name, value in request.headers.items()}, await request.read())
        )
        status = self.answers.pop(0) if self.answers else 204
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status == 302 else {})


@asynccontextmanager
async def receiver(*answers: int) -> AsyncIterator[Receiver]:
    """One on loopback."""
    took = Receiver(answers=list(answers))
    app = web.Application()
    app.router.add_post("/{path:.*}", took.take)
    app.router.add_get("/{path:.*}", took.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        took.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        yield took
    finally:
        await runner.cleanup()
