"""Fails a test in which the site blocks its event loop: files, databases, sockets, sleeping.

Workers are left out: nobody waits for their loops, and what they read in passing is a line or two of /proc.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from blockbuster import BlockBuster

ALLOWED = (
    ("web/app.py", "create_app"),  # once, before the site answers anybody
    ("jinja2/loaders.py", "get_source"),  # each template once, a few kilobytes
    ("babel/core.py", "get_global"),  # the names of months in a language, once
    ("babel/localedata.py", "load"),
    ("streamarchive/media/commands.py", "ffmpeg_path"),  # looks along PATH, once
    ("streamarchive/text.py", "_converter"),  # 30 to 160 ms, once, for the first Chinese that the site meets
)

QUICK = ("os.access", "os.getcwd", "os.path.abspath", "os.path.islink", "os.stat")
"""Answered from the kernel's memory."""


@contextmanager
def site_never_blocks() -> Iterator[None]:
    """Raise where the site, or what it calls, blocks the running event loop."""
    detector = BlockBuster(scanned_modules=["web"])
    for name in QUICK:
        del detector.functions[name]
    for function in detector.functions.values():
        for file, caller in ALLOWED:
            function.can_block_in(file, caller)
    detector.activate()
    try:
        yield
    finally:
        detector.deactivate()
