"""Templates to responses."""

from __future__ import annotations

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
        visit = request[VISIT]
        shared = {"here": request.path_qs, "path": request.path, "query_text": "", "asker": visit.asker}
        shared["demo"] = request.app[DESK].strip if DESK in request.app else None
        text = self.text(visit.language, template, {**shared, **context})
        tag = hashlib.sha256(text.encode()).hexdigest()[:20]
        headers = {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache", "Vary": "Accept-Language, Cookie"}
        if status == 200 and any(known.value == tag for known in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(text=text, content_type="text/html", status=status, headers=headers)
