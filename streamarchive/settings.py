"""What can be configured: read once at the start, checked, then frozen.

Sources, the later stronger: defaults, a TOML file (``--config`` or ``STREAMARCHIVE_CONFIG``), ``.env`` in the
current folder, the environment (``STREAMARCHIVE_…``), flags. A secret may stand in a file: the setting's name
with ``_FILE`` names it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from streamarchive.errors import SettingsError

PREFIX = "STREAMARCHIVE_"
SECRETS = ("database", "search")
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
    media: str = Field(default="", description="`file:///path` (or `s3://bucket/prefix`, in a later version).")
    engine: Literal["openai", "faster"] = Field(default="openai", description="Which engine runs Whisper.")
    model: str = Field(
        default="turbo", description="A Whisper name, fetched on first use, or a path to a checkpoint."
    )
    live_model: str = Field(default="", description="A smaller model while on air; default: the same.")
    device: str = Field(default="auto", description="`auto`, `cpu` or `cuda`.")
    languages: tuple[str, ...] = Field(default=("zh", "en"), description="Languages offered for new interviews.")
    allow_networks: tuple[str, ...] = Field(
        default=(), description="Private networks that streams may be pulled from, as CIDR."
    )
    host: str = Field(default="127.0.0.1", description="Address the web server listens on.")
    port: int = Field(
        default=8080, ge=0, le=65535, description="Port the web server listens on; 0: any free one."
    )
    base_url: str = Field(default="", description="Public address of the site, for links in exports and feeds.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="How much to log."
    )
    demo_control: str = Field(
        default="", description="Set by `streamarchive demo`: where its broadcaster listens."
    )

    @field_validator("languages", "allow_networks", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("allow_networks")
    @classmethod
    def _check_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network)
        return value

    @field_validator("database", "search", "media")
    @classmethod
    def _check_scheme(cls, value: str, info: ValidationInfo) -> str:
        known = _SCHEMES[info.field_name or ""]
        if value and urlsplit(value).scheme not in known:
            wanted = ", ".join(f"{scheme}://" for scheme in sorted(known))
            message = f"the scheme of {redact(value)!r} is not one of {wanted}"
            raise ValueError(message)
        return value

    @property
    def database_url(self) -> str:
        """The catalogue's URL, with the default filled in."""
        return self.database or f"sqlite:///{self.data_dir.absolute() / 'catalogue.sqlite'}"

    @property
    def search_url(self) -> str:
        """The index's URL, with the default filled in."""
        return self.search or f"sqlite:///{self.data_dir.absolute() / 'search.sqlite'}"

    @property
    def media_url(self) -> str:
        """The media store's URL, with the default filled in."""
        return self.media or f"file://{self.data_dir.absolute() / 'media'}"

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """`allow_networks`, parsed."""
        return tuple(ip_network(network) for network in self.allow_networks)

    @property
    def site(self) -> str:
        """The public address without a trailing slash."""
        return (self.base_url or f"http://{self.host}:{self.port}").rstrip("/")


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
        values.update(_from_toml(config))
    if dotenv is not None and dotenv.is_file():
        values.update(
            _from_environment({k: v for k, v in dotenv_values(dotenv).items() if v is not None}, f"in {dotenv}")
        )
    values.update(_from_environment(environ, "in the environment"))
    values.update({name: value for name, value in (flags or {}).items() if value is not None})
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from error


def as_environment(settings: Settings) -> dict[str, str]:
    """The variables that give a child process exactly these settings."""
    environment = {}
    for name, value in settings.model_dump(mode="json").items():
        text = ",".join(value) if isinstance(value, list) else str(value)
        if text:
            environment[PREFIX + name.upper()] = text
    return environment


def redact(url: str) -> str:
    """The URL without its password, for messages and logs."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return parts._replace(netloc=f"{parts.username}:***@{host}{port}").geturl()


def _from_toml(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"the settings file {path} is not valid TOML: {error}") from error
    _refuse_unknown(values, f"in {path}")
    return values


def _from_environment(environ: Mapping[str, str], where: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in environ.items():
        if not name.startswith(PREFIX) or name == PREFIX + "CONFIG":
            continue
        setting = name.removeprefix(PREFIX).lower()
        if setting.removesuffix("_file") in SECRETS and setting.endswith("_file"):
            values[setting.removesuffix("_file")] = _read_secret(name, value)
        else:
            values[setting] = value
    _refuse_unknown(values, where)
    return {name: value for name, value in values.items() if value != ""}


def _read_secret(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"cannot read {path}, which {name} names: {error.strerror}") from error


def _refuse_unknown(values: Mapping[str, Any], where: str) -> None:
    unknown = sorted(set(values) - set(Settings.model_fields))
    if unknown:
        known = ", ".join(sorted(Settings.model_fields))
        raise SettingsError(f"unknown setting {unknown[0]!r} {where}; the settings are {known}")


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    return f"setting {name!r}: {first['msg'].removeprefix('Value error, ')}"
