"""Times and languages as people write them."""

from __future__ import annotations

from collections.abc import Callable

Gettext = Callable[[str], str]


def clock(ms: int) -> str:
    """A moment of a recording: `1:05`, `1:02:03`."""
    seconds = max(ms, 0) // 1000
    hours, minutes, seconds = seconds // 3600, seconds // 60 % 60, seconds % 60
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def duration(ms: int, gettext: Gettext) -> str:
    """A length of time in words: `40 s`, `12 min`, `1 h 5 min`."""
    seconds = max(ms, 0) // 1000
    if seconds < 60:
        return gettext("%(seconds)s s") % {"seconds": seconds}
    minutes = (seconds + 30) // 60
    if minutes < 60:
        return gettext("%(minutes)s min") % {"minutes": minutes}
    return gettext("%(hours)s h %(minutes)s min") % {"hours": minutes // 60, "minutes": minutes % 60}


def seconds_of(ms: int) -> str:
    """Milliseconds as the seconds of a `?t=`: `93.2`, `60`."""
    return f"{ms / 1000:.3f}".rstrip("0").rstrip(".")


def milliseconds_of(seconds: str | None) -> int | None:
    """The `t` of an address in milliseconds; None if there is none or it makes no sense."""
    try:
        value = float(seconds or "")
    except ValueError:
        return None
    return round(value * 1000) if 0 <= value < 10_000_000 else None


def html_lang(code: str) -> str:
    """A language code as browsers choose fonts by it: Chinese needs its script."""
    return {"zh": "zh-Hans", "": "und"}.get(code, code)
