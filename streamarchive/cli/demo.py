"""`demo`: an archive in a folder of its own, and beside it a broadcaster that keeps an interview on air."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import importlib.util
import json
import logging
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from streamarchive import ingest
from streamarchive.catalogue import accounts, interviews, passwords
from streamarchive.catalogue.people import Guest
from streamarchive.cli import console, serving
from streamarchive.demo import director, meter, recogniser
from streamarchive.demo.control import BroadcasterAwayError, BroadcasterClient
from streamarchive.demo.interviews import ShippedInterview, shipped_interviews
from streamarchive.errors import StreamArchiveError
from streamarchive.ingest import Details
from streamarchive.models import Role, Visibility
from streamarchive.services import Services, open_services
from streamarchive.settings import Settings

logger = logging.getLogger(__name__)

FOLDER = Path("demo-archive")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_STOP_SECONDS = 3.0
_RESTART_SECONDS = 1.0
_LOOK_SECONDS = 0.5


async def demo(settings: Settings, options: argparse.Namespace) -> None:
    """Until Ctrl-C or SIGTERM."""
    if importlib.util.find_spec("espeakng_loader") is None:
        raise StreamArchiveError(
            "the demo's voices are not installed; add them: pip install 'streamarchive[demo]'"
        )
    folder = settings.data_dir if "data_dir" in settings.model_fields_set else FOLDER
    with _held(folder):
        port = _broadcaster_port(folder)
        await _run(_settings(settings, folder, port), port, options.minutes)


async def _run(own: Settings, port: int, minutes: float) -> None:
    console.set_up_logging(own.log_level)
    stop = serving.stop_on_signals()
    async with (
        _waited_for() as ending,
        serving.site(own, workers=True) as address,
        _broadcaster(own.data_dir / "broadcasts", port, minutes, own.log_level, ending),
        open_services(own) as services,
        BroadcasterClient(own.demo_control) as broadcaster,
    ):
        console.note(f"StreamArchive's demo is at {address} (Ctrl-C stops it)")
        await _introduce_people(services)
        database, store = services.database, services.store
        async with (
            _kept_going("director", lambda: director.direct(database, store, broadcaster)),
            _kept_going("meter", lambda: meter.measure(address, broadcaster)),
            _kept_going("import", lambda: _import_shipped(services)),
            _kept_going("announcement", lambda: _announce(address, services, broadcaster)),
        ):
            await stop.wait()


async def _introduce_people(services: Services) -> None:
    """A producer and an editor to sign in as, made once; nobody has a password that others could know.

    Only where the site is for this machine alone.
    """
    async with services.database.read() as connection:
        known = await accounts.count(connection)
    if known or services.settings.host not in _LOOPBACK:
        return
    for role in (Role.PRODUCER, Role.EDITOR):
        password = passwords.new_password()
        password_hash = await passwords.hash_password(password)
        async with services.database.write() as tx:
            await accounts.add_user(tx, role.value, role, password_hash)
            await accounts.audit(tx, None, "user added", role.value, {"role": role})
        console.note(f"Sign in as {role.value} with {password} (shown this once)")


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Two demos in one folder would broadcast into each other's files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "demo.lock").open("ab")
    except OSError as error:
        raise StreamArchiveError(f"cannot write the demo's folder {folder}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StreamArchiveError(
                f"a demo is running in {folder} already; stop it, or choose another folder with --data-dir"
            ) from error
        yield


def _settings(settings: Settings, folder: Path, broadcaster_port: int) -> Settings:
    """The demo never touches another archive: its folder, its recogniser, whatever else is configured."""
    return Settings(
        data_dir=folder,
        host=settings.host,
        port=settings.port,
        base_url=settings.base_url,
        engine="openai",
        model=str(recogniser.checkpoint()),
        device="cpu",
        log_level=settings.log_level if "log_level" in settings.model_fields_set else "warning",
        demo_control=f"http://127.0.0.1:{broadcaster_port}",
    )


def _broadcaster_port(folder: Path) -> int:
    """The port of the last time if it is free: recordings that were cut off are continued from there."""
    memory = folder / "demo.json"
    with contextlib.suppress(OSError, ValueError, KeyError):
        port = int(json.loads(memory.read_text("utf-8"))["broadcaster_port"])
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
        return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free: int = probe.getsockname()[1]
    try:
        memory.write_text(json.dumps({"broadcaster_port": free}), encoding="utf-8")
    except OSError as error:
        raise StreamArchiveError(f"cannot write the demo's folder {folder}: {error.strerror}") from error
    return free


# --- the broadcaster's process ------------------------------------------------------------------------------


@asynccontextmanager
async def _broadcaster(
    folder: Path, port: int, minutes: float, log_level: str, ending: list[asyncio.subprocess.Process]
) -> AsyncIterator[None]:
    """The broadcaster as a child process, started again if it ends; it ends itself when we are gone.

    At the end it is only let go of, and put among those that are `ending`: workers can stop meanwhile.
    """
    command = [sys.executable, "-m", "streamarchive.demo.broadcaster", str(folder.absolute()), "--leashed"]
    command += ["--port", str(port), "--minutes", str(minutes), "--log-level", log_level]
    children: list[asyncio.subprocess.Process] = []

    async def run() -> None:
        with serving.deaf_to_ctrl_c():
            child = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
        children[:] = [child]
        await child.wait()
        raise StreamArchiveError("the demo's broadcaster has ended; it is started again")

    try:
        async with _kept_going("broadcaster", run):
            yield
    finally:
        for child in children:
            if child.stdin:
                child.stdin.close()
            ending.append(child)


@asynccontextmanager
async def _waited_for() -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Processes that were told to end within the block; those that do not are killed."""
    ending: list[asyncio.subprocess.Process] = []
    try:
        yield ending
    finally:
        for child in ending:
            await _end(child)


async def _end(child: asyncio.subprocess.Process) -> None:
    try:
        await asyncio.wait_for(child.wait(), _STOP_SECONDS)
    except TimeoutError:
        child.kill()
        await child.wait()


@asynccontextmanager
async def _kept_going(name: str, work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Do this work beside the block; what fails is logged and begins again."""

    async def keep() -> None:
        while True:
            try:
                await work()
            except StreamArchiveError as error:
                logger.error("%s", error)
            except Exception:
                logger.exception("the demo's %s failed and begins again", name)
            else:
                return
            await asyncio.sleep(_RESTART_SECONDS)

    task = asyncio.create_task(keep(), name=name)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


# --- what is in the archive ---------------------------------------------------------------------------------


async def _import_shipped(services: Services) -> None:
    """The interviews that come with the demo, those of them that the archive has never had."""
    async with services.database.read() as connection:
        known = await interviews.by_ids(connection, await interviews.all_ids(connection))
    there = {interview.held_at for interview in known.values()}
    for shipped in shipped_interviews():
        if shipped.held_at not in there:
            await _import(services, shipped)


async def _import(services: Services, shipped: ShippedInterview) -> None:
    details = Details(
        titles=shipped.titles,
        languages=shipped.languages,
        visibility=Visibility.PUBLIC,
        guests=[Guest(person.names, person.affiliations) for person in shipped.guests],
        event=director.EVENT,
        held_at=shipped.held_at,
    )
    incoming = services.settings.incoming
    await ingest.import_file(
        services.database, services.store, shipped.file, details, incoming=incoming, lines=shipped.lines()
    )


async def _announce(address: str, services: Services, broadcaster: BroadcasterClient) -> None:
    """Say once where the interview on air can be watched."""
    while True:
        with contextlib.suppress(BroadcasterAwayError):
            on_air = (await broadcaster.status()).on_air
            async with services.database.read() as connection:
                interview = await director.interview_on_air(connection, on_air)
            if interview:
                console.note(f"On air: {interview.title()}: {address}{interview.address}")
                return
        await asyncio.sleep(_LOOK_SECONDS)
