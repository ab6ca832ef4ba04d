"""Child processes of the tests: started fast, killed hard, heard through a pipe.

They are forked from a helper process that has imported what they need, which takes milliseconds; forking the
test run itself would copy its threads' locks. What a child has sent is read even after it was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

from tests.waiting import PATIENCE

_PRELOADED = ["sqlalchemy.ext.asyncio", "aiosqlite", "psycopg", "sqlalchemy.dialects.postgresql", "alembic"]
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([*_PRELOADED, "workers.runner", "streamarchive.catalogue.schema"])


@dataclass(frozen=True)
class Child:
    """A running process and what it says."""

    process: ForkServerProcess
    heard: Connection

    def listen(self, *, seconds: float = 30) -> Any:
        """The next thing that it says."""
        if not self.heard.poll(seconds * PATIENCE):
            raise AssertionError(f"waited {seconds * PATIENCE:g} s in vain for the child to speak")
        return self.heard.recv()

    def rest(self) -> list[Any]:
        """All that it has said and nobody has heard, once it has ended."""
        self.process.join()
        said = []
        with contextlib.suppress(EOFError):
            while True:
                said.append(self.heard.recv())
        return said

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.join()


@contextlib.contextmanager
def child(work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> Iterator[Child]:
    """Run `await work(say, *arguments)` in a process; `work` is a function of a module of `tests`.

    At the end of the block it must have ended well; one that has not is killed, and that is an error.
    """
    hear, say = _context.Pipe(duplex=False)
    process = _context.Process(target=_run, args=(work, say, *arguments), daemon=True)
    process.start()
    say.close()
    killed = False
    try:
        yield Child(process, hear)
        process.join(60 * PATIENCE)
    finally:
        if process.is_alive():
            killed = True
            process.kill()
            process.join()
        hear.close()
    assert not killed, "the child did not end"
    assert process.exitcode in (0, -9), f"the child ended with {process.exitcode}"


def _run(work: Callable[..., Coroutine[Any, Any, None]], say: Connection, *arguments: Any) -> None:
    asyncio.run(work(say, *arguments))
