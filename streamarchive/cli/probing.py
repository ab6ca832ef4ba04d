"""`probe`: what a stream sends, before anybody relies on it."""

from __future__ import annotations

import argparse
from pathlib import Path

from streamarchive.cli import console
from streamarchive.errors import StreamArchiveError
from streamarchive.media import signal, source
from streamarchive.media.signal import Signal
from streamarchive.settings import Settings


async def probe(settings: Settings, options: argparse.Namespace) -> None:
    """Look at an address for some seconds; with --picture, keep the first picture."""
    found = await signal.look(options.url, source.rules_for(options.url, settings, exact=True))
    if options.picture is not None:
        _keep(found, options.picture)
    if options.json:
        console.out_json(
            {
                "video": found.video,
                "audio": found.audio,
                "width": found.width,
                "height": found.height,
                "loudness_db": found.loudness_db,
                "peak_db": found.peak_db,
                "warnings": found.warnings,
            }
        )
        return
    for line in _lines(found):
        console.out(line)
    for warning in found.warnings:
        console.note(f"Mind: {warning}.")


def _lines(found: Signal) -> list[str]:
    size = f", {found.width} x {found.height}" if found.width else ""
    level = ""
    if found.loudness_db is not None:
        level = f", mean {found.loudness_db:.1f} dB, peak {found.peak_db:.1f} dB"
    return [
        f"picture: {found.video}{size}" if found.video else "picture: none",
        f"sound:   {found.audio}{level}" if found.audio else "sound:   none",
    ]


def _keep(found: Signal, file: Path) -> None:
    if not found.picture:
        raise StreamArchiveError("the stream has no picture to keep")
    try:
        file.write_bytes(found.picture)
    except OSError as error:
        raise StreamArchiveError(f"cannot write {file}: {error.strerror}") from error
