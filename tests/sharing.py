"""Servers that the processes of one test run share: the first that needs one starts it, the last to go stops it.

`pytest -n` runs tests in several processes, each with session fixtures of its own. They meet in a folder of the
run, with locks that the kernel lets go when a process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path


class SharedServers:
    """What one process of the run uses. `folder` is the same for all of them, and empty when the run begins."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._using = ExitStack()
        self._started = ExitStack()

    def url(self, name: str, start: Callable[[], AbstractContextManager[str]]) -> str:
        """The address of a server, which `start` starts unless it runs already. Raises what `start` raises."""
        # Shared from now on: nobody stops the server meanwhile, and who is just stopping it is waited for.
        self._using.enter_context(_locked(self._folder / f"{name}.users", fcntl.LOCK_SH))
        address = self._folder / f"{name}.url"
        with _locked(self._folder / f"{name}.start", fcntl.LOCK_EX):
            if not address.exists():
                address.write_text(self._started.enter_context(self._serving(name, start)))
            return address.read_text()

    @contextmanager
    def _serving(self, name: str, start: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
        with start() as url:
            yield url
            with _locked(self._folder / f"{name}.users", fcntl.LOCK_EX):
                (self._folder / f"{name}.url").unlink()

    def close(self) -> None:
        """Stop what was started here, once nobody uses it any more."""
        self._using.close()
        self._started.close()


@contextlib.contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, kind)
        yield
