"""Documents, the query language and the two engines that answer it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from streamarchive.errors import SettingsError
from streamarchive.protocols import SearchIndex


def open_index(url: str) -> SearchIndex:
    """The index at `sqlite:///path` (embedded) or `http(s)://host:9200/name` (Elasticsearch).

    The last part of an Elasticsearch URL names the index, `streamarchive` if there is none, so that several
    archives may share a server. Nothing is contacted yet. Raises `SettingsError`.
    """
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        from streamarchive.search.embedded import EmbeddedIndex

        path = unquote(url.removeprefix("sqlite:///"))
        if not url.startswith("sqlite:///") or not path:
            raise SettingsError("the embedded search index needs a path, as in sqlite:///archive/search.sqlite")
        return EmbeddedIndex(Path(path))
    raise SettingsError(
        f"search has no engine for {scheme}://; use sqlite:/// or the http(s):// of Elasticsearch"
    )
