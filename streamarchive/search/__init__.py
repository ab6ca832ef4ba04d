"""Documents, the query language and the two engines that answer it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from streamarchive.errors import SettingsError
from streamarchive.protocols import SearchIndex

DEFAULT_NAME = "streamarchive"
_INDEX_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")


def open_index(url: str, *, api_key: str = "", ca: str = "") -> SearchIndex:
    """The index at `sqlite:///path` (embedded) or `http(s)://host:9200/name` (Elasticsearch).

    The last part of an Elasticsearch URL names the index, `streamarchive` if there is none, so that several
    archives may share a server; `api_key` and `ca`, a file of certificates, are for that one alone. Nothing is
    contacted yet. Raises `SettingsError`.
    """
    try:
        scheme, _port = urlsplit(url).scheme, urlsplit(url).port
    except ValueError as error:
        raise SettingsError(f"the search setting {url!r} is no URL: {error}") from error
    if scheme == "sqlite":
        from streamarchive.search.embedded import EmbeddedIndex

        path = unquote(url.removeprefix("sqlite:///"))
        if not url.startswith("sqlite:///") or not path:
            raise SettingsError("the embedded search index needs a path, as in sqlite:///archive/search.sqlite")
        return EmbeddedIndex(Path(path))
    if scheme in {"http", "https"}:
        from streamarchive.search.elastic import ElasticIndex
        from streamarchive.search.elastic_server import Access

        name = urlsplit(url).path.strip("/") or DEFAULT_NAME
        if not _INDEX_NAME.fullmatch(name):
            raise SettingsError(f"{name!r} cannot name an index; use small letters, digits, - and _")
        return ElasticIndex(url, name, Access(api_key, ca))
    raise SettingsError(
        f"search has no engine for {scheme}://; use sqlite:/// or the http(s):// of Elasticsearch"
    )
