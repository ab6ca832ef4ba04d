"""What the recogniser may expect in a recording: languages, names and terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from streamarchive.catalogue import glossary
from streamarchive.models import Interview, Script
from streamarchive.protocols import Expectation
from streamarchive.settings import Settings
from streamarchive.transcription import vocabulary


def languages_of(shown_in: Sequence[Interview], settings: Settings) -> tuple[str, ...]:
    """Those of the interviews that show the recording, or those of the settings."""
    wanted = dict.fromkeys(code for interview in shown_in for code in interview.languages)
    return tuple(wanted) or settings.languages


def script_of(shown_in: Sequence[Interview]) -> Script:
    """Of the first interview that shows the recording."""
    return shown_in[0].script if shown_in else Script.SIMPLIFIED


async def expected(
    connection: AsyncConnection, shown_in: Sequence[Interview], settings: Settings
) -> Mapping[str, Expectation]:
    """Nothing, where the settings say so."""
    if not settings.glossary_prompts:
        return {}
    terms = [term.entry for term in await glossary.current(connection)]
    languages = languages_of(shown_in, settings)
    return vocabulary.expected(shown_in, terms, languages, script_of(shown_in))
