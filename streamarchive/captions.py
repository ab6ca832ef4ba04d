"""Captions: timed lines to WebVTT, SRT, plain text and JSON, and back. Pure.

The writers take anything with the fields of `TimedLine` (a `Cue` of the catalogue or a `CueDraft` of an
engine); the readers yield `CueDraft`. WebVTT keeps times, text, speakers and languages through a round trip,
JSON words and their probabilities as well; SRT and plain text are for other people's tools and keep what they
can show.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from streamarchive.errors import UnreadableCaptionsError
from streamarchive.models import CueDraft, Word


class TimedLine(Protocol):
    """What a writer needs of a line; times are milliseconds."""

    @property
    def start_ms(self) -> int: ...  # noqa: D102 - the names are the documentation
    @property
    def end_ms(self) -> int: ...  # noqa: D102
    @property
    def text(self) -> str: ...  # noqa: D102
    @property
    def lang(self) -> str: ...  # noqa: D102
    @property
    def words(self) -> tuple[Word, ...]: ...  # noqa: D102
    @property
    def speaker(self) -> str | None: ...  # noqa: D102


# --- what all formats share -----------------------------------------------------------------------------

_LINE_END = re.compile(r"\r\n?|\n")
_HAN = r"\u2e80-\u303f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_FOLD = re.compile(rf"(?<=[{_HAN}]) *\n *(?=[{_HAN}])")


def main_language(lines: Iterable[TimedLine]) -> str:
    """The language most of the text is in; empty if no line names one."""
    weight: Counter[str] = Counter()
    for line in lines:
        if line.lang:
            weight[line.lang] += len(line.text)
    return weight.most_common(1)[0][0] if weight else ""


def _in_order(lines: Iterable[TimedLine]) -> Iterator[tuple[TimedLine, int, list[str]]]:
    """Lines with text, by start, each with an end after its start and its text as non-empty rows."""
    for line in sorted(lines, key=lambda line: (line.start_ms, line.end_ms)):
        rows = _rows(line.text)
        if rows:
            yield line, max(line.end_ms, line.start_ms + 1), rows


def _rows(text: str) -> list[str]:
    rows = (row.strip() for row in _LINE_END.split(text.replace("\0", "\ufffd")))
    return [row for row in rows if row]


def _fold(rows: Iterable[str]) -> str:
    """Undo a caption's line breaks: they are layout, and Chinese has no space to put there."""
    text = "\n".join(row.strip() for row in rows if row.strip())
    return _FOLD.sub("", text).replace("\n", " ")


def _one_row(name: str | None) -> str:
    return " ".join((name or "").replace("\0", "\ufffd").split())


def _clock(ms: int, decimal: str) -> str:
    seconds, milliseconds = divmod(max(ms, 0), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{decimal}{milliseconds:03}"


# --- WebVTT ---------------------------------------------------------------------------------------------


def to_vtt(lines: Iterable[TimedLine], language: str | None = None) -> str:
    """WebVTT: starts never fall, ids count from 1.

    Lines that are not in `language` (default: the main one) are tagged with theirs.
    """
    lines = list(lines)
    language = main_language(lines) if language is None else language
    blocks = ["WEBVTT"]
    for number, (line, end_ms, rows) in enumerate(_in_order(lines), start=1):
        text = "\n".join(html.escape(row, quote=False) for row in rows)
        if line.lang and line.lang != language:
            text = f"<lang {line.lang}>{text}</lang>"
        if speaker := _one_row(line.speaker):
            text = f"<v {html.escape(speaker, quote=False)}>{text}</v>"
        blocks.append(f"{number}\n{_clock(line.start_ms, '.')} --> {_clock(end_ms, '.')}\n{text}")
    return "\n\n".join(blocks) + "\n"


def from_vtt(text: str, language: str = "") -> list[CueDraft]:
    """Read WebVTT; lines without a `<lang>` are in `language`. Raises `UnreadableCaptionsError`."""
    text = text.removeprefix("\ufeff").replace("\0", "\ufffd")
    if not re.match(r"WEBVTT(?:[ \t\r\n]|$)", text):
        raise UnreadableCaptionsError("This is not WebVTT: its first line has to begin with WEBVTT.")
    rows = _LINE_END.split(text)
    drafts = [draft for cue in _timed_blocks(rows, stop_at_blank=True) for draft in _voices(cue, language)]
    return _found(drafts)


_TAG = re.compile(r"<(/?)([A-Za-z0-9:.]*)(?:[ \t\n]([^>]*))?>")


def _voices(cue: _TimedBlock, language: str) -> Iterator[CueDraft]:
    """One draft for each speaker in the cue, all with the times of the cue."""
    speaker: str | None = None
    lang = language
    pieces: list[tuple[str | None, str, str]] = []
    text, at = "\n".join(cue.rows), 0
    for tag in _TAG.finditer(text):
        pieces.append((speaker, lang, text[at : tag.start()]))
        at = tag.end()
        name = tag[2].split(".")[0]
        if name == "v":
            speaker = None if tag[1] else _one_row(html.unescape(tag[3] or "")) or None
        elif name == "lang":
            lang = language if tag[1] else html.unescape(tag[3] or "").strip() or language
    pieces.append((speaker, lang, text[at:]))
    yield from _join_voices(cue, pieces)


def _join_voices(cue: _TimedBlock, pieces: Sequence[tuple[str | None, str, str]]) -> Iterator[CueDraft]:
    at = 0
    while at < len(pieces):
        speaker, same = pieces[at][0], at
        while same < len(pieces) and pieces[same][0] == speaker:
            same += 1
        body = html.unescape("".join(piece[2] for piece in pieces[at:same]))
        if folded := _fold(_LINE_END.split(body)):
            lang = next(piece[1] for piece in pieces[at:same] if piece[2].strip())
            yield CueDraft(cue.start_ms, cue.end_ms, folded, lang, speaker=speaker)
        at = same


# --- SRT ------------------------------------------------------------------------------------------------


def to_srt(lines: Iterable[TimedLine]) -> str:
    """SubRip: numbered from 1, comma decimals, `Name: ` before the text."""
    blocks = []
    for number, (line, end_ms, rows) in enumerate(_in_order(lines), start=1):
        name = f"{speaker}: " if (speaker := _one_row(line.speaker)) else ""
        # An arrow in the text would be read as a time range by every player.
        text = (name + "\n".join(rows)).replace("-->", "→")
        blocks.append(f"{number}\n{_clock(line.start_ms, ',')} --> {_clock(end_ms, ',')}\n{text}\n")
    return "\n".join(blocks)


_SRT_MARKUP = re.compile(r"</?(?:b|i|u|s|font)(?:\s[^>]*)?>|\{\\[^}]*\}", re.IGNORECASE)


def from_srt(text: str, language: str = "") -> list[CueDraft]:
    """Read SubRip, all of it in `language`. Raises `UnreadableCaptionsError`."""
    rows = _LINE_END.split(text.removeprefix("\ufeff").replace("\0", "\ufffd"))
    drafts = [
        CueDraft(cue.start_ms, cue.end_ms, folded, language)
        for cue in _timed_blocks(rows, stop_at_blank=False)
        if (folded := _fold(_SRT_MARKUP.sub("", row) for row in cue.rows))
    ]
    return _found(drafts)


# --- time ranges, as WebVTT and SRT share them ----------------------------------------------------------

_TIME = r"(?:(\d{2,}|\d):)?([0-5]\d):([0-5]\d)[.,](\d{3})"
_RANGE = re.compile(rf"[ \t]*{_TIME}[ \t]*-->[ \t]*{_TIME}(?:[ \t].*)?$")


@dataclass(frozen=True, slots=True)
class _TimedBlock:
    start_ms: int
    end_ms: int
    rows: tuple[str, ...]


def _timed_blocks(rows: Sequence[str], *, stop_at_blank: bool) -> Iterator[_TimedBlock]:
    """The rows under each time range. A row with an arrow that is no range is an error, not a row."""
    starts = _range_rows(rows, notes=stop_at_blank)
    for index, at in enumerate(starts):
        last = starts[index + 1] if index + 1 < len(starts) else len(rows)
        body = list(rows[at + 1 : last])
        if stop_at_blank and "" in body:
            body = body[: body.index("")]
        elif last < len(rows) and body:
            body = _without_next_number(body)
        start_ms, end_ms = _parse_range(rows[at], at + 1)
        yield _TimedBlock(start_ms, end_ms, tuple(body))


def _range_rows(rows: Sequence[str], *, notes: bool) -> list[int]:
    found, in_note = [], False
    for at, row in enumerate(rows):
        if not row.strip():
            in_note = False
        elif notes and re.match(r"(NOTE|STYLE|REGION)(\s|$)", row) and (at == 0 or not rows[at - 1].strip()):
            in_note = True
        if "-->" in row and not in_note:
            found.append(at)
    return found


def _without_next_number(body: list[str]) -> list[str]:
    """Without the number (or WebVTT id) of the cue that follows, which stands right above its times."""
    last = body[-1].strip()
    lonely = len(body) > 1 and not body[-2].strip()
    return body[:-1] if last and (last.isdigit() or lonely) else body


def _parse_range(row: str, number: int) -> tuple[int, int]:
    match = _RANGE.match(row)
    shown = row.strip()[:80]
    if match is None:
        raise UnreadableCaptionsError(
            f"Line {number} of the captions is not a time range like 00:01:02.345 --> 00:01:04.000: {shown}"
        )
    groups = match.groups()
    start_ms, end_ms = _parse_clock(groups[:4]), _parse_clock(groups[4:])
    if end_ms < start_ms:
        raise UnreadableCaptionsError(f"Line {number} of the captions ends before it begins: {shown}")
    return start_ms, end_ms


def _parse_clock(parts: Sequence[str | None]) -> int:
    hours, minutes, seconds, milliseconds = (int(part or 0) for part in parts)
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds


def _found(drafts: list[CueDraft]) -> list[CueDraft]:
    if not drafts:
        raise UnreadableCaptionsError(
            "There is no caption in this file: expected WebVTT, SRT or JSON with timed lines."
        )
    return sorted(drafts, key=lambda draft: (draft.start_ms, draft.end_ms))


# --- plain text and JSON --------------------------------------------------------------------------------


def to_txt(lines: Iterable[TimedLine]) -> str:
    """A row a line, with the name where the speaker changes."""
    rows: list[str] = []
    speaker = ""
    for line, _, text_rows in _in_order(lines):
        name = _one_row(line.speaker)
        rows.append(f"{name}: {_fold(text_rows)}" if name and name != speaker else _fold(text_rows))
        speaker = name
    return "".join(f"{row}\n" for row in rows)


def to_json(lines: Iterable[TimedLine], duration_ms: int, language: str | None = None) -> dict[str, Any]:
    """Plain values: `language`, `duration_ms` and `cues`, these with `speaker` where one is known."""
    lines = list(lines)
    return {
        "language": main_language(lines) if language is None else language,
        "duration_ms": duration_ms,
        "cues": [_cue_values(line) for line in sorted(lines, key=lambda line: (line.start_ms, line.end_ms))],
    }


def _cue_values(line: TimedLine) -> dict[str, Any]:
    values: dict[str, Any] = {
        "start_ms": line.start_ms,
        "end_ms": line.end_ms,
        "text": line.text,
        "lang": line.lang,
        "words": [
            {"text": w.text, "start_ms": w.start_ms, "end_ms": w.end_ms, "probability": w.probability}
            for w in line.words
        ],
    }
    return values | ({"speaker": line.speaker} if line.speaker else {})


def from_json(text: str, language: str = "") -> list[CueDraft]:
    """Read what `to_json` wrote. Raises `UnreadableCaptionsError`."""
    try:
        cues = json.loads(text)["cues"]
        return _found([_draft(values, language) for values in cues])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableCaptionsError(
            f"This JSON is not a transcript: expected cues with start_ms, end_ms and text ({error})."
        ) from error


def _draft(values: dict[str, Any], language: str) -> CueDraft:
    words = tuple(
        Word(
            str(word["text"]),
            int(word["start_ms"]),
            int(word["end_ms"]),
            _probability(word.get("probability")),
        )
        for word in values.get("words", ())
    )
    return CueDraft(
        int(values["start_ms"]),
        int(values["end_ms"]),
        str(values["text"]),
        str(values.get("lang") or language),
        words,
        values.get("speaker"),
    )


def _probability(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


# --- any format -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CaptionFormat:
    """A format by its file suffix."""

    suffix: str
    media_type: str
    write: Callable[[Sequence[TimedLine], int], str]
    """Text of the lines of a recording that lasts so many milliseconds."""
    has_words: bool = False
    """Whether it holds the times of words, too."""


def _write_json(lines: Sequence[TimedLine], duration_ms: int) -> str:
    return json.dumps(to_json(lines, duration_ms), ensure_ascii=False, indent=1) + "\n"


FORMATS = {
    "vtt": CaptionFormat("vtt", "text/vtt", lambda lines, _: to_vtt(lines)),
    "srt": CaptionFormat("srt", "application/x-subrip", lambda lines, _: to_srt(lines)),
    "txt": CaptionFormat("txt", "text/plain", lambda lines, _: to_txt(lines)),
    "json": CaptionFormat("json", "application/json", _write_json, has_words=True),
}


def read_captions(data: bytes, language: str = "") -> list[CueDraft]:
    """Read a caption file of whichever format its content shows. Raises `UnreadableCaptionsError`."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableCaptionsError(
            "The captions are not UTF-8 text: save the file as UTF-8 and try again."
        ) from error
    if text.startswith("WEBVTT"):
        return from_vtt(text, language)
    return from_json(text, language) if text.lstrip().startswith("{") else from_srt(text, language)
