"""What a huge upload costs: memory of the server, and patience of everybody else.

    python benchmarks/uploads.py [--gigabytes 10] [--folder DIR]

Runs `streamarchive serve` with all its workers in a temporary folder. A producer signs in and sends a form with a
recording of so many gigabytes, as a browser does: the token first, then the file. It is a real one: 20 s of
MPEG-TS, over and over. Meanwhile somebody else opens pages, one after the other without a pause; the same person
did so before the upload began, and goes on until the file has been judged and accepted.

Wanted: no process of the server grows by more than 100 MB, and pages stay as quick as they were (1.0 in the last
columns is the same; the sender and the browser use the machine, too).
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import multiprocessing
import os
import platform
import re
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import psutil
from sqlalchemy import select

from streamarchive import ingest
from streamarchive.catalogue import accounts, passwords, tables, uploads
from streamarchive.ingest import Details
from streamarchive.media.commands import ffmpeg_path
from streamarchive.models import CueDraft, InterviewId, JobState, Role, UploadState, Visibility
from streamarchive.services import Services, open_services
from streamarchive.settings import Settings

GIGABYTE = 1_000_000_000
WANTED_MB = 100
_IDLE_SECONDS = 15.0
_SAMPLE_SECONDS = 0.2
_INTERVIEWS, _LINES = 20, 300
_MODEL = Path(__file__).parents[1] / "streamarchive" / "demo" / "data" / "whisper-demo.pt"
_WORDS = (
    "battery",
    "cabin",
    "charge",
    "cloud",
    "driver",
    "engine",
    "lidar",
    "motor",
    "parking",
    "radar",
    "sensor",
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--folder", type=Path, help="where to put the archive (default: the system's place)")
    options = parser.parse_args()
    size = int(options.gigabytes * GIGABYTE)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="uploads-") as text:
        folder = Path(text)
        _require_room(folder, size)
        print(_machine())
        asyncio.run(measure(folder, size))


def _require_room(folder: Path, size: int) -> None:
    """The upload, the file that is made of it, and the tenth of the disk that an archive keeps free."""
    usage = shutil.disk_usage(folder)
    needed = 2 * size + usage.total // 10
    if usage.free < needed:
        raise SystemExit(
            f"{folder} has {usage.free / GIGABYTE:.0f} GB free and this takes {needed / GIGABYTE:.0f}; "
            "name another place with --folder, or fewer --gigabytes"
        )


def _machine() -> str:
    memory = psutil.virtual_memory().total / (1 << 30)
    busy = os.getloadavg()[0]
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"load {busy:.1f} before; Python {platform.python_version()}"
    )


async def measure(folder: Path, size: int) -> None:
    """One run, from an idle server to an accepted file."""
    settings = Settings(data_dir=folder / "archive", model=str(_MODEL))
    piece = await asyncio.to_thread(make_piece, folder)
    async with open_services(settings) as services:
        shown = await fill(services, piece)
        password = await add_producer(services)
        target = await new_interview(services)
        with serving(settings) as (url, server):
            async with signed_in(url, password) as visitor:
                await settled(services, visitor)
                pages = ("/", "/search?q=battery+motor", f"/interviews/{shown}", "/desk", f"/desk/{target}")
                idle, _ = await visit(visitor, pages, asyncio.create_task(asyncio.sleep(_IDLE_SECONDS)))
                watching = Memory(server)
                send = Sending(url, f"/desk/{target}/upload", visitor, piece.read_bytes(), size)
                during, took = await visit(visitor, pages, asyncio.create_task(asyncio.to_thread(send.run)))
                sending = watching.peaks()
                judged, waited = await visit(visitor, pages, asyncio.create_task(accepted(services, target)))
                judging = watching.stop()
    report_memory(watching.before, sending, judging)
    print(f"\n{size / GIGABYTE:g} GB sent in {took:.0f} s: {size / took / 1e6:.0f} MB/s")
    print(f"accepted {waited:.0f} s later: {size / waited / 1e6:.0f} MB/s were read and hashed")
    report_pages(pages, idle, during, judged)


# --- what is sent ---------------------------------------------------------------------------------------------


def make_piece(folder: Path) -> Path:
    """Twenty seconds of MPEG-TS at some 8 Mb/s; repeated, it is a long recording with jumps in its time."""
    file = folder / "piece.ts"
    picture = ["-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25,noise=alls=40:allf=t"]
    sound = ["-f", "lavfi", "-i", "sine=frequency=330:sample_rate=48000"]
    rate = ["-b:v", "8M", "-minrate", "8M", "-maxrate", "8M", "-bufsize", "8M"]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    command = [ffmpeg_path(), "-hide_banner", "-nostdin", "-v", "error", *picture, *sound, "-t", "20"]
    subprocess.run([*command, *codecs, *rate, str(file)], check=True)
    return file


@dataclass(frozen=True)
class Sending:
    """A form on its way, sent by a process of its own: it must not slow down the one that opens pages."""

    url: str
    path: str
    visitor: Visitor
    piece: bytes
    size: int

    def run(self) -> None:
        """Send it. Blocks; raises `SystemExit` if it is not taken."""
        context = multiprocessing.get_context("spawn")
        cookies = "; ".join(f"{name}={value}" for name, value in self.visitor.cookies.items())
        arguments = (self.url, self.path, cookies, self.visitor.token, self.piece, self.size)
        process = context.Process(target=send, args=arguments)
        process.start()
        process.join()
        if process.exitcode != 0:
            raise SystemExit("the upload was not taken")


def send(url: str, path: str, cookies: str, token: str, piece: bytes, size: int) -> None:
    """The form, as a browser writes it."""
    mark = secrets.token_hex(16)
    head = (
        f'--{mark}\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n{token}\r\n'
        f'--{mark}\r\nContent-Disposition: form-data; name="recording"; filename="a long day.ts"\r\n'
        "Content-Type: video/mp2t\r\n\r\n"
    ).encode()
    tail = f"\r\n--{mark}--\r\n".encode()
    times = size // len(piece)

    def body() -> Iterator[bytes]:
        yield head
        for _ in range(times):
            yield piece
        yield tail

    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=300)
    headers = {
        "Content-Type": f"multipart/form-data; boundary={mark}",
        "Content-Length": str(len(head) + times * len(piece) + len(tail)),
        "Cookie": cookies,
        "Sec-Fetch-Site": "same-origin",
    }
    connection.request("POST", path, body(), headers)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 303:
        raise SystemExit(f"the server answered {answer.status}")


async def accepted(services: Services, interview_id: InterviewId) -> None:
    """Until the file is a recording."""
    while True:
        async with services.database.read() as connection:
            [upload] = await uploads.of_interview(connection, interview_id)
        if upload.state is UploadState.TAKEN:
            return
        if upload.state is not UploadState.RECEIVED:
            raise SystemExit(f"the file was not taken: {upload.error}")
        await asyncio.sleep(0.25)


# --- the archive it comes to ----------------------------------------------------------------------------------


async def fill(services: Services, media: Path) -> InterviewId:
    """Some interviews with lines, so that pages have something to show; the id of one."""
    await services.search.prepare()
    interview_id = InterviewId("")
    for number in range(_INTERVIEWS):
        interview_id = await ingest.import_file(
            services.database,
            services.store,
            media,
            Details({"en": f"Interview number {number}"}, ("en",), Visibility.PUBLIC),
            incoming=services.settings.incoming,
            lines=[_line(number + at, at * 4_000) for at in range(_LINES)],
        )
    return interview_id


def _line(seed: int, at_ms: int) -> CueDraft:
    text = " ".join(_WORDS[(seed * 7 + place * 5) % len(_WORDS)] for place in range(9))
    return CueDraft(at_ms, at_ms + 3_900, text, "en")


async def add_producer(services: Services) -> str:
    """Somebody who may upload; the password."""
    password = passwords.new_password()
    password_hash = await passwords.hash_password(password)
    async with services.database.write() as tx:
        await accounts.add_user(tx, "producer", Role.PRODUCER, password_hash)
    return password


async def new_interview(services: Services) -> InterviewId:
    """Where the upload goes."""
    async with services.database.write() as tx:
        return await ingest.create_interview(tx, Details({"en": "The long one"}, ("en",)))


@contextmanager
def serving(settings: Settings) -> Iterator[tuple[str, psutil.Process]]:
    """`streamarchive serve` of its own: its address and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {"DATA_DIR": str(settings.data_dir), "MODEL": str(_MODEL), "PORT": str(port)}
    environment = {**os.environ, **{f"STREAMARCHIVE_{name}": value for name, value in own.items()}}
    with (settings.data_dir.parent / "server.log").open("w") as log:
        command = [sys.executable, "-m", "streamarchive", "serve"]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


# --- who opens pages ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Visitor:
    """A signed-in browser."""

    session: aiohttp.ClientSession
    url: str
    token: str
    cookies: Mapping[str, str]

    async def open(self, path: str) -> str:
        """A page, which has to be there."""
        async with self.session.get(self.url + path) as response:
            response.raise_for_status()
            return await response.text()


@asynccontextmanager
async def signed_in(url: str, password: str) -> AsyncIterator[Visitor]:
    """The producer, through the sign-in form."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        await _until_it_answers(session, url)
        visitor = Visitor(session, url, "", {})
        form = (await visitor.open("/sign-in")).partition('action="/sign-in"')[2]
        fields = {"csrf": _token(form), "name": "producer", "password": password, "next": "/desk"}
        async with session.post(f"{url}/sign-in", data=fields) as response:
            response.raise_for_status()
            page = await response.text()
        cookies = {cookie.key: cookie.value for cookie in session.cookie_jar}
        yield Visitor(session, url, _token(page), cookies)


async def _until_it_answers(session: aiohttp.ClientSession, url: str) -> None:
    for _ in range(600):
        with suppress(aiohttp.ClientError):
            async with session.get(f"{url}/readyz") as response:
                if response.status == 200:
                    return
        await asyncio.sleep(0.1)
    raise SystemExit("the server did not start within a minute")


def _token(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    if found is None:
        raise SystemExit("there is no form on the page")
    return found[1]


async def settled(services: Services, visitor: Visitor) -> None:
    """Until what was put in is processed and every page has been shown once."""
    while True:
        async with services.database.read() as connection:
            open_jobs = select(tables.job.c.id).where(tables.job.c.state.in_((JobState.QUEUED, JobState.RUNNING)))
            unindexed = select(tables.outbox.c.id)
            left = [row for statement in (open_jobs, unindexed) for row in await connection.execute(statement)]
        if not left:
            return
        await visitor.open("/")
        await asyncio.sleep(0.5)


Times = dict[str, list[float]]


async def visit(visitor: Visitor, pages: Sequence[str], meanwhile: asyncio.Task[None]) -> tuple[Times, float]:
    """Open pages, one after the other, while something else goes on: seconds by page, and how long that took."""
    began = time.perf_counter()
    ended: list[float] = []
    meanwhile.add_done_callback(lambda _: ended.append(time.perf_counter()))
    times: Times = defaultdict(list)
    while not meanwhile.done():
        for page in pages:
            asked = time.perf_counter()
            await visitor.open(page)
            times[page].append(time.perf_counter() - asked)
    await meanwhile
    return times, ended[0] - began


# --- what it costs --------------------------------------------------------------------------------------------


class Memory:
    """Resident memory of the server's processes in MB, by what they are: before, and the most since."""

    def __init__(self, server: psutil.Process) -> None:
        """Watch from now on."""
        self._server = server
        self._most: dict[str, float] = defaultdict(float)
        self.before = self._now()
        self._task = asyncio.create_task(self._watch())

    def peaks(self) -> dict[str, float]:
        """The most since the last call."""
        most, self._most = dict(self._most), defaultdict(float)
        return most

    def stop(self) -> dict[str, float]:
        """The same, for the last time."""
        self._task.cancel()
        return self.peaks()

    async def _watch(self) -> None:
        while True:
            for name, megabytes in self._now().items():
                self._most[name] = max(self._most[name], megabytes)
            await asyncio.sleep(_SAMPLE_SECONDS)

    def _now(self) -> dict[str, float]:
        found = {"web": self._server.memory_info().rss / 1e6}
        for child in self._server.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                name = _role(child.cmdline())
                found[name] = max(found.get(name, 0.0), child.memory_info().rss / 1e6)
        return found


def _role(command: Sequence[str]) -> str:
    if "work" in command:
        return f"worker: {command[command.index('work') + 1]}, …"
    if any("ffmpeg" in part for part in command[:20]):
        return "ffmpeg"
    return "engine and helpers"


def report_memory(
    before: Mapping[str, float], sending: Mapping[str, float], judging: Mapping[str, float]
) -> None:
    """One line a process."""
    print(f"\n{'memory, MB':<32}{'before':>9}{'sending':>9}{'judging':>9}{'growth':>9}")
    for name in sorted({**before, **sending, **judging}, key=lambda name: (name != "web", name)):
        had, most = before.get(name), max(sending.get(name, 0.0), judging.get(name, 0.0))
        cells = [_cell(had), _cell(sending.get(name)), _cell(judging.get(name))]
        growth = f"{most - had:+.0f}" if had is not None else "new"
        verdict = "" if had is None or most - had < WANTED_MB else f"  more than {WANTED_MB}"
        print(f"{name:<32}{''.join(cells)}{growth:>9}{verdict}")


def _cell(value: float | None) -> str:
    return f"{'-' if value is None else format(value, '.0f'):>9}"


def report_pages(pages: Sequence[str], idle: Times, during: Times, judged: Times) -> None:
    """Percentiles, and how many times those of the idle server they are."""
    print(f"\n{'pages, ms':<28}{'idle':>16}{'during upload':>24}{'while judged':>24}")
    print(f"{'':<28}{'p50':>8}{'p95':>8}{'p50':>8}{'p95':>8}{'ratio':>8}{'p50':>8}{'p95':>8}{'ratio':>8}")
    for page in pages:
        base = _percentiles(idle[page])
        row = f"{re.sub(r'[0-9a-z]{10}$', '…', page):<28}{base[0]:>8.1f}{base[1]:>8.1f}"
        for times in (during[page], judged[page]):
            found = _percentiles(times)
            row += f"{found[0]:>8.1f}{found[1]:>8.1f}{found[0] / base[0]:>8.2f}"
        print(row)


def _percentiles(times: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(1_000 * each for each in times)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.95)]


if __name__ == "__main__":
    main()
