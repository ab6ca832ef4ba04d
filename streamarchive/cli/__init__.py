"""The command line: the composition root, where settings, services, web and workers meet."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from streamarchive.cli import console
from streamarchive.cli.parser import build_parser
from streamarchive.errors import StreamArchiveError, UsageError
from streamarchive.settings import load_settings

FAILED, USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; the process's exit status is 0, 1 (it failed) or 2 (it made no sense)."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run a command and give its exit status. Errors are one line on stderr; a traceback only with --debug."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        flags = {
            name: getattr(options, name)
            for name in ("data_dir", "host", "port", "log_level")
            if hasattr(options, name)
        }
        settings = load_settings(flags, config=options.config)
        console.set_up_logging("debug" if options.debug else settings.log_level)
        return asyncio.run(options.command(settings, options)) or 0
    except StreamArchiveError as error:
        if options.debug:
            raise
        console.note(f"streamarchive: {error}")
        return USAGE if isinstance(error, UsageError) else FAILED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return FAILED
    except Exception as error:
        if options.debug:
            raise
        console.note(f"streamarchive: unexpected {type(error).__name__}: {error} (--debug shows where)")
        return FAILED
