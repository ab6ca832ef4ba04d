"""The languages of the site itself, their catalogues, and which of them a visitor reads."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

COOKIE = "language"
_CATALOGUES = Path(__file__).parent / "locale"


@dataclass(frozen=True, slots=True)
class Language:
    """A language the pages can be read in. `code` is also the key of titles and names in the catalogue."""

    code: str
    tag: str
    name: str
    locale: Locale
    translations: NullTranslations

    def gettext(self, message: str) -> str:
        """The message in this language."""
        return self.translations.gettext(message)

    def name_of(self, code: str) -> str:
        """What this language calls another one, or the code where nobody knows it."""
        try:
            return Locale.parse(code).get_display_name(self.locale) or code
        except (ValueError, UnknownLocaleError):
            return code

    def date(self, moment: datetime) -> str:
        """A day, as this language writes it."""
        return str(format_date(moment, format="long", locale=self.locale))

    def date_time(self, moment: datetime) -> str:
        """A day and a time with its zone (UTC; scripts put the visitor's own there)."""
        return str(format_datetime(moment, format="d MMM y, HH:mm 'UTC'", locale=self.locale)).strip()


def load_languages() -> dict[str, Language]:
    """English needs no catalogue; the others are compiled from their `.po` when the site starts."""
    return {
        "en": Language("en", "en", "English", Locale("en", "GB"), NullTranslations()),
        "zh": Language("zh", "zh-Hans", "中文", Locale("zh", script="Hans"), _compiled("zh_Hans")),
    }


def _compiled(name: str) -> NullTranslations:
    with (_CATALOGUES / f"{name}.po").open("rb") as source:
        catalogue = read_po(source, locale=name)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return GNUTranslations(compiled)


def choose_language(cookie: str | None, accepted: str, known: dict[str, Language]) -> Language:
    """What the visitor has chosen, else what their browser prefers, else English."""
    if cookie in known:
        return known[cookie]
    for tag in _by_preference(accepted):
        if language := known.get(tag.split("-")[0].lower()):
            return language
    return known["en"]


def _by_preference(accepted: str) -> list[str]:
    """The tags of an Accept-Language header, most wanted first."""
    wanted: list[tuple[float, str]] = []
    for item in accepted.split(","):
        tag, _, quality = item.strip().partition(";q=")
        try:
            wanted.append((float(quality or 1), tag.strip()))
        except ValueError:
            continue
    return [tag for quality, tag in sorted(wanted, key=lambda pair: -pair[0]) if quality > 0 and tag]
