"""What a page of an answer says to have the next: opaque to everybody else, and nothing one may rely on."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

LONGEST = 1_000


def encode(values: Sequence[Any]) -> str:
    """Numbers, strings, None and lists of these, for an address."""
    packed = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode(cursor: str, shape: Sequence[type | tuple[type, ...]]) -> list[Any] | None:
    """The values of a cursor; None if there is none or it was not made by us in this shape."""
    if not cursor or len(cursor) > LONGEST or not cursor.isascii():
        return None
    try:
        packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        values = json.loads(packed)
    except (binascii.Error, ValueError, RecursionError):
        return None
    fits = isinstance(values, list) and len(values) == len(shape)
    if not fits or not all(_is(value, kinds) for value, kinds in zip(values, shape, strict=True)):
        return None
    return list(values)


def _is(value: Any, kinds: type | tuple[type, ...]) -> bool:  # noqa: ANN401 - what JSON has
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) >= 1 << 63):
        return False
    return isinstance(value, kinds)
