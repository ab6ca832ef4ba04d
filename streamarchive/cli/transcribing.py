"""`transcribe`: a media file in, captions out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from streamarchive import captions
from streamarchive.cli import console
from streamarchive.cli.parser import languages_of
from streamarchive.errors import StreamArchiveError
from streamarchive.media import probe
from streamarchive.models import CueDraft
from streamarchive.services import check_model, open_transcriber
from streamarchive.settings import Settings


async def transcribe(settings: Settings, options: argparse.Namespace) -> None:
    """Print the captions of a file. No archive is opened."""
    from streamarchive.transcription.file import transcribe_file

    file: Path = options.file
    if not file.is_file():
        raise StreamArchiveError(f"there is no file {file}")
    check_model(settings)
    info = await probe.probe(file)
    transcriber = open_transcriber(settings)
    lines = []
    try:
        with console.progress(f"Transcribing {file.name}") as show:
            async for draft in transcribe_file(transcriber, file, languages=languages_of(options, settings)):
                lines.append(draft)
                show(draft.end_ms / max(info.duration_ms, 1))
    finally:
        await transcriber.close()
    console.write_file(options.output, _format(options.format, lines, info.duration_ms))


def _format(form: str, lines: list[CueDraft], duration_ms: int) -> str:
    if form == "json":
        return json.dumps(captions.to_json(lines, duration_ms), ensure_ascii=False, indent=2)
    return {"vtt": captions.to_vtt, "srt": captions.to_srt, "txt": captions.to_txt}[form](lines)
