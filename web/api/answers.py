"""How the JSON API reads numbers and writes answers."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from streamarchive.errors import UsageError

from ..render import COMPRESS_ASIDE_BYTES


def number(request: web.Request, name: str, default: int) -> int:
    """A parameter that has to be a number. Raises `UsageError`."""
    value = request.query.get(name)
    if value is None:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 7):
        raise UsageError(f"{name} has to be a number, not {value[:40]!r}")
    return int(value)


def answer_with(values: dict[str, Any]) -> web.Response:
    """These values, compressed beside the event loop where they are many."""
    return web.Response(
        text=json.dumps(values, ensure_ascii=False),
        content_type="application/json",
        headers={"Cache-Control": "private, no-cache"},
        zlib_executor_size=COMPRESS_ASIDE_BYTES,
    )
