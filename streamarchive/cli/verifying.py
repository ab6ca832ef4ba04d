"""`verify`: what is derived from the catalogue, or kept for it, against what it says."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from streamarchive import fixity
from streamarchive.catalogue import assets
from streamarchive.cli import console
from streamarchive.errors import ConflictError, UsageError
from streamarchive.fixity import FaultyFile, Fixity
from streamarchive.search.agreement import Agreement, compare
from streamarchive.services import Services, open_services
from streamarchive.settings import Settings
from web.wording import size
from workers import indexer

_NAMED = 20
"""So many files are named; the rest are counted (`--json` names all)."""


async def verify(settings: Settings, options: argparse.Namespace) -> int:
    """Compare, and mend what can be; exit status 1 if anything is wrong at the end."""
    if options.search and (options.read or options.delete_unknown):
        raise UsageError("--read and --delete-unknown go with --media")
    if options.dry_run and options.delete_unknown:
        raise UsageError("--dry-run changes nothing, --delete-unknown deletes: give one of them")
    return await (_verify_search if options.search else _verify_media)(settings, options)


async def _verify_search(settings: Settings, options: argparse.Namespace) -> int:
    async with open_services(settings) as services:
        await services.search.prepare()
        await indexer.catch_up(services)
        damage = await services.search.damage()
        found = await _compare(services, mend=not options.dry_run)
        left = found
        if not (found.complete or options.dry_run):
            await indexer.catch_up(services)
            left = await _compare(services, mend=False)
    if options.json:
        console.out_json(
            {
                "agrees": left.complete and not damage,
                "catalogue": left.expected,
                "index": left.stored,
                "damage": damage,
                "found": {str(kind): count for kind, count in found.differences.items()},
                "left": {str(kind): count for kind, count in left.differences.items()},
            }
        )
    else:
        console.out(_sentence(found, left))
        if damage:
            console.out(damage)
    return 0 if left.complete and not damage else 1


async def _compare(services: Services, *, mend: bool) -> Agreement:
    health = await services.search.health()
    with console.progress("Comparing") as progress:

        def told(found: Agreement) -> None:
            progress(
                min((found.stored + found.expected) / (2 * health.documents), 1.0) if health.documents else 0.0
            )

        return await compare(services.database, services.search, mend=mend, told=told)


def _sentence(found: Agreement, left: Agreement) -> str:
    if found.complete:
        return f"Catalogue and search index agree: {found.expected} documents."
    kinds = ", ".join(f"{count} {kind}" for kind, count in found.differences.items() if count)
    if left.complete:
        return f"Of {found.expected} documents {kinds}; mended: catalogue and search index agree."
    still = sum(left.differences.values())
    advice = "`streamarchive verify --search` mends them" if left is found else "`streamarchive reindex` mends it"
    return f"Of {found.expected} documents {kinds}; {still} still differ, {advice}."


@dataclass
class _Unknown:
    """Files that the catalogue does not know."""

    deleted: bool
    files: int = 0
    size_bytes: int = 0


async def _verify_media(settings: Settings, options: argparse.Namespace) -> int:
    faulty: list[FaultyFile] = []
    async with open_services(settings) as services:
        found = await _examine(services, options, faulty)
        if found.lost and options.delete_unknown:
            raise ConflictError(
                f"{found.lost} files are missing or damaged, so nothing is deleted: perhaps catalogue and media "
                "are of different days; `streamarchive verify --media` names them"
            )
        unknown = await _unknown(services, delete=options.delete_unknown)
    if options.json:
        console.out_json(_as_json(found, unknown, faulty, mended=not options.dry_run))
    else:
        _tell(found, unknown, faulty, options)
    return 1 if found.lost or (faulty and options.dry_run) else 0


async def _examine(services: Services, options: argparse.Namespace, faulty: list[FaultyFile]) -> Fixity:
    async with services.database.read() as connection:
        total = await assets.size_bytes(connection)
    with console.progress("Reading" if options.read else "Comparing") as progress:
        return await fixity.examine(
            services.database,
            services.store,
            read=options.read,
            mend=not options.dry_run,
            told=lambda found: progress(min(found.size_bytes / total, 1.0) if total else 1.0),
            faulty=faulty.append,
        )


async def _unknown(services: Services, *, delete: bool) -> _Unknown:
    unknown = _Unknown(delete)
    async for page in fixity.unknown(services.database, services.store, delete=delete):
        unknown.files += len(page)
        unknown.size_bytes += sum(each.size_bytes for each in page)
    return unknown


def _tell(found: Fixity, unknown: _Unknown, faulty: list[FaultyFile], options: argparse.Namespace) -> None:
    for each in faulty[:_NAMED]:
        kind = each.file.kind or "segment"
        console.out(f"{each.fault}: {each.file.key}, {kind} of recording {each.file.recording_id}")
    if len(faulty) > _NAMED:
        console.out(f"... and {len(faulty) - _NAMED} more (--json names all)")
    console.out(_media_sentence(found, options))
    if unknown.files:
        done = "have been deleted" if unknown.deleted else "take up room; --delete-unknown deletes them"
        console.out(
            f"{unknown.files} files ({size(unknown.size_bytes)}) that the catalogue does not know {done}."
        )


def _media_sentence(found: Fixity, options: argparse.Namespace) -> str:
    looked_at = f"{found.files} media files ({size(found.size_bytes)})"
    if not any(found.faults.values()):
        how = "every byte as it was written" if options.read else "of the right length"
        return f"{looked_at}: all there, {how}."
    kinds = ", ".join(f"{count} {fault}" for fault, count in found.faults.items() if count)
    how = "can be made again, without --dry-run" if options.dry_run else "made again by the finaliser"
    again = f"; {found.replaceable} {how}" if found.replaceable else ""
    lost = f"; {found.lost} to be put back from a backup" if found.lost else ""
    return f"Of {looked_at} {kinds}{again}{lost}."


def _as_json(found: Fixity, unknown: _Unknown, faulty: list[FaultyFile], *, mended: bool) -> dict[str, object]:
    return {
        "files": found.files,
        "bytes": found.size_bytes,
        "made_again": found.replaceable if mended else 0,
        "replaceable": found.replaceable,
        "lost": found.lost,
        "unknown": {"files": unknown.files, "bytes": unknown.size_bytes, "deleted": unknown.deleted},
        "faults": [
            {
                "fault": each.fault,
                "key": each.file.key,
                "kind": each.file.kind or "segment",
                "recording": each.file.recording_id,
                "replaceable": each.replaceable,
            }
            for each in faulty
        ],
    }
