"""`glossary`: its terms as CSV, out and in."""

from __future__ import annotations

import argparse
from pathlib import Path

from streamarchive import glossaries
from streamarchive.catalogue import accounts, glossary
from streamarchive.cli import console
from streamarchive.errors import UsageError
from streamarchive.services import open_services
from streamarchive.settings import Settings

_FAULTS_SHOWN = 20


async def export(settings: Settings, options: argparse.Namespace) -> None:
    """All terms; in a file with the mark by which spreadsheets know UTF-8."""
    async with open_services(settings) as services, services.database.read() as connection:
        held = await glossary.current(connection)
    written = glossaries.to_csv(term.entry for term in held)
    console.write_file(options.output, written if options.output is None else "\ufeff" + written)
    if options.output is not None:
        console.note(f"{len(held)} terms are in {options.output}.")


async def take(settings: Settings, options: argparse.Namespace) -> None:
    """Take a list, whole or not at all. Raises `UsageError` with the faults, a line each."""
    entries = entries_in(options.file)
    async with open_services(settings) as services:
        if options.dry_run:
            async with services.database.read() as connection:
                plan = await glossary.plan(connection, entries)
        else:
            async with services.database.write() as tx:
                plan = await glossary.take(tx, entries)
                await accounts.audit(tx, None, "glossary imported", options.file.name, plan.as_json())
    if options.json:
        console.out_json(plan.counts)
    else:
        added, changed, same = plan.counts.values()
        console.out(f"{added} terms are new, {changed} corrected, {same} as they were.")
    if options.dry_run:
        console.note("Nothing was changed.")


def entries_in(file: Path) -> tuple[glossaries.Entry, ...]:
    """All of a list. Raises `UsageError` with the faults, a line each."""
    try:
        reading = glossaries.from_bytes(file.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    if reading.faults:
        raise UsageError(_told(file, reading.faults))
    return reading.entries


def _told(file: Path, faults: tuple[glossaries.Fault, ...]) -> str:
    lines = [f"nothing of {file} was taken, because of {len(faults)} faults:", *map(str, faults[:_FAULTS_SHOWN])]
    if len(faults) > _FAULTS_SHOWN:
        lines.append(f"and {len(faults) - _FAULTS_SHOWN} more")
    return "\n  ".join(lines)
