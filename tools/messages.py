"""Bring web/locale/*.po up to date with what the pages say: new sentences come in untranslated, old ones go.

    python tools/messages.py

Then translate what it names. `tests/unit/test_site_languages.py` fails while a sentence has no translation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

WEB = Path(__file__).parents[1] / "web"
KEYWORDS = {"gettext": None, "_": None, "ngettext": (1, 2)}
TEMPLATES = {"trim_blocks": "true", "lstrip_blocks": "true", "newstyle_gettext": "true"}


def messages() -> Iterator[str | tuple[str, ...]]:
    """Everything the pages and handlers say, as written in the source."""
    methods = [("**.py", "python"), ("**.html", "jinja2")]
    for _, _, message, _, _ in extract_from_dir(WEB, methods, {"**.html": TEMPLATES}, keywords=KEYWORDS):
        if message:
            yield message


def update(path: Path) -> list[str]:
    """Rewrite one catalogue; the sentences that wait for a translation."""
    locale = path.stem
    with path.open("rb") as source:
        known = {message.id: message.string for message in read_po(source, locale=locale)}
    fresh = Catalog(locale=locale, charset="utf-8", project="StreamArchive")
    for message in messages():
        fresh.add(message, known.get(message, ("",) if isinstance(message, tuple) else ""))
    with path.open("wb") as target:
        target.write(
            f'msgid ""\nmsgstr ""\n"Language: {locale}\\n"\n'
            '"Content-Type: text/plain; charset=utf-8\\n"\n'
            f'"Plural-Forms: {fresh.plural_forms}\\n"\n\n'.encode()
        )
        write_po(target, fresh, width=110, no_location=True, omit_header=True, sort_output=True)
    return [str(message.id) for message in fresh if message.id and not any(message.string)]


if __name__ == "__main__":
    for catalogue in sorted((WEB / "locale").glob("*.po")):
        for waiting in update(catalogue):
            print(f"{catalogue.name}: {waiting}")
