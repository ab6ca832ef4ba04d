"""`transcribe`: a media file in, captions out."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from streamarchive import captions
from streamarchive.cli import console
from streamarchive.cli.parser import languages_of
from streamarchive.errors import StreamArchiveError
from streamarchive.media import probe
from streamarchive.models import CueDraft
from streamarchive.services import Engines, check_model
from streamarchive.settings import Settings


async def transcribe(settings: Settings, options: argparse.Namespace) -> None:
    """Print the captions of a file. No archive is opened."""
    from streamarchive.transcription.passes import PassSettings, transcribe_file

    file: Path = options.file
    if not file.is_file():
        raise StreamArchiveError(f"there is no file {file}")
    check_model(settings)
    info = await probe.probe(file)
    engines = Engines(settings)
    try:
        with console.progress(f"Transcribing {file.name}") as show:
            found = await transcribe_file(
                file,
                engines.final,
                PassSettings(languages=languages_of(options, settings)),
                lambda done_ms: show(done_ms / max(info.duration_ms, 1)),
            )
    finally:
        await engines.close()
    console.write_file(options.output, _format(options.format, found.cues, info.duration_ms, found.language))


def _format(form: str, lines: Sequence[CueDraft], duration_ms: int, language: str | None) -> str:
    if form == "json":
        return json.dumps(captions.to_json(lines, duration_ms, language), ensure_ascii=False, indent=2)
    return {"vtt": captions.to_vtt, "srt": captions.to_srt, "txt": captions.to_txt}[form](lines)
