"""The interviews that come with the demo: something to search before the first broadcast ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path

from streamarchive import captions
from streamarchive.models import CueDraft, Person


@dataclass(frozen=True, slots=True)
class ShippedInterview:
    """A sound file and what is known about it."""

    file: Path
    titles: Mapping[str, str]
    languages: tuple[str, ...]
    guests: tuple[Person, ...]
    held_at: datetime

    def lines(self) -> list[CueDraft]:
        """What the demo recogniser heard in it: the output of `streamarchive transcribe FILE --json`.

        It comes along so that a first start does not keep the recogniser from what is on air.
        """
        return captions.from_json(self.file.with_suffix(".json").read_text("utf-8"))


def data_folder() -> Path:
    """Where the demo's files lie; wheels are always installed unpacked."""
    return Path(str(files(__package__).joinpath("data")))


def shipped_interviews() -> tuple[ShippedInterview, ...]:
    """All of them, newest first."""
    entries = json.loads((data_folder() / "interviews.json").read_text("utf-8"))
    return tuple(
        ShippedInterview(
            file=data_folder() / entry["file"],
            titles=entry["titles"],
            languages=tuple(entry["languages"]),
            guests=tuple(Person(0, guest["names"], guest["affiliations"]) for guest in entry["guests"]),
            held_at=datetime.fromisoformat(entry["held_at"]),
        )
        for entry in entries
    )
