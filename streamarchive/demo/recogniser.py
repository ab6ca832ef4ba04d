"""The demo recogniser: a small Whisper made by `tools/demo_model`, and what its card says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path


def checkpoint() -> Path:
    """Its file; wheels are always installed unpacked."""
    return Path(str(files(__package__).joinpath("data", "whisper-demo.pt")))


def words() -> Mapping[str, int]:
    """How many words it was trained on, by language."""
    found: Mapping[str, int] = json.loads(checkpoint().with_suffix(".json").read_text("utf-8"))["words"]
    return found
