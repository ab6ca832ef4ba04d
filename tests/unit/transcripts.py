"""Random machine runs and random edits for the tests of editing: Chinese, English and mixed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from streamarchive.editing.operations import clean, delete, edit, insert, merge, retime, split
from streamarchive.editing.overlay import Held, overlay
from streamarchive.editing.units import units, wide
from streamarchive.errors import EditError
from streamarchive.models import CueDraft, Word
from streamarchive.text import tokens

_ENGLISH_TEXT = (
    "the car drives itself through Beijing traffic and nobody in it had to touch wheel or brake we call "
    "that smart-cockpit tests, done. Really? “quoted” it's 3.5 GPT-4 (maybe) a an is so very well"
)
_CHINESE_TEXT = "智能 座舱 我们 在 北京 测试 的 了 是 自动 驾驶 汽车 很 好， 吗？ 对。 “谢谢” 不 会 大家"
ENGLISH, CHINESE = tuple(_ENGLISH_TEXT.split()), tuple(_CHINESE_TEXT.split())
NEW = ("Tesla", "鸿蒙", "Nio,", "比亚迪", "LiDAR", "激光", "雷达。", "zebra", "Xiaomi")


def compose(words: Sequence[str]) -> str:
    """A text of these words as a recogniser writes it: spaces only next to Latin."""
    text = ""
    for word in words:
        space = text and not (wide(text[-1]) and wide(word[0]))
        text += (" " if space else "") + word
    return text


def timed(words: Sequence[str], start_ms: int, pace: random.Random, lang: str) -> CueDraft:
    """A line of these words, each some 100 to 500 ms long, with pauses."""
    at, said = start_ms, []
    for word in words:
        at += pace.choice((0, 0, 0, 20, 150))
        end = at + pace.randrange(80, 500)
        said.append(Word(word, at, end, round(pace.uniform(0.3, 1), 3)))
        at = end
    return CueDraft(start_ms, at, compose(words), lang, tuple(said))


@st.composite
def runs(draw: st.DrawFn, longest: int = 6) -> list[CueDraft]:
    """What a machine might hear: some lines, one after the other."""
    pace = draw(st.randoms(use_true_random=False))
    vocabulary = draw(st.sampled_from([ENGLISH, CHINESE, (*ENGLISH, *CHINESE)]))
    at, lines = pace.randrange(0, 3000), []
    for _ in range(draw(st.integers(1, longest))):
        words = [pace.choice(vocabulary) for _ in range(pace.randrange(1, 10))]
        line = timed(words, at, pace, "zh" if vocabulary is CHINESE else "en")
        lines.append(line)
        at = line.end_ms + pace.choice((0, 10, 400, 3000))
    return lines


def again(run: Sequence[CueDraft], pace: random.Random, jitter_ms: int = 60) -> list[CueDraft]:
    """The same words heard again, a little earlier or later, cut into other lines."""
    words = [word for line in run for word in line.words]
    at, moved = 0, []
    for word in words:
        start = max(word.start_ms + pace.randrange(-jitter_ms, jitter_ms + 1), at, 0)
        at = max(word.end_ms + pace.randrange(-jitter_ms, jitter_ms + 1), start + 20)
        moved.append(Word(word.text, start, at, round(pace.uniform(0.3, 1), 3)))
    lines = []
    while moved:
        count = pace.randrange(1, 12)
        said, moved = moved[:count], moved[count:]
        text = compose([word.text for word in said])
        lines.append(CueDraft(said[0].start_ms, said[-1].end_ms, text, "en", tuple(said)))
    return lines


@dataclass
class Line:
    """A line of the transcript under test and what has been done to it."""

    draft: CueDraft
    human: bool = False
    read: bool = False


@dataclass
class Transcript:
    """A transcript as the catalogue keeps it, in memory: lines, and the words struck out."""

    lines: list[Line]
    struck: list[Word] = field(default_factory=list)

    @classmethod
    def of(cls, run: Sequence[CueDraft]) -> Transcript:
        return cls([Line(line) for line in run])

    def adopt(self, run: Sequence[CueDraft]) -> None:
        """A later run comes."""
        held = [line for line in self.lines if line.human or line.read]
        around = [line.draft for line in self.lines if not (line.human or line.read)]
        laid = overlay([Held(line.draft, line.read) for line in held], self.struck, run, around)
        for line, draft in zip(held, laid.held, strict=True):
            line.draft = draft
        self.lines = held + [Line(draft) for draft in laid.machine]
        self._sort()

    def _sort(self) -> None:
        self.lines.sort(key=lambda line: (line.draft.start_ms, line.draft.end_ms))

    def edit(self, at: int, text: str) -> None:
        done = edit(self.lines[at].draft, text, self.struck)
        self.lines[at] = Line(done.line, human=True)
        self.struck = [word for word in self.struck if word not in done.lifted] + list(done.struck)

    def split(self, at: int, offset: int) -> None:
        halves = split(self.lines[at].draft, offset)
        self.lines[at : at + 1] = [Line(half, human=True) for half in (halves.first, halves.second)]
        self.struck += halves.struck
        self._sort()

    def merge(self, at: int) -> None:
        both = merge(self.lines[at].draft, self.lines[at + 1].draft)
        self.lines[at : at + 2] = [Line(both, human=True)]
        self._sort()

    def delete(self, at: int) -> None:
        self.struck += delete(self.lines.pop(at).draft)

    def insert(self, start_ms: int, end_ms: int, text: str) -> None:
        self.lines.append(Line(insert(start_ms, end_ms, text, "en"), human=True))
        self._sort()

    def retime(self, at: int, start_ms: int, end_ms: int) -> None:
        self.lines[at] = Line(retime(self.lines[at].draft, start_ms, end_ms), human=True)
        self._sort()

    @property
    def said(self) -> list[str]:
        """All its tokens, in the order of its lines."""
        return [token.text for line in self.lines for token in tokens(line.draft.text)]

    def locked(self) -> list[tuple[str, ...]]:
        """The locked words of each line a person has changed, as texts."""
        return [
            tuple(unit.word.text for unit in units(line.draft) if unit.word.locked)
            for line in self.lines
            if line.human
        ]


def retyped(text: str, pace: random.Random) -> str:
    """A text as somebody might correct it: words replaced, added, taken out, changed in a character."""
    words = text.split(" ") if " " in text else list(text)
    glue = " " if " " in text else ""
    for _ in range(pace.randrange(1, 4)):
        at = pace.randrange(len(words)) if words else 0
        match pace.randrange(5):
            case 0 if words:
                words[at] = pace.choice(NEW)
            case 1:
                words.insert(at, pace.choice(NEW))
            case 2 if len(words) > 1:
                del words[at]
            case 3 if words:
                words[at] = words[at].swapcase()
            case _ if words:
                words[at] = words[at][: len(words[at]) // 2] + "x" + words[at][len(words[at]) // 2 :]
    return clean(glue.join(words)) or "x"


def act(transcript: Transcript, pace: random.Random, *, times: bool = True) -> None:
    """One random thing a person may do; what makes no sense is refused and changes nothing."""
    if not transcript.lines:
        return
    at = pace.randrange(len(transcript.lines))
    line = transcript.lines[at].draft
    try:
        match pace.randrange(8 if times else 5):
            case 0 | 1:
                transcript.edit(at, retyped(line.text, pace))
            case 2:
                transcript.split(at, pace.randrange(len(line.text) + 1))
            case 3 if at + 1 < len(transcript.lines):
                transcript.merge(at)
            case 4:
                transcript.delete(at)
            case 5:
                transcript.retime(at, max(line.start_ms + pace.randrange(-300, 300), 0), line.end_ms)
            case 6:
                transcript.insert(line.end_ms, line.end_ms + pace.randrange(1, 900), pace.choice(NEW))
            case _:
                transcript.lines[at].read = True
    except EditError:
        return
