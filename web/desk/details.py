"""What people say about an interview, as they type it: both languages of the site, any number of guests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from multidict import MultiMapping

from streamarchive.catalogue.people import Guest
from streamarchive.errors import UsageError
from streamarchive.ingest import Details
from streamarchive.models import Interview, Visibility

LANGUAGES = ("en", "zh")
"""The languages that the forms have fields for; what is there in others stays as it is."""
_LONGEST_LINE, _LONGEST_TEXT, _MOST_GUESTS = 300, 5_000, 40
_GUEST_FIELDS = tuple(f"guest_{what}_{code}" for code in LANGUAGES for what in ("name", "affiliation"))

Gettext = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class TypedGuest:
    """One guest's row."""

    name_en: str = ""
    affiliation_en: str = ""
    name_zh: str = ""
    affiliation_zh: str = ""

    @property
    def is_empty(self) -> bool:
        """Nothing was typed."""
        return not any((self.name_en, self.affiliation_en, self.name_zh, self.affiliation_zh))


@dataclass(frozen=True, slots=True)
class Typed:
    """The form's fields as they stand on the page. `seen` is what the form was filled from."""

    title_en: str = ""
    title_zh: str = ""
    description_en: str = ""
    description_zh: str = ""
    event_en: str = ""
    event_zh: str = ""
    languages: tuple[str, ...] = ()
    held_at: str = ""
    guests: tuple[TypedGuest, ...] = ()
    visibility: str = Visibility.DRAFT.value
    seen: str = ""


def from_interview(interview: Interview) -> Typed:
    """The form as it is opened."""
    event = interview.event.names if interview.event else {}
    return Typed(
        title_en=interview.titles.get("en", ""),
        title_zh=interview.titles.get("zh", ""),
        description_en=interview.descriptions.get("en", ""),
        description_zh=interview.descriptions.get("zh", ""),
        event_en=event.get("en", ""),
        event_zh=event.get("zh", ""),
        languages=interview.languages,
        held_at=minute(interview.held_at),
        guests=tuple(
            TypedGuest(
                person.names.get("en", ""),
                person.affiliations.get("en", ""),
                person.names.get("zh", ""),
                person.affiliations.get("zh", ""),
            )
            for person in interview.guests
        ),
        visibility=interview.visibility,
        seen=fingerprint(interview),
    )


def from_form(form: MultiMapping[object]) -> Typed:
    """The form as it was sent."""

    def one(name: str) -> str:
        return " ".join(str(form.get(name, "")).split())

    def text(name: str) -> str:
        return str(form.get(name, "")).replace("\r\n", "\n").strip()

    columns = [[" ".join(str(value).split()) for value in form.getall(name, [])] for name in _GUEST_FIELDS]
    guests = (TypedGuest(*row) for row in zip(*columns, strict=False))
    return Typed(
        title_en=one("title_en"),
        title_zh=one("title_zh"),
        description_en=text("description_en"),
        description_zh=text("description_zh"),
        event_en=one("event_en"),
        event_zh=one("event_zh"),
        languages=tuple(dict.fromkeys(str(code).strip().lower() for code in form.getall("language", []))),
        held_at=one("held_at_exact") or one("held_at"),
        guests=tuple(guest for guest in guests if not guest.is_empty),
        visibility=one("visibility") or Visibility.DRAFT.value,
        seen=one("seen"),
    )


def read(typed: Typed, gettext: Gettext, before: Interview | None = None) -> Details:
    """What it comes to. Raises `UsageError` with a sentence in the reader's language."""
    _check_lengths(typed, gettext)
    if not typed.title_en and not typed.title_zh:
        raise UsageError(gettext("Give the interview a title, in one language at least."))
    if not all(2 <= len(code) <= 8 and code.isascii() and code.isalpha() for code in typed.languages):
        raise UsageError(gettext("Choose the languages that are spoken from the list."))
    if typed.visibility not in (Visibility.DRAFT, Visibility.UNLISTED, Visibility.PUBLIC):
        raise UsageError(gettext("An interview is a draft, unlisted or public."))
    event = _both(typed.event_en, typed.event_zh, before.event.names if before and before.event else {})
    return Details(
        titles=_both(typed.title_en, typed.title_zh, before.titles if before else {}),
        descriptions=_both(typed.description_en, typed.description_zh, before.descriptions if before else {}),
        languages=typed.languages,
        visibility=Visibility(typed.visibility),
        guests=[_guest(guest, gettext) for guest in typed.guests],
        event=event or None,
        held_at=moment(typed.held_at, gettext),
    )


def _check_lengths(typed: Typed, gettext: Gettext) -> None:
    lines = [typed.title_en, typed.title_zh, typed.event_en, typed.event_zh]
    lines += [text for g in typed.guests for text in (g.name_en, g.name_zh, g.affiliation_en, g.affiliation_zh)]
    if any(len(line) > _LONGEST_LINE for line in lines):
        raise UsageError(gettext("Titles, names and events have at most 300 characters."))
    if max(len(typed.description_en), len(typed.description_zh)) > _LONGEST_TEXT:
        raise UsageError(gettext("A description has at most 5,000 characters."))
    if len(typed.guests) > _MOST_GUESTS:
        raise UsageError(gettext("An interview has at most 40 guests."))


def _guest(guest: TypedGuest, gettext: Gettext) -> Guest:
    names = _both(guest.name_en, guest.name_zh)
    if not names:
        raise UsageError(gettext("A guest with an affiliation needs a name."))
    return Guest(names, _both(guest.affiliation_en, guest.affiliation_zh))


def _both(en: str, zh: str, before: Mapping[str, str] | None = None) -> dict[str, str]:
    """The texts that there are; other languages than the form's stay."""
    others = {code: text for code, text in (before or {}).items() if code not in LANGUAGES}
    return {code: text for code, text in (("en", en), ("zh", zh)) if text} | others


def moment(typed: str, gettext: Gettext) -> datetime | None:
    """A time as a browser sends it, UTC unless it says otherwise; None for none. Raises `UsageError`."""
    if not typed:
        return None
    try:
        found = datetime.fromisoformat(typed)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(gettext("Write a date such as 2026-11-22T15:00.")) from error


def minute(when: datetime) -> str:
    """A time as the browser's field takes it, in UTC."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")


def fingerprint(interview: Interview) -> str:
    """Changes when somebody describes the interview anew, and with nothing else."""
    said = [
        dict(interview.titles),
        dict(interview.descriptions),
        list(interview.languages),
        minute(interview.held_at),
        dict(interview.event.names) if interview.event else None,
        [[dict(person.names), dict(person.affiliations)] for person in interview.guests],
    ]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:20]


def differences(before: Interview, after: Details) -> dict[str, list[object]]:
    """What a description changes, old and new, for the audit log."""
    held_at = after.held_at or before.held_at
    pairs: Iterable[tuple[str, object, object]] = (
        ("titles", dict(before.titles), dict(after.titles)),
        ("descriptions", dict(before.descriptions), dict(after.descriptions)),
        ("languages", list(before.languages), list(after.languages)),
        ("held_at", minute(before.held_at), minute(held_at)),
        ("event", dict(before.event.names) if before.event else None, dict(after.event) if after.event else None),
        ("guests", [dict(p.names) for p in before.guests], _names(after.guests)),
    )
    return {name: [old, new] for name, old, new in pairs if old != new}


def _names(guests: Sequence[Guest]) -> list[dict[str, str]]:
    return [dict(guest.names) for guest in guests]
