"""Where a bucket is, how it is reached, and what to tell people when it is not."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from streamarchive.errors import SettingsError, StorageError

if TYPE_CHECKING:
    from obstore.store import S3Store as Client

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,199})*")
_OPTIONS = {"endpoint", "region"}
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
"""Variables that name a server if the URL does not, the strongest first."""
_FORM = "s3://bucket/prefix?endpoint=https://host:port&region=name, of which only the bucket is needed"
_CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"

_CONNECT_SECONDS = 3
_RETRIES = 2
_RETRY_SECONDS = 8
"""After so long no request is sent again."""
_NO_LIMIT = timedelta(days=365)
"""For a request as a whole: a file of 100 GB takes hours, and each of its pieces has a limit."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, or what is below a prefix in it."""

    name: str
    prefix: str = ""
    endpoint: str = ""
    """The server's address; empty: what the environment says, else Amazon's."""
    region: str = ""
    """Empty: what the environment says, else us-east-1."""

    @classmethod
    def of_url(cls, url: str) -> Bucket:
        """What an ``s3://`` URL names. Raises `SettingsError`, without what may be a secret."""
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            raise SettingsError(f"the media store's URL holds credentials; set {_CREDENTIALS} instead")
        options = parse_qsl(parts.query, keep_blank_values=True)
        if len(dict(options)) != len(options) or not {name for name, _ in options} <= _OPTIONS:
            raise SettingsError(
                f"the media store's URL may have endpoint= and region= behind the question mark, once each, and "
                f"nothing else; credentials are given as {_CREDENTIALS}"
            )
        prefix = unquote(parts.path).strip("/")
        if not _BUCKET.fullmatch(parts.netloc) or parts.fragment or (prefix and not _PREFIX.fullmatch(prefix)):
            raise SettingsError(
                f"the media store's URL is not of the form {_FORM}; prefixes are of Latin letters, digits and ._-"
            )
        given = dict(options)
        return cls(parts.netloc, prefix, _endpoint(given.get("endpoint", "")), given.get("region", ""))

    @property
    def server(self) -> str:
        """Who keeps it, for people to read."""
        return self._address() or "Amazon S3"

    def client(self, *, answer_seconds: float) -> Client:
        """Speak to it; each request, or each piece of an answer, may take so long. Raises `SettingsError`.

        Who one is stands in the environment, for obstore to read.
        """
        if find_spec("obstore") is None:
            raise SettingsError("media on s3:// are kept with obstore: pip install obstore")
        from obstore.exceptions import BaseError
        from obstore.store import S3Store as Client

        try:
            return Client(
                self.name,
                prefix=self.prefix or None,
                # Bulk deletion is not known to every server, and files are deleted one by one here.
                config={
                    "disable_bulk_delete": True,
                    **({"endpoint": self.endpoint} if self.endpoint else {}),
                    **({"region": self.region} if self.region else {}),
                },
                client_options={
                    "allow_http": self._address().startswith("http://"),
                    "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
                    "read_timeout": timedelta(seconds=answer_seconds),
                    "timeout": _NO_LIMIT,
                },
                retry_config={
                    "max_retries": _RETRIES,
                    "retry_timeout": timedelta(seconds=_RETRY_SECONDS),
                    "backoff": {"max_backoff": timedelta(seconds=1)},
                },
            )
        except (BaseError, ValueError) as error:
            raise SettingsError(
                "the media store's URL, or a variable AWS_… in the environment, makes no sense to obstore"
            ) from error

    def _address(self) -> str:
        named = [os.environ[name] for name in _ENDPOINTS if os.environ.get(name)]
        return self.endpoint or next(iter(named), "")

    def refusal(self, what: str, error: Exception) -> StorageError:
        """What an error of obstore means, and what to do. Its own text is long, and for those who debug."""
        from obstore import exceptions

        text = str(error)
        if _NO_CREDENTIALS.search(text):
            return StorageError(f"{what}: nothing says who we are to {self.server}; set {_CREDENTIALS}")
        if isinstance(error, FileNotFoundError):
            return StorageError(
                f"{what}: {self.server} has no bucket {self.name}; make it, or set STREAMARCHIVE_MEDIA to another"
            )
        if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
            return StorageError(
                f"{what}: {self.server} refuses access to the bucket {self.name}; "
                f"check {_CREDENTIALS} and what the bucket's policy allows"
            )
        if status := _STATUS.search(text):
            answer = " ".join(part for part in status.groups() if part)
            return StorageError(f"{what}: {self.server} answers {answer}; look at its log, and at the region")
        return StorageError(
            f"{what}: {self.server} cannot be reached or does not answer; "
            "check that it runs and that the address is right"
        )


def lacks_bucket(error: FileNotFoundError) -> bool:
    """Whether not only the object is missing. Answers to HEAD do not say so."""
    return "NoSuchBucket" in str(error)


def is_beyond_the_end(error: Exception) -> bool:
    """Whether the object ends before the bytes that were asked for."""
    return (found := _STATUS.search(str(error))) is not None and found[1] == "416"


_NO_CREDENTIALS = re.compile(r"/latest/(api/token|meta-data)")
"""Where obstore looks for credentials when the environment has none."""
_STATUS = re.compile(r"status code: (\d{3})(?:.*?<Code>(\w+)</Code>)?", re.DOTALL)


def _endpoint(url: str) -> str:
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound or "@" in parts.netloc or parts.query or parts.fragment:
        raise SettingsError(
            "the endpoint in the media store's URL is not of the form https://host:port (or http://), "
            f"without a user; credentials are given as {_CREDENTIALS}"
        )
    return url.rstrip("/")
