"""Templates to responses."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from . import wording
from .demo import DESK
from .keys import VISIT
from .languages import Language, load_languages
from .static_files import StaticFiles

COMPRESS_ASIDE_BYTES = 1 << 16
"""Longer answers are compressed beside the event loop."""
_TEMPLATES = Path(__file__).parent / "templates"


class Renderer:
    """One Jinja environment for each language: escaped, and strict about names that do not exist."""

    def __init__(self, static: StaticFiles | None = None, globals_: Mapping[str, Any] | None = None) -> None:
        self.static = static or StaticFiles()
        self.languages = load_languages()
        self._environments = {
            code: self._environment(language, globals_ or {}) for code, language in self.languages.items()
        }

    def _environment(self, language: Language, globals_: Mapping[str, Any]) -> Environment:
        environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        environment.install_gettext_translations(language.translations, newstyle=True)  # type: ignore[attr-defined]
        environment.globals.update(
            language=language,
            languages=self.languages,
            static=self.static.url,
            has_static=self.static.has,
        )
        environment.globals.update(globals_)
        environment.filters.update(
            clock=wording.clock,
            duration=lambda ms: wording.duration(ms, language.gettext),
            date=language.date,
            date_time=language.date_time,
            decimal=wording.decimal,
            html_lang=wording.html_lang,
        )
        return environment

    def text(self, language: Language, template: str, context: Mapping[str, Any]) -> str:
        """The filled-in template."""
        return self._environments[language.code].get_template(template).render(context)

    def page(
        self, request: web.Request, template: str, context: Mapping[str, Any], *, status: int = 200
    ) -> web.Response:
        """A page for this visitor; 304 if their browser has it already."""
        text = self.text(request[VISIT].language, template, {**_shared(request), **context})
        return _respond(request, text, status)

    async def long_page(self, request: web.Request, template: str, context: Mapping[str, Any]) -> web.Response:
        """The same for a page that may be long, filled in beside the event loop."""
        whole = {**_shared(request), **context}
        text = await asyncio.to_thread(self.text, request[VISIT].language, template, whole)
        return _respond(request, text, 200)


def _shared(request: web.Request) -> dict[str, Any]:
    """What every page knows."""
    return {
        "here": request.path_qs,
        "path": request.path,
        "query_text": "",
        "asker": request[VISIT].asker,
        "demo": request.app[DESK].strip if DESK in request.app else None,
    }


def _respond(request: web.Request, text: str, status: int) -> web.Response:
    tag = hashlib.sha256(text.encode()).hexdigest()[:20]
    headers = {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache", "Vary": "Accept-Language, Cookie"}
    if status == 200 and any(known.value == tag for known in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(
        text=text,
        content_type="text/html",
        status=status,
        headers=headers,
        zlib_executor_size=COMPRESS_ASIDE_BYTES,
    )
