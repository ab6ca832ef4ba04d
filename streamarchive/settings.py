"""What can be configured: read once at the start, checked, then frozen.

Sources, the later stronger: defaults, a TOML file (``--config`` or ``STREAMARCHIVE_CONFIG``), ``.env`` in the
current folder, the environment (``STREAMARCHIVE_…``), flags. A secret may stand in a file of its own: the
setting's name with ``_FILE`` names it, in every source but flags. An empty value is none.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from io import StringIO
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from streamarchive.errors import SettingsError

PREFIX = "STREAMARCHIVE_"
SECRETS = ("database", "search", "search_api_key")
"""Settings that may hold a password and so may be given as ``…_FILE``."""

_SCHEMES = {
    "database": {"sqlite", "postgresql"},
    "search": {"sqlite", "http", "https"},
    "media": {"file", "s3"},
}


class Settings(BaseModel):
    """One frozen object for the whole process. URLs choose the back ends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path = Field(
        default=Path("archive"), description="Folder for everything that has no URL of its own."
    )
    database: str = Field(default="", description="`sqlite:///path` or `postgresql://user:password@host/name`.")
    search: str = Field(default="", description="`sqlite:///path` or `http(s)://host:9200` of Elasticsearch.")
    search_api_key: str = Field(
        default="",
        description="Key for Elasticsearch, encoded as it gives keys out, instead of a user in `SEARCH`.",
    )
    search_ca: str = Field(
        default="", description="File with the certificate of the authority that signed Elasticsearch's."
    )
    media: str = Field(
        default="",
        description="`file:///path` or `s3://bucket/prefix?endpoint=https://host&region=name`, "
        "with credentials in `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.",
    )
    engine: Literal["openai", "faster"] = Field(
        default="openai", description="`openai` (openai-whisper) or `faster` (CTranslate2)."
    )
    model: str = Field(
        default="turbo", description="A Whisper name, fetched on first use, or a path to a checkpoint."
    )
    live_model: str = Field(default="", description="A smaller model while on air; default: the same.")
    translate_model: str = Field(
        default="",
        description="The model that translates into English, such as `medium`; default: `MODEL`. `turbo` cannot.",
    )
    speaker_segmentation: str = Field(
        default="", description="ONNX file that tells voices apart, with `SPEAKER_EMBEDDING`; for sherpa-onnx."
    )
    speaker_embedding: str = Field(default="", description="ONNX file that knows a voice again.")
    glossary_prompts: bool = Field(
        default=True,
        description="Whether the recogniser is told guests, event and glossary, to hear them better.",
    )
    device: str = Field(default="auto", description="`auto`, `cpu` or `cuda`.")
    languages: tuple[str, ...] = Field(default=("zh", "en"), description="Languages offered for new interviews.")
    allow_networks: tuple[str, ...] = Field(
        default=(), description="Private networks that streams may be pulled from, as CIDR."
    )
    keep_segments: int | None = Field(
        default=None,
        ge=0,
        description="Days that a broadcast's segments are kept besides its verified file; without it: for ever.",
    )
    rtmp_server: str = Field(
        default="",
        description="`rtmp://127.0.0.1:1935/live`: a server beside the archive to which encoders send RTMP.",
    )
    host: str = Field(default="127.0.0.1", description="Address the web server listens on.")
    port: int = Field(
        default=8080, ge=0, le=65535, description="Port the web server listens on; 0: any free one."
    )
    base_url: str = Field(default="", description="Public address of the site, for links in exports and feeds.")
    trusted_proxies: tuple[str, ...] = Field(
        default=("127.0.0.0/8", "::1/128"),
        description="Networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed, as CIDR.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="How much to log."
    )
    demo_control: str = Field(
        default="", description="Set by `streamarchive demo`: where its broadcaster listens."
    )

    @field_validator("languages", "allow_networks", "trusted_proxies", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("data_dir")
    @classmethod
    def _expand_home(cls, value: Path) -> Path:
        try:
            return value.expanduser()
        except RuntimeError as error:
            message = f"there is no home folder for {str(value)!r}"
            raise ValueError(message) from error

    @field_validator("allow_networks", "trusted_proxies")
    @classmethod
    def _check_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network)
        return value

    @field_validator("database", "search", "media")
    @classmethod
    def _check_url(cls, value: str, info: ValidationInfo) -> str:
        if value:
            known = _SCHEMES[info.field_name or ""]
            scheme = value.partition("://")[0] if "://" in value else ""
            if scheme not in known:
                wanted = ", ".join(f"{scheme}://" for scheme in sorted(known))
                message = f"the scheme of {redact(value)!r} is not one of {wanted}"
                raise ValueError(message)
            _check_place(value, scheme)
        return value

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str) -> str:
        if value and not (value.startswith(("http://", "https://")) and urlsplit(value).hostname):
            message = f"{value!r} is not an address that begins with http:// or https://"
            raise ValueError(message)
        return value

    @property
    def database_url(self) -> str:
        """The catalogue's URL, with the default filled in."""
        return self.database or f"sqlite:///{self._own('catalogue.sqlite')}"

    @property
    def search_url(self) -> str:
        """The index's URL, with the default filled in."""
        return self.search or f"sqlite:///{self._own('search.sqlite')}"

    @property
    def media_url(self) -> str:
        """The media store's URL, with the default filled in."""
        return self.media or f"file://{self._own('media')}"

    @property
    def incoming(self) -> Path:
        """The folder of files on their way into the archive."""
        return self.data_dir.absolute() / "incoming"

    @property
    def fetched(self) -> Path:
        """The folder of media that are kept elsewhere, while they are used here."""
        return self.data_dir.absolute() / "fetched"

    def _own(self, name: str) -> str:
        return quote(str(self.data_dir.absolute() / name))

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """`allow_networks`, parsed."""
        return tuple(ip_network(network) for network in self.allow_networks)

    @property
    def site(self) -> str:
        """The public address without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.base_url or f"http://{host}:{self.port}").rstrip("/")


def load_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    dotenv: Path | None = Path(".env"),
) -> Settings:
    """Read every source and check the whole. Raises `SettingsError`, one sentence, naming the setting."""
    environ = os.environ if environ is None else environ
    config = config or (Path(environ[PREFIX + "CONFIG"]) if environ.get(PREFIX + "CONFIG") else None)
    values: dict[str, Any] = {}
    if config is not None:
        values.update(_checked(_from_toml(config), f"in {config}"))
    if dotenv is not None and dotenv.is_file():
        values.update(_checked(_prefixed(_from_dotenv(dotenv)), f"in {dotenv}"))
    values.update(_checked(_prefixed(environ), "in the environment"))
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    _refuse_unknown(given, "among the flags")
    try:
        return Settings(**{**values, **given})
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from error


_PASSWORD = re.compile(r"(?<=://)([^/@:]*):[^/]*@|([?&]password=)[^&#]*")


def as_environment(settings: Settings) -> dict[str, str]:
    """The variables that give a child process exactly these settings."""
    environment = {}
    for name, value in settings.model_dump(mode="json").items():
        text = ",".join(value) if isinstance(value, list) else "" if value is None else str(value)
        if text:
            environment[PREFIX + name.upper()] = text
    return environment


def redact(url: str) -> str:
    """The URL without its password, for messages and logs; also of a URL that is none."""
    return _PASSWORD.sub(lambda found: f"{found[2]}***" if found[2] else f"{found[1]}:***@", url)


def _check_place(url: str, scheme: str) -> None:
    """Raise `ValueError` if the URL names no file (sqlite, file) or no host (the others)."""
    parts = urlsplit(url)
    if scheme in ("sqlite", "file"):
        if not parts.path.strip("/") or parts.netloc or parts.path == "/:memory:":
            example = "file:///path/to/folder" if scheme == "file" else "sqlite:////path/to/file"
            raise ValueError(f"{url!r} names no place on this disk; write {example}")
    elif scheme == "s3" and "@" in parts.netloc:
        raise ValueError(
            "the address of a bucket holds no credentials; "
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"
        )
    elif not parts.hostname and scheme != "postgresql":  # which may have a socket's folder as a parameter
        raise ValueError(f"{redact(url)!r} names no host")
    elif parts.port == 0:  # reading it raises ValueError for what is no port at all
        raise ValueError(f"{redact(url)!r} names port 0")


def _from_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_read(path, f"the settings file {path}"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"the settings file {path} is not valid TOML: {error}") from error


def _from_dotenv(path: Path) -> dict[str, str]:
    found = dotenv_values(stream=StringIO(_read(path, str(path))))
    return {name: value for name, value in found.items() if value is not None}


def _prefixed(environ: Mapping[str, str]) -> dict[str, Any]:
    """What of this is meant for us, under the names of the settings."""
    return {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(PREFIX) and name != PREFIX + "CONFIG"
    }


def _checked(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values of one source: known names only, secrets read from their files, empty ones left out."""
    found = {name: value for name, value in values.items() if value != ""}
    for secret in SECRETS:
        file = found.pop(f"{secret}_file", None)
        if file is None:
            continue
        if secret in found:
            raise SettingsError(f"both {secret!r} and '{secret}_file' are set {where}; keep one of them")
        found[secret] = _read(Path(str(file)), f"{file}, which '{secret}_file' names").strip()
        if not found[secret]:
            raise SettingsError(f"{file}, which '{secret}_file' names, is empty")
    _refuse_unknown(found, where)
    return found


def _read(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot read {name}: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, or a NUL in the path
        raise SettingsError(f"cannot read {name}: it is not UTF-8 text") from error


def _refuse_unknown(values: Mapping[str, Any], where: str) -> None:
    unknown = sorted(set(values) - set(Settings.model_fields))
    if unknown:
        known = ", ".join(sorted(Settings.model_fields))
        raise SettingsError(f"unknown setting {unknown[0]!r} {where}; the settings are {known}")


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    return f"setting {name!r}: {first['msg'].removeprefix('Value error, ')}"
