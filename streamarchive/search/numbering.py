"""The numbers of documents in the embedded index, from which most of a query is answered without reading a row.

From the highest bit down: the interview (the minute it is held, and a serial number within that minute), the
half second in which the cue starts, a serial number within that, the language and whether it is doubtful. So the
order of numbers is the order of time, the moments of an interview stand together, and the interview's own
document, whose lower bits are all 0, before them.
"""

from __future__ import annotations

from datetime import UTC, datetime

from streamarchive.search.matching import WINDOW_MS

SERIAL_IN_MINUTE_BITS = 6
PLACE_BITS = 31
_SLOT_BITS, _SERIAL_BITS, _LANG_BITS = 20, 3, 7
SLOT_MS = 500
_SLOT_SHIFT = PLACE_BITS - _SLOT_BITS
_LAST_SLOT = (1 << _SLOT_BITS) - 1
"""Six days into a recording; what comes later stands in the order of its arrival."""
PLACE_MASK = (1 << PLACE_BITS) - 1
FEATURES_MASK = (1 << (_LANG_BITS + 1)) - 1
SERIAL_STEP = 1 << (_LANG_BITS + 1)
MAX_LANGUAGES = (1 << _LANG_BITS) - 1
NO_LANGUAGE = 0

_FIRST_MINUTE = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) // 60
_LAST_MINUTE = (1 << 26) - 1


def minute(held_at: datetime) -> int:
    """The minute it is held, counted from the year 2000; what is older counts as that."""
    return min(max(int(held_at.timestamp()) // 60 - _FIRST_MINUTE, 0), _LAST_MINUTE)


def first_of_minute(held: int) -> int:
    """The lowest number an interview held in this minute can have."""
    return held << SERIAL_IN_MINUTE_BITS


def base(interview: int) -> int:
    """The number of the interview's own document."""
    return interview << PLACE_BITS


def last(interview: int) -> int:
    """The highest number a document of this interview can have."""
    return base(interview) | PLACE_MASK


def interview_of(number: int) -> int:
    """The interview a document belongs to."""
    return number >> PLACE_BITS


def place(start_ms: int) -> int:
    """The lowest bits a cue that starts here can have, its features not counted."""
    return min(max(start_ms, 0) // SLOT_MS + 1, _LAST_SLOT) << _SLOT_SHIFT


def features(lang: int, *, doubtful: bool) -> int:
    """The bits below the place."""
    return lang << 1 | doubtful


def lang_of(number: int) -> int:
    """The language a cue is in."""
    return (number & FEATURES_MASK) >> 1


def is_doubtful(number: int) -> bool:
    """Whether a cue cannot be relied on."""
    return bool(number & 1)


def is_cue(number: int) -> bool:
    """Whether it is a moment rather than an interview's own document."""
    return bool(number & PLACE_MASK)


def window_of(number: int) -> int:
    """Which half minute of the recording a cue starts in."""
    return (((number & PLACE_MASK) >> _SLOT_SHIFT) - 1) * SLOT_MS // WINDOW_MS


INTERVIEW_SQL = f"rowid >> {PLACE_BITS}"
"""`interview_of` a match, in SQL."""
LANG_SQL = f"(rowid & {FEATURES_MASK}) >> 1"
"""`lang_of` a match."""
