"""The documentation speaks of what is there: settings, commands, targets, files."""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from streamarchive.cli.parser import build_parser
from streamarchive.settings import PREFIX, SECRETS, Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
GUIDES = "\n".join(page.read_text() for page in PAGES if "decisions" not in page.parts)


def _tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found.update(action.choices)
    return found


def _commands_in(text: str) -> Iterator[list[str]]:
    for line in re.findall(r"(?:^ {4}|`)(?:\.venv/bin/)?streamarchive ([a-z][^`\n]*)", text, re.MULTILINE):
        yield line.split()


def test_the_table_of_settings_is_that_of_the_settings() -> None:
    guide = (ROOT / "docs" / "operator-guide.md").read_text()
    assert _tool("settings_table").with_table(guide) == guide, "run tools/settings_table.py"


def test_every_setting_that_is_named_exists() -> None:
    files = [f"{secret}_file" for secret in SECRETS]
    known = {PREFIX + name.upper() for name in (*Settings.model_fields, "config", *files)}
    assert set(re.findall(rf"{PREFIX}[A-Z_]+", GUIDES)) <= known


@pytest.mark.parametrize("command", _subcommands(build_parser()))
def test_the_guides_speak_of_the_command(command: str) -> None:
    assert any(words[0] == command for words in _commands_in(GUIDES))


def test_every_command_and_flag_that_is_named_exists() -> None:
    for words in _commands_in(GUIDES):
        parser = build_parser()
        for word in words:
            nested = _subcommands(parser)
            if nested and word in nested:
                parser = nested[word]
        assert parser.prog != "streamarchive", words
        flags = {flag for flag in words if re.fullmatch(r"--[a-z-]+", flag)}
        assert flags <= {flag for action in parser._actions for flag in action.option_strings}, words


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`| {4})make ([a-z]+)", GUIDES)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_are_here(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_make_explains_its_targets() -> None:
    said = subprocess.run(["make", "-C", ROOT, "help"], capture_output=True, text=True, check=True).stdout
    for target in ("install", "demo", "run", "unit", "test", "check", "bench", "screenshots", "clean"):
        assert re.search(rf"make {target} +\w", said)


def test_make_runs_every_benchmark() -> None:
    programs = [file for file in (ROOT / "benchmarks").glob("*.py") if "__main__" in file.read_text()]
    run = re.findall(r"run benchmarks/(\w+\.py)", (ROOT / "Makefile").read_text())
    assert sorted(run) == sorted(file.name for file in programs)
