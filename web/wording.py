"""Times and languages as people write them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from streamarchive.models import Gap, GapReason

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


def gap_words(gap: Gap, gettext: Gettext) -> str:
    """What is missing, from when to when, and why."""
    _ = gettext
    began = _wall_clock(gap.began_at)
    if gap.ended_at is None:
        length = _("The recording is interrupted here, since %(began)s UTC") % {"began": began}
    else:
        missing = round((gap.ended_at - gap.began_at).total_seconds() * 1000)
        length = _("The recording was interrupted for %(time)s (%(began)s to %(ended)s UTC)") % {
            "time": duration(missing, gettext) if missing >= 1000 else _("less than a second"),
            "began": began,
            "ended": _wall_clock(gap.ended_at),
        }
    return _("%(interruption)s: %(reason)s.") % {"interruption": length, "reason": _why(gap.reason, gettext)}


def _why(reason: GapReason, gettext: Gettext) -> str:
    _ = gettext
    match reason:
        case GapReason.STALLED:
            return _("the source sent nothing")
        case GapReason.BROKE_OFF:
            return _("the source broke off")
        case GapReason.REFUSED:
            return _("the source refused")
        case GapReason.NETWORK:
            return _("the source could not be reached")
        case GapReason.PROCESS_DIED:
            return _("the recorder crashed")
        case GapReason.FENCED:
            return _("the recorder did not answer, and another one took over")
        case GapReason.STOPPED:
            return _("the recorder was stopped")
        case GapReason.DISK_FULL:
            return _("the disk was full")
        case GapReason.UNKNOWN:
            return _("the reason is not known")


def _wall_clock(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%H:%M:%S")


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
