"""The demo's controls: make the guest say something, kill the recorder, end the broadcast.

Each is a plain form; the page's script sends the same forms and shows the answer in place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random
from urllib.parse import urlencode

from aiohttp import web

from streamarchive.demo import director
from streamarchive.demo.grammar import LANGUAGES, Grammar, Template, grammar
from streamarchive.errors import UsageError

from ..demo import DESK
from ..keys import RENDERER, SERVICES, VISIT
from .language import on_this_site

_random = Random()  # noqa: S311 - only which phrases stand in the form at first
_PUNCTUATION = re.compile(r"[.,?，。？]")


@dataclass(frozen=True, slots=True)
class Place:
    """A hole of a sentence: the text before it, what can stand in it, and what does at first."""

    before: str
    options: tuple[str, ...]
    chosen: str


async def form(request: web.Request) -> web.StreamResponse:
    """The sentences the recogniser knows, and the places of the chosen one."""
    lang, template = _chosen(request.query.get("sentence"))
    words = grammar(lang)
    context = {
        "sentences": [(code, grammar(code).answers) for code in LANGUAGES],
        "lang": lang,
        "template": template,
        "places": _places(words, template),
        "after": template.literals[-1],
        "said": None,
    }
    return request.app[RENDERER].page(request, "demo_say.html", context)


async def say(request: web.Request) -> web.StreamResponse:
    """Have the guest say the sentence next."""
    fields = await request.post()
    lang, template = _chosen(str(fields.get("sentence", "")))
    choices = [str(choice) for choice in fields.getall("choice", [])]
    said = await request.app[DESK].broadcaster.say(lang, template.text, choices)
    search = "/search?" + urlencode({"q": _PUNCTUATION.sub(" ", said).strip()})
    _ = request[VISIT].language.gettext
    if _wants_json(request):
        sentence = _("The guest says next: “%(sentence)s”") % {"sentence": said}
        return web.json_response({"sentence": sentence, "search": search})
    context = {"said": said, "said_lang": lang, "search": search}
    return request.app[RENDERER].page(request, "demo_say.html", context)


async def kill_recorder(request: web.Request) -> web.StreamResponse:
    """Kill -9 the process that records."""
    process = await director.kill_recorder(request.app[SERVICES].database)
    _ = request[VISIT].language.gettext
    sentence = _("Process %(process)s, the recorder, was killed. A gap shows until what was missed is fetched.")
    return await _done(request, sentence % {"process": process})


async def end_broadcast(request: web.Request) -> web.StreamResponse:
    """End the broadcast; the next one begins at once."""
    await request.app[DESK].broadcaster.end()
    _ = request[VISIT].language.gettext
    return await _done(request, _("The broadcast ends. It becomes a recording; the next one begins."))


async def status(request: web.Request) -> web.StreamResponse:
    """The strip's figures and what is on air, for open pages."""
    strip, visit = request.app[DESK].strip, request[VISIT]
    interview = strip.interview
    values = {
        "measured": strip.measured(visit.language),
        "figures": {
            "caption_s": strip.figures.caption_s,
            "searchable_s": strip.figures.searchable_s,
            "sentences": strip.figures.sentences,
        },
        "on_air": {"title": interview.title(visit.language.code), "url": interview.address}
        if interview
        else None,
    }
    return web.json_response(values, headers={"Cache-Control": "no-store"})


async def _done(request: web.Request, sentence: str) -> web.StreamResponse:
    if _wants_json(request):
        return web.json_response({"sentence": sentence})
    fields = await request.post()
    raise web.HTTPSeeOther(on_this_site(str(fields.get("next", "/"))))


def _wants_json(request: web.Request) -> bool:
    return "application/json" in request.headers.get("Accept", "")


def _chosen(sentence: str | None) -> tuple[str, Template]:
    """`en|The {part} is …` as a language and a template; any of them where nothing was chosen."""
    if not sentence:
        return LANGUAGES[0], _random.choice(grammar(LANGUAGES[0]).answers)
    lang, _, text = sentence.partition("|")
    template = grammar(lang).template(text)
    if template not in grammar(lang).answers:
        raise UsageError("this is a question: the host asks those")
    return lang, template


def _places(words: Grammar, template: Template) -> list[Place]:
    return [
        Place(before, words.slots[name], _random.choice(words.slots[name]))
        for before, name in zip(template.literals[:-1], template.slots, strict=True)
    ]
