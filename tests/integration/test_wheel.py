"""The wheel is complete: a site that was installed from it, without this checkout, runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("streamarchive", "workers", "web")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


COMMAND = (sys.executable, "-P", "-m", "streamarchive")


def _environment(installed: Path) -> dict[str, str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("STREAMARCHIVE_")}
    return {**environ, "PYTHONPATH": str(installed)}


def test_it_holds_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert held == wanted


@pytest.mark.parametrize(
    "pattern",
    [
        "streamarchive/catalogue/migrations/versions/*.py",
        "streamarchive/demo/data/*.pt",
        "web/templates/*.html",
        "web/static/css/*.css",
    ],
)
def test_it_holds_what_is_no_module(installed: Path, pattern: str) -> None:
    assert list(installed.glob(pattern))


def test_an_archive_is_made_by_what_was_installed(installed: Path, tmp_path: Path) -> None:
    def migrate() -> str:
        command = [*COMMAND, "migrate", "--data-dir", "here"]
        return subprocess.check_output(command, env=_environment(installed), cwd=tmp_path, text=True)

    migrate()
    assert (tmp_path / "here" / "catalogue.sqlite").is_file()
    assert "Nothing had to be done" in migrate()


def test_pages_are_served_by_what_was_installed(installed: Path, tmp_path: Path) -> None:
    command = [*COMMAND, "serve", "--no-workers", "--port", "0", "--data-dir", "here"]
    server = subprocess.Popen(
        command, env=_environment(installed), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    with server:
        assert server.stderr is not None
        try:
            found = re.search(r"http://\S+", server.stderr.readline())
            assert found is not None
            with urllib.request.urlopen(found[0]) as answer:
                page = answer.read().decode()
            styles = re.findall(r'<link rel="stylesheet" href="([^"]+)"', page)
            assert styles
            for style in styles:
                with urllib.request.urlopen(found[0] + style) as answer:
                    assert answer.status == 200
        finally:
            server.terminate()
    assert server.returncode == 0
