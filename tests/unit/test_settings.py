from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamarchive.errors import SettingsError
from streamarchive.settings import Settings, load_settings, redact

NOTHING: dict[str, str] = {}


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refusal(**sources: object) -> str:
    """What is said about these sources: always one line."""
    with pytest.raises(SettingsError) as caught:
        load_settings(**{"environ": NOTHING, "dotenv": None, **sources})  # type: ignore[arg-type]
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


# --- sources ------------------------------------------------------------------------------------------------


def test_nothing_set_gives_one_machine_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(environ=NOTHING)
    assert settings.database_url == f"sqlite:///{tmp_path}/archive/catalogue.sqlite"
    assert settings.search_url == f"sqlite:///{tmp_path}/archive/search.sqlite"
    assert settings.media_url == f"file://{tmp_path}/archive/media"
    assert settings.site == "http://127.0.0.1:8080"


def test_the_data_folder_may_have_any_name(tmp_path: Path) -> None:
    """In a URL `#`, `?` and `%` mean something, so they are quoted; every reader of these URLs unquotes them."""
    folder = tmp_path / "50% #1 a?b 访谈"
    settings = load_settings({"data_dir": folder}, environ=NOTHING, dotenv=None)
    for url in (settings.database_url, settings.search_url, settings.media_url):
        parts = urlsplit(url)
        assert (parts.query, parts.fragment) == ("", "")
        assert Path(unquote(parts.path).replace("//", "/")).parent == folder


def test_the_later_source_is_the_stronger(tmp_path: Path) -> None:
    names = ("model", "live_model", "device", "host", "base_url")
    toml = write(tmp_path / "a.toml", "".join(f'{n} = "http://toml"\n' for n in names[1:]))
    dotenv = write(tmp_path / ".env", "".join(f"STREAMARCHIVE_{n.upper()}=http://dotenv\n" for n in names[2:]))
    environ = {f"STREAMARCHIVE_{n.upper()}": "http://environ" for n in names[3:]}
    settings = load_settings({"base_url": "http://flag"}, config=toml, dotenv=dotenv, environ=environ)
    assert [getattr(settings, name) for name in names] == [
        "turbo",
        "http://toml",
        "http://dotenv",
        "http://environ",
        "http://flag",
    ]


def test_env_file_of_the_current_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / ".env", "OTHER=1\nexport STREAMARCHIVE_PORT=9001 # ours\n")
    assert load_settings(environ=NOTHING).port == 9001


def test_the_environment_of_the_process_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"STREAMARCHIVE_PORT": "9002", "PATH": "/bin"})
    assert load_settings(dotenv=None).port == 9002


def test_the_environment_may_name_the_toml_file(tmp_path: Path) -> None:
    named = write(tmp_path / "named.toml", "port = 9003")
    flag = write(tmp_path / "flag.toml", "port = 9004")
    environ = {"STREAMARCHIVE_CONFIG": str(named)}
    assert load_settings(environ=environ, dotenv=None).port == 9003
    assert load_settings(environ=environ, dotenv=None, config=flag).port == 9004


def test_flags_that_were_not_given_do_not_count() -> None:
    assert load_settings({"port": None}, environ={"STREAMARCHIVE_PORT": "9005"}, dotenv=None).port == 9005


def test_an_empty_value_is_none(tmp_path: Path) -> None:
    """Compose files pass every variable on, set or not."""
    environ = {"STREAMARCHIVE_PORT": "", "STREAMARCHIVE_DATABASE": "", "STREAMARCHIVE_DATABASE_FILE": ""}
    toml = write(tmp_path / "a.toml", 'port = 9006\nmodel = ""')
    settings = load_settings(environ=environ, dotenv=None, config=toml)
    assert (settings.port, settings.model, settings.database) == (9006, "turbo", "")


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings(environ=NOTHING, dotenv=None).port = 1  # type: ignore[misc]


# --- values -------------------------------------------------------------------------------------------------


def test_lists_stand_with_commas_or_as_toml_arrays(tmp_path: Path) -> None:
    environ = {"STREAMARCHIVE_LANGUAGES": "en, zh ,", "STREAMARCHIVE_ALLOW_NETWORKS": "10.0.0.0/8,fd00::/8"}
    settings = load_settings(environ=environ, dotenv=None)
    assert settings.languages == ("en", "zh")
    assert [network.version for network in settings.networks] == [4, 6]
    toml = write(tmp_path / "a.toml", 'languages = ["de", "fr"]')
    assert load_settings(environ=NOTHING, dotenv=None, config=toml).languages == ("de", "fr")


def test_the_data_folder_may_begin_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    settings = load_settings({"data_dir": "~/archive"}, environ=NOTHING, dotenv=None)
    assert settings.data_dir == Path("/home/somebody/archive")


@pytest.mark.parametrize(
    ("given", "site"),
    [
        ({"base_url": "https://talks.example/"}, "https://talks.example"),
        ({"host": "::1", "port": 80}, "http://[::1]:80"),
        ({"host": "0.0.0.0"}, "http://0.0.0.0:8080"),
    ],
)
def test_the_site_is_an_address_without_a_slash_at_its_end(given: dict[str, object], site: str) -> None:
    assert load_settings(given, environ=NOTHING, dotenv=None).site == site


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("database", "sqlite:///relative.sqlite"),
        ("database", "sqlite:////absolute/catalogue.sqlite"),
        ("database", "postgresql://archive:p%40ss@db:5432/archive"),
        ("database", "postgresql:///archive?host=/run/postgresql"),
        ("search", "sqlite:////absolute/search.sqlite"),
        ("search", "https://elastic:secret@[::1]:9200"),
        ("media", "file:///srv/media"),
        ("media", "s3://bucket/prefix"),
    ],
)
def test_these_urls_choose_back_ends(name: str, url: str) -> None:
    assert getattr(load_settings({name: url}, environ=NOTHING, dotenv=None), name) == url


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("database", "mysql://h/n", "postgresql://, sqlite://"),
        ("database", "/plain/path", "postgresql://, sqlite://"),
        ("database", "sqlite", "postgresql://, sqlite://"),
        ("database", "sqlite://", "no place"),
        ("database", "sqlite:///:memory:", "no place"),
        ("database", "sqlite://host/path", "no place"),
        ("database", "postgresql://u:secret@h:port/n", "port"),
        ("search", "ftp://h", "http://, https://, sqlite://"),
        ("search", "http://", "no host"),
        ("search", "http://h:99999", "Port out of range"),
        ("media", "http://h/media", "file://, s3://"),
        ("media", "file://", "no place"),
        ("media", "s3:///prefix", "no host"),
        ("media", "s3://key:secret@bucket/prefix", "AWS_ACCESS_KEY_ID"),
        ("base_url", "talks.example", "http:// or https://"),
        ("engine", "kaldi", "openai"),
        ("log_level", "loud", "debug"),
        ("port", "many", "integer"),
        ("port", "70000", "65535"),
        ("allow_networks", "10.0.0.1/8", "host bits"),
        ("allow_networks", "intranet", "intranet"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(name: str, value: str, why: str) -> None:
    message = refusal(environ={f"STREAMARCHIVE_{name.upper()}": value})
    assert name in message
    assert why in message
    assert "secret" not in message


# --- unknown names ------------------------------------------------------------------------------------------


def test_unknown_names_are_refused_in_every_source(tmp_path: Path) -> None:
    toml = write(tmp_path / "a.toml", "prot = 1")
    dotenv = write(tmp_path / ".env", "STREAMARCHIVE_PROT=1")
    messages = [
        refusal(config=toml),
        refusal(dotenv=dotenv),
        refusal(environ={"STREAMARCHIVE_PROT": "1"}),
        refusal(flags={"prot": 1}),
    ]
    places = [str(toml), str(dotenv), "the environment", "the flags"]
    for message, place in zip(messages, places, strict=True):
        assert "'prot'" in message
        assert place in message
        assert "port" in message  # what there is instead


def test_only_secrets_may_stand_in_files(tmp_path: Path) -> None:
    assert "'port_file'" in refusal(environ={"STREAMARCHIVE_PORT_FILE": str(tmp_path)})


def test_a_table_in_the_toml_file_is_an_unknown_name(tmp_path: Path) -> None:
    assert "'web'" in refusal(config=write(tmp_path / "a.toml", "[web]\nport = 1"))


# --- secrets ------------------------------------------------------------------------------------------------


def test_a_secret_is_read_from_the_file_that_is_named(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret", "postgresql://u:p@h/n\n")
    toml = write(tmp_path / "a.toml", f'database_file = "{secret}"')
    dotenv = write(tmp_path / ".env", f"STREAMARCHIVE_DATABASE_FILE={secret}")
    for sources in (
        {"config": toml},
        {"dotenv": dotenv},
        {"environ": {"STREAMARCHIVE_DATABASE_FILE": str(secret)}},
    ):
        settings = load_settings(**{"environ": NOTHING, "dotenv": None, **sources})  # type: ignore[arg-type]
        assert settings.database_url == "postgresql://u:p@h/n"


def test_a_file_that_holds_no_secret_is_refused(tmp_path: Path) -> None:
    """Else a mounted secret that is still empty would quietly begin an archive on SQLite."""
    empty = write(tmp_path / "empty", "\n")
    assert "is empty" in refusal(environ={"STREAMARCHIVE_DATABASE_FILE": str(empty)})
    assert "No such file" in refusal(environ={"STREAMARCHIVE_SEARCH_FILE": str(tmp_path / "none")})
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in refusal(environ={"STREAMARCHIVE_SEARCH_FILE": str(binary)})


def test_a_secret_may_not_be_given_twice_in_one_source(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret", "postgresql://u:p@h/n")
    environ = {
        "STREAMARCHIVE_DATABASE_FILE": str(secret),
        "STREAMARCHIVE_DATABASE": "sqlite:///other.sqlite",
    }
    assert "keep one" in refusal(environ=environ)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:5432/n", "postgresql://u:***@h:5432/n"),
        ("postgresql://u:p%40%2Fss@h/n", "postgresql://u:***@h/n"),
        ("https://elastic:pw@[::1]:9200", "https://elastic:***@[::1]:9200"),
        ("postgresql://u:@h/n", "postgresql://u:***@h/n"),
        ("postgresql://u:p@h:port/n", "postgresql://u:***@h:port/n"),
        ("postgresql:///n?user=u&password=p&host=/run", "postgresql:///n?user=u&password=***&host=/run"),
        ("postgresql://u@h/n", "postgresql://u@h/n"),
        ("sqlite:////srv/a:b@c.sqlite", "sqlite:////srv/a:b@c.sqlite"),
    ],
)
def test_messages_show_urls_without_their_passwords(url: str, shown: str) -> None:
    assert redact(url) == shown


@given(st.text(alphabet=st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1))
def test_no_password_is_ever_shown(password: str) -> None:
    if password not in "postgresql://user:***@host/name":
        assert password not in redact(f"postgresql://user:{password}@host/name")


# --- files that cannot be read ------------------------------------------------------------------------------


def test_a_settings_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "No such file" in refusal(config=tmp_path / "none.toml")
    assert "not valid TOML" in refusal(config=write(tmp_path / "bad.toml", "port = "))
    latin = tmp_path / "latin.toml"
    latin.write_bytes('model = "Grösse"'.encode("latin-1"))
    assert "UTF-8" in refusal(config=latin)
    wrong = write(tmp_path / "wrong.toml", "data_dir = 5")
    assert "data_dir" in refusal(config=wrong)


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
