"""Any search as an Atom feed (RFC 4287): the newest moments of public interviews, whoever asks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from aiohttp import web

from streamarchive.catalogue.database import now
from streamarchive.errors import UsageError
from streamarchive.models import Role
from streamarchive.protocols import Sort
from streamarchive.search import finding, query
from streamarchive.search.answers import FoundMoment, moment_path

from .. import asking
from ..keys import SERVICES, VISIT
from ..wording import clock, html_lang

_ENTRIES = 50
_ATOM = "http://www.w3.org/2005/Atom"
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
"""What XML 1.0 has no way to say."""
_SINCE = "2026"
"""The year that tag: addresses (RFC 4151) are made in; it never changes, or every entry would be a new one."""

ElementTree.register_namespace("", _ATOM)


async def show(request: web.Request) -> web.StreamResponse:
    """`/search.atom?q=`."""
    services, asked = request.app[SERVICES], asking.read(request.query)
    if not asked.typed:
        raise UsageError("say what to follow: /search.atom?q=…")
    answer = await finding.find_moments(
        services.database,
        services.search,
        query.parse(asked.typed),
        role=Role.VIEWER,
        sort=Sort.NEWEST,
        limit=_ENTRIES,
    )
    if answer.index_away:
        raise web.HTTPServiceUnavailable(text="the search index is away at the moment; ask again later")
    found = () if answer.fallback else answer.found
    async with services.database.read() as connection:
        moment = await now(connection)
    site, code = services.settings.site, request[VISIT].language.code
    return web.Response(
        body=_feed(asked, found, site, code, moment),
        content_type="application/atom+xml",
        charset="utf-8",
        headers={"Cache-Control": "no-cache", "Vary": "Accept-Language, Cookie"},
    )


def _feed(asked: asking.Asked, found: Sequence[FoundMoment], site: str, code: str, now_: datetime) -> bytes:
    feed = ElementTree.Element(f"{{{_ATOM}}}feed", {_XML_LANG: html_lang(code)})
    _add(feed, "id", f"{_tag(site)}search/{quote(asked.typed)}")
    _add(feed, "title", f"{asked.typed} · StreamArchive")
    _add(feed, "updated", _time(max((_said_at(each) for each in found), default=now_)))
    _link(feed, "self", f"{site}{asked.url('/search.atom')}", "application/atom+xml")
    _link(feed, "alternate", f"{site}{asked.url()}", "text/html")
    _add(_add(feed, "author"), "name", "StreamArchive")
    for each in found:
        _entry(feed, each, site, code)
    written: bytes = ElementTree.tostring(feed, encoding="utf-8", xml_declaration=True)
    return written


def _entry(feed: ElementTree.Element, each: FoundMoment, site: str, code: str) -> None:
    interview, cue = each.interview, each.moment.cue
    entry = _add(feed, "entry")
    # By place, not by the line's id: a later pass makes new lines of what was said then.
    _add(entry, "id", f"{_tag(site)}interviews/{interview.id}/{cue.start_ms}")
    _add(entry, "title", f"{interview.title(code)}, {clock(cue.start_ms)}")
    _add(entry, "updated", _time(_said_at(each)))
    _link(entry, "alternate", f"{site}{moment_path(interview, cue.start_ms, cue.track)}", "text/html")
    speaker = f"{cue.speaker}: " if cue.speaker else ""
    said = f"{speaker}{cue.text}{' ' + each.moment.continued + '…' if each.moment.continued else ''}"
    content = _add(entry, "content", said)
    content.set("type", "text")
    content.set(_XML_LANG, html_lang(cue.lang))


def _said_at(each: FoundMoment) -> datetime:
    """Near enough: gaps are not counted."""
    return each.interview.held_at + timedelta(milliseconds=each.moment.cue.start_ms)


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _tag(site: str) -> str:
    return f"tag:{urlsplit(site).hostname},{_SINCE}:"


def _add(parent: ElementTree.Element, name: str, said: str = "") -> ElementTree.Element:
    element = ElementTree.SubElement(parent, f"{{{_ATOM}}}{name}")
    if said:
        element.text = _UNWRITABLE.sub("\ufffd", said)
    return element


def _link(parent: ElementTree.Element, relation: str, address: str, media_type: str) -> None:
    _add(parent, "link").attrib.update({"rel": relation, "href": address, "type": media_type})
