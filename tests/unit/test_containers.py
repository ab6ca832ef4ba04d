"""What the containers are told is what the application understands. No engine is needed, and none builds them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamarchive.cli.parser import build_parser
from streamarchive.settings import PREFIX, Settings, load_settings
from workers.runner import KINDS

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"] == "streamarchive"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def _environment(service: Mapping[str, Any], secrets: Path) -> dict[str, str]:
    """As the container has it: defaults of `${NAME:-default}` filled in, secrets in files."""
    environment = {}
    for name, value in service["environment"].items():
        text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value))
        if text.startswith("/run/secrets/"):
            secret = text.removeprefix("/run/secrets/")
            assert secret in service["secrets"]
            (secrets / secret).write_text("postgresql://streamarchive:word@postgres/streamarchive\n")
            text = str(secrets / secret)
        environment[name] = text
    return environment


def _load(name: str, secrets: Path) -> Settings:
    return load_settings(environ=_environment(SERVICES[name], secrets), dotenv=None)


@pytest.mark.parametrize("name", OURS)
def test_settings_understand_the_environment_of(name: str, tmp_path: Path) -> None:
    settings = _load(name, tmp_path)
    assert settings.database_url == "postgresql://streamarchive:word@postgres/streamarchive"
    assert settings.search_url == "http://elasticsearch:9200"
    volumes = dict(volume.split(":") for volume in SERVICES[name]["volumes"])
    assert volumes["archive"] == str(settings.data_dir)


def test_all_services_share_one_archive(tmp_path: Path) -> None:
    assert len({_load(name, tmp_path) for name in OURS}) == 1


@pytest.mark.parametrize("name", OURS)
def test_the_command_line_is_understood_of(name: str) -> None:
    options = build_parser().parse_args(SERVICES[name]["command"])
    if name == "web":
        assert options.no_workers
        assert options.host == "0.0.0.0"
    else:
        assert set(options.kinds) <= set(KINDS)


def test_every_kind_of_worker_runs_in_one_service() -> None:
    kinds = [kind for name in OURS if name != "web" for kind in SERVICES[name]["command"][1:]]
    assert sorted(kinds) == sorted(KINDS)


@pytest.mark.parametrize("name", [name for name in OURS if name != "web"])
def test_the_health_check_asks_about_what_runs_in(name: str) -> None:
    test = SERVICES[name]["healthcheck"]["test"]
    assert test[:2] == ["CMD", "streamarchive"]
    options = build_parser().parse_args(test[2:])
    assert options.check
    assert options.kinds == SERVICES[name]["command"][1:]


def test_the_site_is_asked_at_its_own_port() -> None:
    assert f":{Settings().port}/readyz" in SERVICES["web"]["healthcheck"]["test"][-1]
    assert SERVICES["web"]["ports"] == [f"127.0.0.1:{Settings().port}:{Settings().port}"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_health_check_and_a_volume_belong_to(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]
    assert all(volume.split(":")[0] in COMPOSE["volumes"] for volume in SERVICES[name]["volumes"])


@pytest.mark.parametrize("name", SERVICES)
def test_no_password_stands_in(name: str) -> None:
    for variable, value in SERVICES[name]["environment"].items():
        assert "PASSWORD" not in variable or variable.endswith("_FILE")
        assert not re.search(r"://[^/]*:[^/]*@", str(value))


def test_databases_are_reached_by_the_services_only() -> None:
    assert COMPOSE["networks"]["back"] == {"internal": True}
    for name in ("postgres", "elasticsearch"):
        assert SERVICES[name]["networks"] == ["back"]
        assert "ports" not in SERVICES[name]


def test_the_image_starts_the_site() -> None:
    command = re.findall(r"^(?:ENTRYPOINT|CMD) \[(.*)\]$", DOCKERFILE, re.MULTILINE)
    words = [word.strip(' "') for line in command for word in line.split(",")]
    assert words[0] == "streamarchive"
    assert build_parser().parse_args(words[1:]).host == "0.0.0.0"
    environ = dict(re.findall(rf"^ENV ({PREFIX}\w+)=(\S+)$", DOCKERFILE, re.MULTILINE))
    assert load_settings(environ=environ, dotenv=None).data_dir == Path("/archive")


def test_the_image_is_built_from_files_that_are_here_and_let_through() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists()
            assert f"!{source}" in ignored
