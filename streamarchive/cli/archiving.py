"""`import`, `record`, `export`: what goes into the archive and comes out of it."""

from __future__ import annotations

import argparse
import json
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from streamarchive import captions, ingest
from streamarchive.catalogue import assets, interviews, recordings, streams, tracks, withheld
from streamarchive.catalogue import database as clock
from streamarchive.catalogue.people import Guest
from streamarchive.cli import console, waiting
from streamarchive.cli.parser import MEDIA_FORMATS, languages_of
from streamarchive.errors import MediaError, NotFoundError, StreamArchiveError, UsageError
from streamarchive.ingest import Details
from streamarchive.media import source
from streamarchive.media.addresses import shown
from streamarchive.models import AssetKind, Cue, CueDraft, Interview, InterviewId, Recording, Visibility
from streamarchive.services import Services, check_model, open_services
from streamarchive.settings import Settings

_CAPTION_SUFFIXES = (".vtt", ".srt")
_PROCESSING = ("finaliser", "transcriber", "indexer")
_RECORDING = ("recorder", "live_transcriber", *_PROCESSING)


async def import_file(settings: Settings, options: argparse.Namespace) -> int:
    """Take a media file in, or all those of a folder; with --wait, until they are searchable."""
    file: Path = options.file
    if file.is_dir():
        return await _import_folder(settings, options)
    if not file.is_file():
        raise StreamArchiveError(f"there is no file {file}")
    details = _details(settings, options, title=file.stem)
    lines = ingest.read_captions(options.captions, details.languages) if options.captions else None
    if lines is None:
        check_model(settings)
    async with open_services(settings) as services:
        interview_id = await _import_one(services, file, details, lines, wait=options.wait)
        await _say(services, interview_id, options)
    return 0


async def _import_folder(settings: Settings, options: argparse.Namespace) -> int:
    """Each of its files becomes an interview of its name; captions beside it have its name too.

    One that is refused is named, and the others are taken; the exit status tells.
    """
    if options.title or options.title_zh or options.captions:
        raise UsageError("the files of a folder bring their titles and captions by their names")
    files = [file for file in sorted(options.file.iterdir()) if file.is_file() and not _is_beside(file)]
    if not files:
        raise StreamArchiveError(f"there are no files in {options.file}")
    if not all(_captions_beside(file) for file in files):
        check_model(settings)
    refused = 0
    async with open_services(settings) as services:
        for file in files:
            details = _details(settings, options, title=file.stem)
            try:
                beside = _captions_beside(file)
                lines = ingest.read_captions(beside, details.languages) if beside else None
                interview_id = await _import_one(services, file, details, lines, wait=options.wait)
            except MediaError as error:
                console.note(f"streamarchive: {error}")
                refused += 1
            else:
                await _say(services, interview_id, options)
    return 1 if refused else 0


async def _import_one(
    services: Services, file: Path, details: Details, lines: list[CueDraft] | None, *, wait: bool
) -> InterviewId:
    interview_id = await ingest.import_file(
        services.database, services.store, file, details, incoming=services.settings.incoming, lines=lines
    )
    if wait:
        with console.progress(f"Processing {file.name}") as show:
            async with waiting.workers_for(services, _PROCESSING):
                await waiting.until_processed(services, interview_id, show)
    return interview_id


def _is_beside(file: Path) -> bool:
    """Hidden files and captions are no recordings."""
    return file.name.startswith(".") or file.suffix.lower() in _CAPTION_SUFFIXES


def _captions_beside(file: Path) -> Path | None:
    found = (file.with_suffix(suffix) for suffix in _CAPTION_SUFFIXES)
    return next((beside for beside in found if beside.is_file()), None)


async def record(settings: Settings, options: argparse.Namespace) -> None:
    """Record a stream from now on; with --wait, until it has ended and is searchable."""
    details = _details(settings, options, title=urlsplit(options.url).hostname or options.url)
    check_model(settings)
    await source.check(options.url, source.rules_for(options.url, settings, exact=True))
    async with open_services(settings) as services:
        async with services.database.write() as tx:
            interview_id = await ingest.create_interview(tx, details)
            moment = await clock.now(tx)
            ends_at = moment + timedelta(seconds=options.seconds) if options.seconds else None
            await streams.create(
                tx, interview_id, options.url, starts_at=moment, ends_at=ends_at, exact_host_allowed=True
            )
        if options.wait:
            with console.progress(f"Recording {shown(options.url)}") as show:
                async with waiting.workers_for(services, _RECORDING):
                    await waiting.until_recorded(services, interview_id, show)
                    await waiting.until_processed(services, interview_id, show)
        await _say(services, interview_id, options)


async def export(settings: Settings, options: argparse.Namespace) -> None:
    """Write the text or the media of an interview."""
    async with open_services(settings) as services:
        async with services.database.read() as connection:
            interview = await interviews.find(connection, options.interview)
            if interview.visibility is Visibility.TRASHED:
                raise NotFoundError(f"the interview {interview.id} is in the trash; restore it first")
            if interview.recording_id is None:
                raise NotFoundError(f"the interview {interview.id} has no recording yet")
            recording = await recordings.get(connection, interview.recording_id)
            known = await tracks.of_recording(connection, interview.recording_id)
            if options.track not in (tracks.SPOKEN, *known):
                raise NotFoundError(f"the interview {interview.id} has no translation into {options.track!r}")
            cues = await tracks.lines(connection, interview.recording_id, options.track)
        if options.format in MEDIA_FORMATS:
            await _export_media(services, interview, AssetKind(options.format), options.output)
        else:
            shown = [cue for cue in cues if interview.shows(cue.start_ms, cue.end_ms)]
            console.write_file(options.output, _text(recording, shown, options.format))


def _details(settings: Settings, options: argparse.Namespace, title: str) -> Details:
    titles = {"en": options.title or title}
    if options.title_zh:
        titles["zh"] = options.title_zh
    return Details(
        titles=titles,
        languages=languages_of(options, settings),
        visibility=Visibility(options.visibility),
        descriptions={"en": options.description} if options.description else {},
        guests=[Guest({"en": name}, {}) for name in options.guest],
        event={"en": options.event} if options.event else None,
        held_at=options.date,
    )


async def _say(services: Services, interview_id: InterviewId, options: argparse.Namespace) -> None:
    async with services.database.read() as connection:
        interview = await interviews.get(connection, interview_id)
    url = services.settings.site + interview.address
    if options.json:
        console.out_json({"interview": interview.id, "url": url})
        return
    console.out(f"{interview.title()}: {url}")
    if not options.wait:
        console.note("Queued: `streamarchive serve` (or `work`) does the rest; --wait does it here and now.")


def _text(recording: Recording, cues: list[Cue], form: str) -> str:
    if form == "json":
        return json.dumps(captions.to_json(cues, recording.duration_ms), ensure_ascii=False, indent=2)
    return {"vtt": captions.to_vtt, "srt": captions.to_srt, "txt": captions.to_txt}[form](cues)


async def _export_media(services: Services, interview: Interview, kind: AssetKind, output: Path | None) -> None:
    assert interview.recording_id is not None  # noqa: S101 - the caller has looked
    if output is None:
        raise UsageError("media need a file to go to: add -o FILE")
    async with services.database.read() as connection:
        made = await assets.of_recording(connection, interview.recording_id)
    given = withheld.given(interview, made)
    asset = given.get(kind)
    if asset is None:
        there = ", ".join(sorted(k.value for k in given)) or "none yet"
        if kind in made:
            raise NotFoundError(
                f"the {kind.value} file holds more than the interview may show; `streamarchive work finaliser` "
                f"makes it again (there is: {there})"
            )
        raise NotFoundError(f"this recording has no {kind.value} file (there is: {there})")
    partial = output.with_name(output.name + ".part")
    try:
        with partial.open("wb") as target:
            async for chunk in services.store.read(asset.key):
                target.write(chunk)
        partial.replace(output)
    except OSError as error:
        raise StreamArchiveError(f"cannot write {output}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
