"""The glossary: terms and names, what they are called in other languages, and forms to add and correct them."""

from __future__ import annotations

from urllib.parse import urlencode

from aiohttp import web
from multidict import MultiMapping

from streamarchive import text
from streamarchive.catalogue import glossary
from streamarchive.catalogue.glossary import TermTakenError
from streamarchive.errors import NotFoundError
from streamarchive.glossaries import Entry, cleaned, flaws

from .. import auth
from ..keys import RENDERER, SERVICES, VISIT
from ..languages import Language
from ..wording import flaw_words
from .desk import private
from .language import on_this_site

PAGE = 100
FILTERS = ("all", "names", "alone")
_LOOKED_AT = 100_000
"""No list is so long that it goes on behind this."""


async def show(request: web.Request) -> web.StreamResponse:
    """The terms, those added or corrected last first."""
    language = request[VISIT].language
    wanted = request.query.get("show", "all")
    wanted = wanted if wanted in FILTERS else "all"
    typed = cleaned(request.query.get("q", ""))[:200]
    offset = _offset(request)
    async with request.app[SERVICES].database.read() as connection:
        held = await glossary.current(connection)
    found = [term for term in held if _meets(term.entry, wanted, typed)]
    context = {
        "held": len(held),
        "found": found[offset : offset + PAGE],
        "wanted": wanted,
        "typed": typed,
        "filters": _filters(language, typed),
        "done": _done(language).get(request.query.get("done", ""), ""),
        "next_url": _url(wanted, typed, offset + PAGE) if len(found) > offset + PAGE else None,
    }
    return private(request.app[RENDERER].page(request, "glossary.html", context))


async def new(request: web.Request) -> web.StreamResponse:
    """The form of a new term. Its fields can be filled in by the address, and `next` leads back."""
    entry = _from_form(request.query)
    if not entry.lang:
        entry = Entry(entry.term, request[VISIT].language.code, entry.means, entry.is_name)
    return _form(request, entry, request.query.get("next", ""))


async def add(request: web.Request) -> web.StreamResponse:
    """One more term; then back to where the form was opened."""
    form = await request.post()
    entry, back = _from_form(form), str(form.get("next", ""))
    refused = _refused(request, entry)
    if refused:
        return _form(request, entry, back, refused)
    try:
        async with request.app[SERVICES].database.write() as tx:
            await glossary.add(tx, entry)
            await auth.note(tx, request, "glossary term added", entry.term, entry.as_json())
    except TermTakenError:
        return _form(request, entry, back, _taken(request))
    raise web.HTTPSeeOther(on_this_site(back) if back else "/glossary?done=added")


async def edit(request: web.Request) -> web.StreamResponse:
    """The form of a term."""
    async with request.app[SERVICES].database.read() as connection:
        term = await glossary.get(connection, int(request.match_info["term"]))
    return _form(request, term.entry, term=term.id)


async def change(request: web.Request) -> web.StreamResponse:
    """Correct a term. Where somebody else has done so meanwhile, what was typed becomes a new one's form."""
    term_id, entry = int(request.match_info["term"]), _from_form(await request.post())
    refused = _refused(request, entry)
    if refused:
        return _form(request, entry, refused=refused, term=term_id)
    try:
        async with request.app[SERVICES].database.write() as tx:
            before = await glossary.get(tx, term_id)
            if before.entry != entry:
                await glossary.change(tx, term_id, entry)
                about = {"before": before.entry.as_json(), "after": entry.as_json()}
                await auth.note(tx, request, "glossary term corrected", entry.term, about)
    except TermTakenError:
        return _form(request, entry, refused=_taken(request), term=term_id)
    except NotFoundError:
        _ = request[VISIT].language.gettext
        gone = _("Somebody has corrected or removed this term meanwhile. What you have typed can be added anew.")
        return _form(request, entry, refused=gone, status=409)
    raise web.HTTPSeeOther("/glossary?done=corrected")


async def remove(request: web.Request) -> web.StreamResponse:
    """Take a term out."""
    term_id = int(request.match_info["term"])
    async with request.app[SERVICES].database.write() as tx:
        before = await glossary.get(tx, term_id)
        await glossary.remove(tx, term_id)
        await auth.note(tx, request, "glossary term removed", before.entry.term, before.entry.as_json())
    raise web.HTTPSeeOther("/glossary?done=removed")


def _from_form(form: MultiMapping[object] | MultiMapping[str]) -> Entry:
    def one(name: str) -> str:
        return cleaned(str(form.get(name, "")))

    means = {name.removeprefix("means_"): one(name) for name in form if name.startswith("means_") and one(name)}
    return Entry(one("term"), one("lang").lower(), means, form.get("name") == "1")


def _refused(request: web.Request, entry: Entry) -> str:
    """Why this entry cannot be taken; nothing where it can."""
    gettext = request[VISIT].language.gettext
    return next((flaw_words(flaw, value, gettext) for flaw, value in flaws(entry)), "")


def _taken(request: web.Request) -> str:
    return request[VISIT].language.gettext("The glossary holds this term already; correct it there.")


def _form(
    request: web.Request,
    entry: Entry,
    back: str = "",
    refused: str = "",
    term: int | None = None,
    status: int = 400,
) -> web.Response:
    language = request[VISIT].language
    spoken, read = request.app[SERVICES].settings.languages, request.app[RENDERER].languages
    codes = dict.fromkeys((*spoken, *read, *entry.means, entry.lang))
    context = {
        "entry": entry,
        "term": term,
        "back": on_this_site(back) if back else "/glossary",
        "next": back,
        "refused": refused,
        "offered": [(code, language.name_of(code)) for code in codes if code],
    }
    page = request.app[RENDERER].page(request, "glossary_term.html", context, status=status if refused else 200)
    return private(page)


def _meets(entry: Entry, wanted: str, typed: str) -> bool:
    if (wanted == "names" and not entry.is_name) or (wanted == "alone" and entry.means):
        return False
    known = "\n".join(entry.wordings)
    return all(text.spans(known, [word]) or word.casefold() in known.casefold() for word in typed.split())


def _filters(language: Language, typed: str) -> list[tuple[str, str, str]]:
    """Name, label and address of each."""
    _ = language.gettext
    labels = {"all": _("All"), "names": _("Names"), "alone": _("Without a counterpart")}
    return [(name, label, _url(name, typed, 0)) for name, label in labels.items()]


def _done(language: Language) -> dict[str, str]:
    _ = language.gettext
    return {
        "added": _("The term is in the glossary; search knows it from now on."),
        "corrected": _("The term is corrected."),
        "removed": _("The term is removed."),
        "taken": _("The list is in the glossary; search knows its terms from now on."),
    }


def _url(wanted: str, typed: str, offset: int) -> str:
    values = {"show": wanted if wanted != "all" else "", "q": typed, "from": str(offset) if offset else ""}
    given = {name: value for name, value in values.items() if value}
    return f"/glossary?{urlencode(given)}" if given else "/glossary"


def _offset(request: web.Request) -> int:
    value = request.query.get("from", "0")
    return min(int(value), _LOOKED_AT) if value.isascii() and value.isdigit() and len(value) < 7 else 0
