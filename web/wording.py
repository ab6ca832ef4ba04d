"""Times, sizes and languages as people write them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from streamarchive.glossaries import Flaw
from streamarchive.models import Gap, GapReason, Stretch

Gettext = Callable[[str], str]


def clock(ms: int) -> str:
    """A moment of a recording: `1:05`, `1:02:03`."""
    seconds = max(ms, 0) // 1000
    hours, minutes, seconds = seconds // 3600, seconds // 60 % 60, seconds % 60
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


_UNITS = ("B", "kB", "MB", "GB", "TB")


def size(count: int) -> str:
    """A number of bytes for people: `3.2 GB`."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit > 1 else f"{value:.0f} {_UNITS[unit]}"


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


def hole_words(hole: Stretch, gettext: Gettext) -> str:
    """What stands where a part of the recording is not shown."""
    _ = gettext
    return _("Not shown: %(time)s of the recording.") % {"time": duration(hole.end_ms - hole.start_ms, _)}


def flaw_words(flaw: Flaw, value: str, gettext: Gettext) -> str:
    """What is wrong with an entry or a list of the glossary."""
    _ = gettext
    sentences = {
        Flaw.NO_TERM: _("the term is missing"),
        Flaw.NO_WORD: _("“%(value)s” holds no letter and no digit"),
        Flaw.TOO_LONG: _("“%(value)s…” is longer than 200 characters"),
        Flaw.FORMULA: _("“%(value)s” begins as a formula does in spreadsheets (=, +, -, @)"),
        Flaw.UNPRINTABLE: _("“%(value)s” holds characters that cannot be printed"),
        Flaw.NO_LANGUAGE: _("“%(value)s” is no language; write a code such as en or zh"),
        Flaw.YES_OR_NO: _("“%(value)s” is neither yes nor no"),
        Flaw.TWICE: _("“%(value)s” stands further up already"),
        Flaw.TOO_MANY_FIELDS: _("there are more fields than columns"),
        Flaw.NO_COLUMNS: _("the first line has to name the columns, such as term,language,name,en,zh"),
        Flaw.UNKNOWN_COLUMN: _(
            "“%(value)s” is neither term, language, name nor a language code such as en or zh"
        ),
        Flaw.COLUMN_TWICE: _("the column “%(value)s” is there twice"),
        Flaw.NOT_UTF8: _("this is not UTF-8; save the table as “CSV UTF-8”"),
        Flaw.BROKEN: _("this cannot be read as CSV; look for a quotation mark that is not closed"),
        Flaw.TOO_MANY: _("a glossary has at most 5,000 terms"),
    }
    return sentences[flaw] % {"value": value}


def _wall_clock(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%H:%M:%S")


def seconds_of(ms: int) -> str:
    """Milliseconds as the seconds of a `?t=`: `93.2`, `60`."""
    return f"{ms / 1000:.3f}".rstrip("0").rstrip(".")


def decimal(value: float) -> str:
    """A figure to a tenth, below nought with a minus sign, not a hyphen."""
    return f"{value:.1f}".replace("-", "\N{MINUS SIGN}")


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
