"""The Elasticsearch server: how it is reached, and its errors as ours."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from elastic_transport import TlsError, TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from streamarchive.errors import SearchError, SearchUnavailableError, SettingsError
from streamarchive.settings import redact

REQUEST_SECONDS = 5.0
LONG_REQUEST_SECONDS = 60.0
"""For writing, which may wait for the server's queues."""
CONFLICT, MISSING = 409, 404
_REFUSED = {401, 403}
_TEMPORARY = {429, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class Access:
    """What a server asks for beside its address: an API key (as the server encodes it), its CA's certificate."""

    api_key: str = ""
    ca: str = ""
    """A file; without one, what this machine trusts is trusted."""


class Server:
    """The server at an address, for indexes that are named `name` or begin so."""

    def __init__(self, url: str, access: Access) -> None:
        parts = urlsplit(url)
        self.address = redact(url)
        self._keyed = bool(access.api_key)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = parts.port or (443 if parts.scheme == "https" else 80)
        user = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        if user is not None and access.api_key:
            raise SettingsError(
                "the setting 'search' holds a user and 'search_api_key' is set as well; keep one of them"
            )
        self.client = AsyncElasticsearch(
            f"{parts.scheme}://{host}:{port}",
            basic_auth=user,
            api_key=access.api_key or None,
            ssl_context=_trusting(access.ca) if parts.scheme == "https" else None,
            request_timeout=REQUEST_SECONDS,
            max_retries=1,
        )
        self.patient = self.client.options(request_timeout=LONG_REQUEST_SECONDS)
        self.brisk = self.client.options(max_retries=0)
        """For searches, which nobody waits for twice."""

    async def close(self) -> None:
        """Release connections."""
        await self.client.close()

    @asynccontextmanager
    async def translated(self, seconds: float | None = None) -> AsyncIterator[None]:
        """Errors of the client within this block become ours; so does taking longer than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                yield
        except ApiError as error:
            self.refuse(error.status_code, _reason(error), error)
        except TlsError as error:
            raise SearchUnavailableError(
                f"Elasticsearch at {self.address} shows a certificate that is not trusted ({error.message}); name"
                " the certificate of its authority in the setting `search_ca`"
            ) from error
        except TransportError as error:
            raise SearchUnavailableError(
                f"Elasticsearch at {self.address} does not answer ({error.message}); check that it runs and that"
                " the setting `search` names it"
            ) from error
        except TimeoutError as error:
            raise SearchUnavailableError(
                f"Elasticsearch at {self.address} takes longer than {seconds:g} s to answer; see its health"
            ) from error

    def refuse(self, status: int, reason: str, cause: Exception | None = None) -> None:
        """Raise what an answer with this status means."""
        if status in _TEMPORARY:
            raise SearchUnavailableError(
                f"Elasticsearch at {self.address} is overloaded or starting ({reason}); try again in a moment"
            ) from cause
        if status in _REFUSED:
            who = "the key in the setting `search_api_key`" if self._keyed else "the user in the setting `search`"
            raise SearchError(
                f"Elasticsearch at {self.address} refuses {who} ({reason}); `streamarchive doctor` says which"
                " right it lacks"
            ) from cause
        raise SearchError(
            f"Elasticsearch at {self.address} refused a request ({status}: {reason}); if its index was made by"
            " hand or by another version, `streamarchive reindex` makes a new one"
        ) from cause


def _trusting(ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"the setting 'search_ca' names no certificate that can be read: {ca}") from error


def _reason(error: ApiError) -> str:
    """What the server says in words; its names of errors alone help nobody."""
    body = error.body
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        return str(body["error"].get("reason") or error.message)
    return str(error.message)
