"""What can be typed."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from streamarchive import __version__
from streamarchive.models import Role, Visibility
from streamarchive.protocols import Sort
from streamarchive.settings import Settings

Command = Callable[[Settings, argparse.Namespace], Awaitable[int | None]]
TEXT_FORMATS = ("vtt", "srt", "txt", "json")
MEDIA_FORMATS = ("mp4", "m4a")


class _Parser(argparse.ArgumentParser):
    """argparse prints the whole usage before an error; one line says it better."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"streamarchive: {message} (try `{self.prog} --help`)\n")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line. Each command's `command` is a coroutine of settings and options."""
    parser = _Parser(prog="streamarchive", description="An archive of live interviews.")
    parser.add_argument("--version", action="version", version=f"StreamArchive {__version__}")
    common = _Parser(add_help=False)
    common.add_argument("--config", type=Path, metavar="FILE", help="a TOML file with settings")
    common.add_argument("--data-dir", type=Path, metavar="DIR", help="the archive's folder")
    common.add_argument("--debug", action="store_true", help="log everything, show tracebacks")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)

    def add(name: str, where: str, description: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, parents=[common], help=description, description=description.capitalize())
        made.set_defaults(command=_lazy(where))
        return made

    _add_services(add)
    _add_archive(add)
    _add_search(add)
    _add_maintenance(add)
    _add_users(add, common)
    _add_glossary(add, common)
    return parser


_Add = Callable[[str, str, str], argparse.ArgumentParser]


def _lazy(where: str) -> Command:
    """`module:function` of this package, imported when it is called: `--help` must not load the world."""
    module, function = where.split(":")

    async def command(settings: Settings, options: argparse.Namespace) -> int | None:
        call: Command = getattr(importlib.import_module(f"streamarchive.cli.{module}"), function)
        return await call(settings, options)

    return command


def _add_services(add: _Add) -> None:
    serve = add("serve", "serving:serve", "run the web site and its workers")
    _add_listening(serve)
    serve.add_argument("--no-workers", action="store_true", help="only the web site")
    work = add("work", "serving:work", "run workers only (default: all kinds)")
    work.add_argument("kinds", nargs="*", metavar="KIND", help="recorder, transcriber, …")
    work.add_argument("--check", action="store_true", help="only say whether they are at work on this machine")
    work.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    demo = add("demo", "demo:demo", "an archive with a synthesised interview on air")
    _add_listening(demo)
    demo.add_argument(
        "--minutes", type=_positive, default=10, help="length of a broadcast before it becomes a recording"
    )


def _add_listening(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on")


def _add_archive(add: _Add) -> None:
    imports = add("import", "archiving:import_file", "take a media file into the archive")
    imports.add_argument("file", type=Path, metavar="FILE", help="a media file, or a folder of them")
    imports.add_argument("--captions", type=Path, metavar="FILE", help="take the text from WebVTT or SRT")
    _add_details(imports)
    record = add("record", "archiving:record", "record a live stream as a new interview")
    record.add_argument("url", metavar="URL")
    record.add_argument("--for", dest="seconds", type=_positive, metavar="SECONDS", help="stop after this long")
    _add_details(record)
    probe = add("probe", "probing:probe", "what a live stream sends just now")
    probe.add_argument("url", metavar="URL")
    probe.add_argument("--picture", type=Path, metavar="FILE", help="write the first picture there, as JPEG")
    probe.add_argument("--json", action="store_true", help="print for programs")
    export = add("export", "archiving:export", "write an interview's text or media to a file")
    export.add_argument("interview", metavar="INTERVIEW", help="its id, slug or address")
    export.add_argument("--format", choices=TEXT_FORMATS + MEDIA_FORMATS, default="vtt")
    export.add_argument("--track", default="", metavar="CODE", help="a translation, such as en")
    export.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: stdout (text only)")
    _add_transcribe(
        add("transcribe", "transcribing:transcribe", "media files in, captions out; needs no archive")
    )


def _add_transcribe(transcribe: argparse.ArgumentParser) -> None:
    transcribe.add_argument("files", type=Path, nargs="+", metavar="FILE")
    transcribe.add_argument("--engine", choices=("openai", "faster"), help="default: the setting")
    transcribe.add_argument("--model", metavar="MODEL", help="a Whisper name or a path; default: the setting")
    transcribe.add_argument("--language", action="append", metavar="CODE", help="may be repeated")
    transcribe.add_argument("--glossary", type=Path, metavar="FILE", help="names and terms to expect, as CSV")
    transcribe.add_argument("--translate", action="store_true", help="into English")
    transcribe.add_argument("--format", choices=TEXT_FORMATS, default="vtt")
    transcribe.add_argument("--json", action="store_const", const="json", dest="format")
    transcribe.add_argument(
        "--words", action="store_true", help="one caption a word, with its time (vtt, srt; JSON has them anyway)"
    )
    transcribe.add_argument(
        "-o", "--output", type=Path, metavar="PATH", help="a file, or a folder for many; default: stdout"
    )


def _add_details(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--title", help="default: the file's name or the address")
    parser.add_argument("--title-zh", help="the title in Chinese, where there is one")
    parser.add_argument("--description", default="")
    parser.add_argument("--guest", action="append", default=[], metavar="NAME", help="may be repeated")
    parser.add_argument("--event", help="the conference or series")
    parser.add_argument(
        "--date", type=_date, metavar="DATE", help="when it was held, e.g. 2026-11-22T15:00+08:00"
    )
    parser.add_argument("--language", action="append", metavar="CODE", help="zh, en, …; may be repeated")
    parser.add_argument("--visibility", choices=[v.value for v in Visibility], default="draft")
    parser.add_argument("--wait", action="store_true", help="until it is processed and searchable")
    parser.add_argument("--json", action="store_true", help="print for programs")


def _add_search(add: _Add) -> None:
    search = add("search", "finding:search", "find what was said")
    search.add_argument("query", nargs="+", metavar="QUERY")
    search.add_argument("--limit", type=int, default=20, help="interviews at most")
    search.add_argument("--sort", choices=list(Sort), default=Sort.RELEVANCE, help="which come first")
    search.add_argument("--json", action="store_true", help="print for programs")
    reindex = add("reindex", "finding:reindex", "build the search index anew from the catalogue")
    reindex.add_argument("--afresh", action="store_true", help="do not go on with an unfinished one")
    reindex.add_argument("--json", action="store_true", help="print for programs")
    verify = add("verify", "verifying:verify", "compare search index or media with the catalogue, and mend them")
    what = verify.add_mutually_exclusive_group(required=True)
    what.add_argument("--search", action="store_true", help="the search index")
    what.add_argument("--media", action="store_true", help="the media store: every file there, of its length")
    verify.add_argument("--read", action="store_true", help="read all media and compare them with their hashes")
    verify.add_argument(
        "--delete-unknown", action="store_true", help="delete media files that the catalogue does not know"
    )
    verify.add_argument("--dry-run", action="store_true", help="compare only")
    verify.add_argument("--json", action="store_true", help="print for programs")


def _add_maintenance(add: _Add) -> None:
    add("migrate", "maintenance:migrate", "bring the catalogue to this version's schema")
    audit = add("audit", "people:audit", "who changed what, newest last")
    audit.add_argument("--limit", type=int, default=100, help="lines at most")
    audit.add_argument("--json", action="store_true", help="print for programs, a line each")
    doctor = add("doctor", "maintenance:doctor", "what is missing here and how to mend it")
    doctor.add_argument("--json", action="store_true", help="print for programs")
    doctor.add_argument(
        "--speed", action="store_true", help="measure whether the models keep up here (a minute or more)"
    )


def _add_users(add: _Add, common: _Parser) -> None:
    users = add("users", "people:show", "who may sign in")
    actions = users.add_subparsers(title="actions", metavar="ACTION", parser_class=_Parser)
    roles = [role.value for role in Role if role is not Role.VIEWER]
    for name, description in (
        ("list", "everybody who may sign in"),
        ("add", "let somebody sign in"),
        ("change", "give a new password or role; the person's sessions end"),
        ("sign-out", "end all sessions of somebody"),
        ("remove", "let nobody sign in by this name any more"),
    ):
        action = actions.add_parser(
            name, parents=[common], help=description, description=description.capitalize()
        )
        action.set_defaults(command=_lazy(f"people:{'show' if name == 'list' else name.replace('-', '_')}"))
        if name != "list":
            action.add_argument("name", metavar="NAME")
        if name in ("add", "change"):
            action.add_argument("--role", choices=roles, required=name == "add")
            action.add_argument("--generate", action="store_true", help="make up a password and show it once")


def _add_glossary(add: _Add, common: _Parser) -> None:
    listed = add("glossary", "terms:export", "terms and names, and what they are called in other languages")
    listed.set_defaults(output=None)
    actions = listed.add_subparsers(title="actions", metavar="ACTION", parser_class=_Parser)

    def action(name: str, function: str, description: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, parents=[common], help=description, description=description.capitalize())
        made.set_defaults(command=_lazy(f"terms:{function}"))
        return made

    export = action("export", "export", "all of them as CSV")
    export.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: stdout")
    imports = action("import", "take", "add and correct those in a CSV file; the others stay")
    imports.add_argument("file", type=Path, metavar="FILE")
    imports.add_argument("--dry-run", action="store_true", help="only say what it would do")
    imports.add_argument("--json", action="store_true", help="print for programs")


def _positive(value: str) -> float:
    seconds = float(value)
    if seconds <= 0:
        raise argparse.ArgumentTypeError("has to be more than 0")
    return seconds


def _date(value: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{value!r} is no date such as 2026-11-22T15:00+08:00") from error
    return moment.astimezone()


def languages_of(options: argparse.Namespace, settings: Settings) -> tuple[str, ...]:
    """What `--language` says, else what the settings offer."""
    chosen: Sequence[str] = options.language or settings.languages
    return tuple(dict.fromkeys(code.strip().lower() for code in chosen))
