"""`transcribe`: media files in, captions out."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from streamarchive import captions
from streamarchive.cli import console
from streamarchive.cli.parser import languages_of
from streamarchive.cli.terms import entries_in
from streamarchive.errors import StreamArchiveError, UsageError
from streamarchive.media import probe
from streamarchive.models import CueDraft
from streamarchive.protocols import TranscribeOptions, Transcriber
from streamarchive.services import Engines, check_model
from streamarchive.settings import Settings


async def transcribe(settings: Settings, options: argparse.Namespace) -> int:
    """Print or write the captions of each file. No archive is opened; exit status 1 if a file failed."""
    targets = _targets(options)
    chosen = {name: value for name in ("engine", "model") if (value := getattr(options, name))}
    if options.model:
        chosen["translate_model"] = options.model
    settings = settings.model_copy(update=chosen)
    check_model(settings)
    engines = Engines(settings)
    failed = False
    try:
        engine = engines.final
        if options.translate:
            await engines.load_translation()
            engine = engines.translation
        for file, target in targets:
            try:
                console.write_file(target, await _captions(file, engine, settings, options))
            except StreamArchiveError as error:
                if len(targets) == 1 or options.debug:
                    raise
                console.note(f"streamarchive: {error}")
                failed = True
    finally:
        await engines.close()
    return int(failed)


def _targets(options: argparse.Namespace) -> list[tuple[Path, Path | None]]:
    """Each file and where its captions go. Raises `UsageError`."""
    files: list[Path] = list(dict.fromkeys(options.files))
    output: Path | None = options.output
    if len(files) == 1 and not (output and output.is_dir()):
        return [(files[0], output)]
    if output is None:
        raise UsageError("the captions of several files need a folder: name one with -o")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {output}: {error.strerror}") from error
    targets = [output / f"{file.stem}.{options.format}" for file in files]
    for number, target in enumerate(targets):
        if target in targets[:number]:
            raise UsageError(f"two of the files would be written to {target}: transcribe them one by one")
    return list(zip(files, targets, strict=True))


async def _captions(file: Path, engine: Transcriber, settings: Settings, options: argparse.Namespace) -> str:
    from streamarchive.transcription import vocabulary
    from streamarchive.transcription.passes import PassSettings, transcribe_file

    if not file.is_file():
        raise StreamArchiveError(f"there is no file {file}")
    info = await probe.probe(file)
    task = "translate" if options.translate else "transcribe"
    languages = languages_of(options, settings)
    terms = entries_in(options.glossary) if options.glossary else ()
    told = (
        vocabulary.expected((), terms, languages) if settings.glossary_prompts and not options.translate else {}
    )
    how = PassSettings(languages, TranscribeOptions(task=task, expected=told))
    with console.progress(f"Transcribing {file.name}") as show:
        found = await transcribe_file(file, engine, how, lambda done_ms: show(done_ms / max(info.duration_ms, 1)))
    lines = _word_by_word(found.cues) if options.words and options.format != "json" else found.cues
    return _format(options.format, lines, info.duration_ms, found.language)


def _word_by_word(lines: Sequence[CueDraft]) -> list[CueDraft]:
    """A line for each word that has a time; a line without any stays as it is."""
    return [
        CueDraft(word.start_ms, max(word.end_ms, word.start_ms + 1), word.text, line.lang, (word,))
        for line in lines
        for word in line.words
    ] + [line for line in lines if not line.words]


def _format(form: str, lines: Sequence[CueDraft], duration_ms: int, language: str | None) -> str:
    if form == "json":
        return json.dumps(captions.to_json(lines, duration_ms, language), ensure_ascii=False, indent=2)
    return {"vtt": captions.to_vtt, "srt": captions.to_srt, "txt": captions.to_txt}[form](lines)
