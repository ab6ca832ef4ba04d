"""What was never in the training, in a voice that never was, is found at the right second."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from streamarchive.demo.voices import UNHEARD, save_wave
from tests.archive import ROOT, Archive
from tests.indexes import ask
from tests.voices import speeches

WITHIN_MS = 1_000
SEARCH_ENGINES = ("embedded", "elasticsearch")


@dataclass(frozen=True)
class Phrase:
    """Four words in a row and when the sentence begins in which they are spoken."""

    text: str
    start_ms: int


def _english_phrases(file: Path) -> list[Phrase]:
    """Ten sentences spoken into a file, and four words of each, drawn at random but always the same."""
    sentences = json.loads((ROOT / "tests/data/unheard.json").read_text(encoding="utf-8"))["en"][
        "known_templates"
    ]
    draw = random.Random("four words in a row")
    chosen = draw.sample([sentence for sentence in sentences if len(sentence.split()) >= 6], 10)
    spans = save_wave(file, speeches([(UNHEARD["en"][0], sentence) for sentence in chosen]))
    phrases = []
    for sentence, (start_ms, _) in zip(chosen, spans, strict=True):
        words = sentence.split()
        first = draw.randrange(len(words) - 3)
        phrases.append(Phrase(" ".join(words[first : first + 4]).strip(",.?"), start_ms))
    return phrases


@pytest.fixture(params=SEARCH_ENGINES)
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    if request.param == "embedded":
        return Archive(tmp_path / "archive")
    return Archive(tmp_path / "archive", {"SEARCH": request.getfixturevalue("elasticsearch_url")})


async def test_four_word_phrases_are_found_at_the_right_second(archive: Archive, tmp_path: Path):
    file = tmp_path / "unheard.wav"
    phrases = _english_phrases(file)
    imported = await archive.do("import", file, "--title", "Unheard", "--language", "en", "--wait", "--json")
    interview = imported.json()["interview"]
    if server := archive.settings.get("SEARCH"):
        await asyncio.to_thread(ask, f"{server}/_refresh", "POST")
    missed = []
    for phrase in phrases:
        found = (await archive.do("search", "--json", f'"{phrase.text}"')).json()
        starts = [hit["start_ms"] for hit in found["hits"] if hit["interview"].split("-")[0] == interview]
        if not any(abs(start_ms - phrase.start_ms) <= WITHIN_MS for start_ms in starts):
            missed.append((phrase, starts))
    assert len(missed) <= 2, missed
