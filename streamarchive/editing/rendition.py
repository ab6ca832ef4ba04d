"""How what a machine heard becomes lines for readers: its Chinese in one script, its speakers named. Pure.

A run keeps what was heard as it was heard; readers, search and editors get its rendition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from streamarchive import text
from streamarchive.models import CueDraft, Script, Turn, Word

_CHINESE = ("zh", "yue")


@dataclass(frozen=True, slots=True)
class Rendition:
    """What is done to each line. `turns` come by time and may overlap."""

    script: Script = Script.AS_HEARD
    turns: tuple[Turn, ...] = ()

    def of(self, heard: Sequence[CueDraft]) -> list[CueDraft]:
        """The lines as readers get them; `heard` comes by time."""
        written = (self._written(line) for line in heard)
        return [replace(line, speaker=name) if name else line for line, name in self._named(written)]

    def text(self, heard: str, lang: str) -> str:
        """A text by itself."""
        return text.in_script(heard, self.script) if lang in _CHINESE else heard

    def _written(self, line: CueDraft) -> CueDraft:
        whole = self.text(line.text, line.lang)
        if whole == line.text:
            return line
        return replace(line, text=whole, words=tuple(_words(line, whole, self.script)))

    def _named(self, lines: Iterator[CueDraft]) -> Iterator[tuple[CueDraft, str | None]]:
        first = 0
        for line in lines:
            while first < len(self.turns) and self.turns[first].end_ms <= line.start_ms:
                first += 1
            yield line, _speaker(line, self.turns, first)


AS_HEARD = Rendition()


def _words(line: CueDraft, whole: str, script: Script) -> Iterator[Word]:
    """The words as the whole text has them, where a character became a character: some depend on neighbours."""
    at = 0
    for word in line.words:
        found = line.text.find(word.text, at)
        if found < 0 or len(whole) != len(line.text):
            yield replace(word, text=text.in_script(word.text, script))
            continue
        at = found + len(word.text)
        yield replace(word, text=whole[found:at])


def _speaker(line: CueDraft, turns: Sequence[Turn], first: int) -> str | None:
    """Who speaks for the longest while its words are said."""
    spoken: Counter[str] = Counter()
    said = line.words or (Word(line.text, line.start_ms, line.end_ms),)
    for turn in turns[first:]:
        if turn.start_ms >= line.end_ms:
            break
        for word in said:
            spoken[turn.speaker] += max(min(word.end_ms, turn.end_ms) - max(word.start_ms, turn.start_ms), 0)
    name, longest = max(spoken.items(), key=lambda item: item[1], default=("", 0))
    return name if longest else None
