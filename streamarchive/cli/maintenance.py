"""`migrate` and `doctor`."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass

from streamarchive.catalogue import schema
from streamarchive.cli import console
from streamarchive.errors import SettingsError, StreamArchiveError
from streamarchive.media import commands, disk, sandbox
from streamarchive.media.trial import try_store
from streamarchive.protocols import Diarizer, ModelInfo, TranscribeOptions, Transcriber
from streamarchive.services import Engines, Services, open_services
from streamarchive.settings import Settings, redact


async def migrate(settings: Settings, _options: argparse.Namespace) -> None:
    """Bring the catalogue to this version's schema."""
    changed = await asyncio.to_thread(schema.migrate, settings.database_url)
    console.out("The catalogue has the schema of this version." + ("" if changed else " Nothing had to be done."))


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor: what was looked at, whether it is well, and what to know or do."""

    subject: str
    ok: bool
    sentence: str


async def doctor(settings: Settings, options: argparse.Namespace) -> int:
    """Look at everything an archive needs; exit status 1 if something is missing."""
    findings = [_ffmpeg(), *_tools(), *await _archive(settings), *await _models(settings)]
    if options.speed and all(finding.ok for finding in findings):
        findings += await _speed(settings)
    if options.json:
        console.out_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            console.out(f"{'ok     ' if finding.ok else 'MISSING'}  {finding.subject}: {finding.sentence}")
    return 0 if all(finding.ok for finding in findings) else 1


def _ffmpeg() -> Finding:
    try:
        return Finding("ffmpeg", ok=True, sentence=commands.ffmpeg_path())
    except StreamArchiveError as error:
        return Finding("ffmpeg", ok=False, sentence=str(error))


def _tools() -> list[Finding]:
    missing = sandbox.missing()
    if not missing:
        return [Finding("sandbox", ok=True, sentence="uploads are probed without network and with limits")]
    return [Finding("sandbox", ok=False, sentence=sentence) for sentence in missing]


async def _archive(settings: Settings) -> list[Finding]:
    try:
        async with open_services(settings) as services:
            found = [Finding("catalogue", ok=True, sentence=redact(settings.database_url))]
            return [*found, *await _search(services), await _store(services)]
    except SettingsError as error:
        return [Finding("settings", ok=False, sentence=str(error))]
    except StreamArchiveError as error:
        return [Finding("catalogue", ok=False, sentence=str(error))]


async def _search(services: Services) -> list[Finding]:
    with suppress(StreamArchiveError):  # what is wrong is found and told below
        await services.search.prepare()
    found = await services.search.examine()
    return [Finding(f"search {each.subject}", each.ok, each.sentence) for each in found]


async def _store(services: Services) -> Finding:
    try:
        await try_store(services.store, services.settings.data_dir.absolute())
        free = await services.store.free_fraction()
    except StreamArchiveError as error:
        return Finding("media", ok=False, sentence=str(error))
    sentence = f"{services.settings.media_url} has kept, given back and deleted a small file"
    if free is None:
        return Finding("media", ok=True, sentence=sentence)
    enough = disk.room(free) is not disk.Room.FULL
    return Finding("media", ok=enough, sentence=f"{sentence}, {free:.0%} of the disk is free")


async def _models(settings: Settings) -> list[Finding]:
    """The model of the final pass, those on air and of translations where they are others, and of speakers."""
    engines = Engines(settings)
    try:
        found = [await _model("model", lambda: engines.final.load())]
        if settings.live_model not in ("", settings.model):
            found.append(await _model("live model", engines.load_live))
        if settings.translate_model not in ("", settings.model):
            found.append(await _model("translation", engines.load_translation))
        return [*found, await _speakers(engines.diarizer)]
    finally:
        await engines.close()


async def _speakers(diarizer: Diarizer | None) -> Finding:
    """That nobody tells voices apart is no fault."""
    if diarizer is None:
        return Finding(
            "speakers", ok=True, sentence="told apart by channel and by people; no models of voices are set"
        )
    try:
        await diarizer.check()
    except StreamArchiveError as error:
        return Finding("speakers", ok=False, sentence=str(error))
    return Finding("speakers", ok=True, sentence="told apart by their voices")


async def _model(subject: str, load: Callable[[], Awaitable[ModelInfo]]) -> Finding:
    try:
        info = await load()
    except StreamArchiveError as error:
        return Finding(subject, ok=False, sentence=str(error))
    return Finding(subject, ok=True, sentence=f"{info.name} on {info.device}. {info.note}".strip())


_CAPTION_SECONDS = 5.0
"""Within which a sentence said on air is to be a caption."""
_LIVE_BEAMS = 2
"""As live captions are decoded while the recogniser is not behind."""
_WINDOW_SECONDS = 30


async def _speed(settings: Settings) -> list[Finding]:
    """How fast each model is on this machine while nothing else runs on it."""
    engines = Engines(settings)
    try:
        return [await _live_speed(engines.live), await _final_speed(engines.final)]
    except StreamArchiveError as error:
        return [Finding("speed", ok=False, sentence=str(error))]
    finally:
        await engines.close()


async def _live_speed(engine: Transcriber) -> Finding:
    name = (await engine.load()).name
    seconds = await engine.rehearse(beam_size=_LIVE_BEAMS, windows=1)
    if seconds <= _CAPTION_SECONDS:
        sentence = f"{name} keeps up live: it hears half a minute of speech in {seconds:.1f} s"
        return Finding("live captions", ok=True, sentence=sentence)
    sentence = (
        f"{name} does not keep up live: it takes {seconds:.1f} s to hear half a minute of speech, and a caption "
        f"is due within {_CAPTION_SECONDS:.0f} s; set STREAMARCHIVE_LIVE_MODEL to a smaller one, such as base"
    )
    return Finding("live captions", ok=False, sentence=sentence)


async def _final_speed(engine: Transcriber) -> Finding:
    info = await engine.load()
    options = TranscribeOptions()
    seconds = await engine.rehearse(beam_size=options.beam_size, windows=info.batch_size)
    minutes = seconds / info.batch_size * 3600 / _WINDOW_SECONDS / 60
    sentence = f"an hour of speech takes {info.name} about {max(minutes, 1):.0f} min"
    return Finding("final pass", ok=True, sentence=sentence)
