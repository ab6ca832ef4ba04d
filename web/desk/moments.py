"""Moments of a recording as people type them."""

from __future__ import annotations

import re

_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,5}):([0-5]?\d(?:[.,]\d{1,3})?)$|(\d{1,6}(?:[.,]\d{1,3})?)$")


def typed_ms(text: str) -> int | None:
    """`1:02:03.5`, `62:03`, `95`, `95.25` in milliseconds; None for nothing. Raises `ValueError`."""
    text = text.strip().replace("：", ":")
    if not text:
        return None
    match = _CLOCK.match(text)
    if match is None:
        raise ValueError(text)
    hours, minutes, seconds, plain = match.groups()
    total = float((plain or seconds).replace(",", ".")) + 60 * int(minutes or 0) + 3600 * int(hours or 0)
    return round(total * 1000)


def shown(ms: int | None) -> str:
    """The same for the field: `1:02:03.5`."""
    if ms is None:
        return ""
    minutes, rest = divmod(ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest // 1000:02}" + (f".{rest % 1000:03}".rstrip("0") if rest % 1000 else "")
    return f"{hours}:{minutes:02}:{seconds}" if hours else f"{minutes}:{seconds}"
