"""Real servers and programs for the tests, without Docker.

Each is started on a free port in a temporary folder as an ordinary user (the servers refuse root) and stopped
at the end, also on Ctrl-C; a killed test run takes them along. Downloads stay in the user's cache folder.

    TEST_POSTGRESQL_URL      use this running server (the user may create databases)
    TEST_ELASTICSEARCH_URL   use this running server
    TEST_ELASTICSEARCH_9_URL the same of the next great version
    TEST_REQUIRE_SERVICES    `all`, or names with commas: a missing one fails the tests that need it
                             (`all` leaves out `elasticsearch 9`, whose Java not every Debian has, and `s3`,
                             whose server is built with Go)
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.waiting import until

ELASTICSEARCH_VERSION = "8.19.3"
ELASTICSEARCH_9_VERSION = "9.2.4"
_ELASTICSEARCH_ARTIFACT = "org.elasticsearch.distribution.integ-test-zip:elasticsearch:{version}:zip"
_JAVA_VERSIONS = {8: range(17, 26), 9: range(21, 26)}
"""By the first number of Elasticsearch's version."""
S3_VERSION = "1.8.0"
_S3_PROGRAM = "github.com/versity/versitygw/cmd/versitygw"
_OPTIONAL = {"elasticsearch 9", "s3"}
RTSP_SOURCE = Path(__file__).with_name("rtsp_source.py")
SERVANT = "nobody"
"""Who runs the servers when the tests are run by root."""


class MissingServiceError(Exception):
    """Something a test needs is not on this machine; the text says what to install."""


@dataclass(frozen=True)
class Server:
    """A running server process, its address and where it writes."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def check(self) -> None:
        """Raise with the end of its log if it has died."""
        if self.process.poll() is not None:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self.process.args} ended with {self.process.returncode}:\n{tail}")


def required(name: str) -> bool:
    """Whether this run insists on the service."""
    wanted = os.environ.get("TEST_REQUIRE_SERVICES", "")
    named = {part.strip() for part in wanted.split(",")}
    return name in named or ("all" in named and name not in _OPTIONAL)


def cache_folder() -> Path:
    """Where downloads stay between runs."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "streamarchive-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


_PORTS = range(10_240, 32_768)
"""Below those that the kernel gives to connections: one of these may take a port between two of our steps."""


def free_port() -> int:
    """A port of loopback that nobody used a moment ago, of TCP and UDP."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp, contextlib.suppress(OSError):
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            return port


# --- programs -------------------------------------------------------------------------------------------


def find_ffmpeg() -> Path:
    """ffmpeg of the system, or the one imageio-ffmpeg carries."""
    found = shutil.which("ffmpeg")
    if found:
        return Path(found)
    import imageio_ffmpeg

    return Path(imageio_ffmpeg.get_ffmpeg_exe())


def find_chromium() -> Path:
    """The system's Chromium or Chrome."""
    for name in ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome"):
        found = shutil.which(name)
        if found:
            return Path(found)
    raise MissingServiceError("no Chromium on PATH (Debian: apt install chromium)")


def _find_postgresql() -> Path:
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version, reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        candidates.append(Path(on_path).resolve())
    for initdb in candidates:
        if initdb.with_name("postgres").exists():
            return initdb.parent
    raise MissingServiceError("no PostgreSQL server programs (Debian: apt install postgresql)")


def _version(initdb: Path) -> float:
    return float(initdb.parent.parent.name)


def _find_java(versions: range) -> Path:
    homes = [Path(os.environ[name]) for name in ("ES_JAVA_HOME", "JAVA_HOME") if os.environ.get(name)]
    homes += sorted(Path("/usr/lib/jvm").glob("*"))
    on_path = shutil.which("java")
    if on_path:
        homes.append(Path(on_path).resolve().parent.parent)
    for home in homes:
        if (home / "bin/java").exists() and _java_version(home) in versions:
            return home
    package = f"openjdk-{versions[0]}-jre-headless"
    raise MissingServiceError(f"no Java {versions[0]} to {versions[-1]} (Debian: apt install {package})")


def _find_nginx_rtmp() -> tuple[Path, Path]:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    module = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
    if program is None or not module.exists():
        raise MissingServiceError("no nginx with RTMP (Debian: apt install libnginx-mod-rtmp)")
    return Path(program), module


def _find_gstreamer() -> Path:
    """A Python that can serve RTSP: the system's, whose packages bring GStreamer."""
    python = Path("/usr/bin/python3")
    if not python.exists() or subprocess.run([python, RTSP_SOURCE, "--check"], check=False).returncode != 0:
        packages = "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-good -bad and -ugly"
        raise MissingServiceError(f"no GStreamer to serve RTSP (Debian: apt install {packages})")
    return python


def _java_version(home: Path) -> int:
    answer = subprocess.run([home / "bin/java", "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', answer.stderr)
    return int(found[1]) if found else 0


def _elasticsearch_zip(version: str) -> Path:
    """The distribution without its JDK, from Maven Central (97 MB)."""
    archive = cache_folder() / f"elasticsearch-{version}.zip"
    with (cache_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            _fetch_elasticsearch(version, archive)
    return archive


def _fetch_elasticsearch(version: str, archive: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingServiceError("no Maven to fetch Elasticsearch with (Debian: apt install maven)")
    artifact = _ELASTICSEARCH_ARTIFACT.format(version=version)
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        command = [maven, "-B", "-q", "dependency:copy", f"-Dartifact={artifact}"]
        answer = subprocess.run(
            [*command, f"-DoutputDirectory={folder}"], capture_output=True, text=True, check=False, cwd=folder
        )
        fetched = list(Path(folder).glob("*.zip"))
        if answer.returncode != 0 or not fetched:
            reason = " ".join((answer.stdout + answer.stderr).strip().splitlines()[:1])
            raise MissingServiceError(f"Maven could not fetch {artifact}: {reason}")
        fetched[0].rename(archive)


def _s3_program() -> Path:
    """versitygw, which shows a folder as buckets; built once, in two minutes of a processor's time."""
    program = cache_folder() / f"versitygw-{S3_VERSION}"
    with (cache_folder() / "s3 lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build_s3_program(program)
    return program


def _build_s3_program(program: Path) -> None:
    go = shutil.which("go", path=f"{os.environ['PATH']}:/usr/local/go/bin")
    if go is None:
        raise MissingServiceError("no Go to build versitygw with (1.25 or newer)")
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        answer = subprocess.run(
            [go, "install", f"{_S3_PROGRAM}@v{S3_VERSION}"],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env={**os.environ, "GOBIN": folder},
        )
        if answer.returncode != 0:
            reason = " ".join(answer.stderr.strip().splitlines()[-1:])
            raise MissingServiceError(f"Go could not build versitygw: {reason}")
        (Path(folder) / "versitygw").rename(program)


# --- running --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """URL of the maintenance database of a running server."""
    if given := os.environ.get("TEST_POSTGRESQL_URL"):
        yield given
        return
    programs = _find_postgresql()
    with _folder("postgresql") as folder:
        data = folder / "data"
        options = ["-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        _as_servant([programs / "initdb", "-D", data, *options])
        port = free_port()
        command = [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder]
        # Nothing here outlives the run, so flushing to disk would only cost time.
        for option in ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=200"):
            command += ["-c", option]
        url = f"postgresql://tester@127.0.0.1:{port}/postgres"
        with _running(command, url, folder, stop=signal.SIGINT) as server:
            until(lambda: _postgresql_answers(server), "PostgreSQL to start", seconds=60)
            yield url


def _postgresql_answers(server: Server) -> bool:
    server.check()
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(server.url, connect_timeout=5):
        return True
    return False


@contextlib.contextmanager
def elasticsearch() -> Iterator[str]:
    """URL of a running single node without security."""
    if given := os.environ.get("TEST_ELASTICSEARCH_URL"):
        yield given.rstrip("/")
        return
    with elasticsearch_node() as node:
        yield node.url


@contextlib.contextmanager
def elasticsearch_9() -> Iterator[str]:
    """The same of the next great version."""
    if given := os.environ.get("TEST_ELASTICSEARCH_9_URL"):
        yield given.rstrip("/")
        return
    with elasticsearch_node(ELASTICSEARCH_9_VERSION) as node:
        yield node.url


@contextlib.contextmanager
def elasticsearch_node(
    version: str = ELASTICSEARCH_VERSION,
    options: Mapping[str, str] | None = None,
    secrets: Path | None = None,
    heap: str = "512m",
) -> Iterator[ElasticsearchNode]:
    """A running node of the test's own.

    `secrets` is a folder made by `tests.secured`: then it speaks https and asks who one is.
    """
    java = _find_java(_JAVA_VERSIONS[int(version.partition(".")[0])])
    archive = _elasticsearch_zip(version)
    with _folder("elasticsearch") as folder:
        node = ElasticsearchNode(_unpack(archive, folder), java, dict(options or {}), secrets, heap)
        try:
            node.start()
            yield node
        finally:
            node.stop()


class Restartable:
    """A server that can be stopped in every way and started again."""

    def __init__(self) -> None:
        self._running = contextlib.ExitStack()
        self._server: Server | None = None

    def stop(self) -> None:
        """End it in good order, whatever state it is in."""
        self.resume()
        self._running.close()
        self._server = None

    def kill(self) -> None:
        """kill -9."""
        self._signal(signal.SIGKILL)
        self._running.close()
        self._server = None

    def suspend(self) -> None:
        """It goes on accepting connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on where it was suspended."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server.process.pid, number)


class ElasticsearchNode(Restartable):
    """A node; what it has stored stays when it is started again."""

    def __init__(
        self, home: Path, java: Path, options: Mapping[str, str], secrets: Path | None, heap: str
    ) -> None:
        super().__init__()
        self.folder = home.parent
        self._home = home
        self._secrets = secrets
        port = free_port()
        self.url = f"{'https' if secrets else 'http'}://127.0.0.1:{port}"
        (self.folder / "tmp").mkdir(exist_ok=True)
        if os.getuid() == 0:
            shutil.chown(self.folder / "tmp", SERVANT)
        self._options = {
            "discovery.type": "single-node",
            "http.port": str(port),
            "transport.port": str(free_port()),
            "path.data": str(self.folder / "data"),
            "path.logs": str(self.folder / "logs"),
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            "xpack.security.enabled": str(secrets is not None).lower(),
            **(self._with_secrets(secrets) if secrets else {}),
            **options,
        }
        self._environment = {
            "ES_JAVA_HOME": str(java),
            "ES_JAVA_OPTS": f"-Xms{heap} -Xmx{heap}",
            "ES_TMPDIR": str(self.folder / "tmp"),
        }

    def _with_secrets(self, secrets: Path) -> dict[str, str]:
        for name in ("node.pem", "node.key", "users", "users_roles", "roles.yml"):
            shutil.copyfile(secrets / name, self._home / "config" / name)
            if os.getuid() == 0:
                shutil.chown(self._home / "config" / name, SERVANT)
        return {
            "xpack.security.autoconfiguration.enabled": "false",
            "xpack.security.http.ssl.enabled": "true",
            "xpack.security.http.ssl.key": "node.key",
            "xpack.security.http.ssl.certificate": "node.pem",
        }

    def start(self) -> None:
        """Start it and wait until it answers. On the main thread: it ends with the thread that started it."""
        command: list[str | Path] = [self._home / "bin/elasticsearch"]
        for name, value in self._options.items():
            command += ["-E", f"{name}={value}"]
        running = _running(command, self.url, self.folder, stop=signal.SIGTERM, environment=self._environment)
        self._server = server = self._running.enter_context(running)
        until(lambda: self._answers(server), "Elasticsearch to start", seconds=180)

    def _answers(self, server: Server) -> bool:
        server.check()
        # `GET /` is not part of this distribution; the health of the cluster is.
        address = f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=1s"
        trust = ssl.create_default_context(cafile=self._secrets / "ca.pem") if self._secrets else None
        try:
            with urllib.request.urlopen(address, context=trust, timeout=10) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            return error.code == 401
        except OSError:
            return False


class S3Server(Restartable):
    """A server with one bucket; its objects stay when it is started again.

    It is for whoever knows `ACCESS_KEY` and `SECRET_KEY`.
    """

    ACCESS_KEY = "tester"
    SECRET_KEY = "a secret of tests"
    BUCKET = "archive"

    def __init__(self, program: Path, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        # The cache of whoever runs the tests is closed to the servant.
        self._program = Path(shutil.copy(program, folder))
        for name in ("buckets", f"buckets/{self.BUCKET}", "attributes"):
            (folder / name).mkdir()
            if os.getuid() == 0:
                shutil.chown(folder / name, SERVANT)
        self._port = free_port()
        self.endpoint = f"http://127.0.0.1:{self._port}"

    @property
    def objects(self) -> Path:
        """The folder of the bucket: each object is a file; beside them are parts of uploads."""
        return self._folder / "buckets" / self.BUCKET

    @property
    def log(self) -> str:
        """A line for each request."""
        return (self._folder / "output.log").read_text(errors="replace")

    def start(self) -> None:
        """Start it and wait until it answers. On the main thread: it ends with the thread that started it."""
        command: list[str | Path] = [self._program, "--keep-alive", "--port", f"127.0.0.1:{self._port}"]
        command += ["posix", "--sidecar", self._folder / "attributes", self._folder / "buckets"]
        secrets = {"ROOT_ACCESS_KEY": self.ACCESS_KEY, "ROOT_SECRET_KEY": self.SECRET_KEY}
        running = _running(command, self.endpoint, self._folder, stop=signal.SIGTERM, environment=secrets)
        self._server = server = self._running.enter_context(running)
        until(lambda: _listens(server, self._port), "versitygw to start")


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    """A running server of the test's own."""
    program = _s3_program()
    with _folder("s3") as folder:
        server = S3Server(program, folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def s3() -> Iterator[str]:
    """Address of a running server with the bucket of `S3Server`."""
    with s3_server() as server:
        yield server.endpoint


NGINX_RTMP = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
load_module {module};
events {{ worker_connections 64; }}
rtmp {{
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        application live {{
            live on;
            allow play 127.0.0.1;
            deny play all;
            {publishing}
        }}
    }}
}}
"""
"""The part that the operator's guide shows, with a port of the test's own."""


@contextlib.contextmanager
def nginx_rtmp(on_publish: str = "") -> Iterator[str]:
    """URL of the application ``live`` of a server for RTMP; `on_publish` is asked who may publish."""
    program, module = _find_nginx_rtmp()
    with _folder("nginx") as folder:
        port = free_port()
        publishing = f"on_publish {on_publish};" if on_publish else "allow publish 127.0.0.1;"
        text = NGINX_RTMP.format(module=module, port=port, publishing=publishing)
        (folder / "nginx.conf").write_text(text)
        command: list[str | Path] = [program, "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"]
        url = f"rtmp://127.0.0.1:{port}/live"
        with _running(command, url, folder, stop=signal.SIGTERM) as server:
            until(lambda: _listens(server, port), "nginx to start")
            yield url


NGINX_FILES = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; }}
    server {{
        listen 127.0.0.1:{port};
        root {root};
    }}
}}
"""


@contextlib.contextmanager
def file_server(root: Path) -> Iterator[str]:
    """URL of a server that gives out the files below a folder, at hardly any cost to this machine."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise MissingServiceError("no nginx (Debian: apt install nginx-light)")
    with _folder("nginx") as folder:
        port = free_port()
        (folder / "nginx.conf").write_text(NGINX_FILES.format(port=port, root=root))
        command: list[str | Path] = [program, "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"]
        with _running(command, f"http://127.0.0.1:{port}", folder, stop=signal.SIGTERM) as server:
            until(lambda: _listens(server, port), "nginx to start")
            yield server.url


@contextlib.contextmanager
def rtsp_server() -> Iterator[str]:
    """URL of a server for RTSP with cameras; see `tests/rtsp_source.py`."""
    python = _find_gstreamer()
    with _folder("rtsp") as folder:
        port = free_port()
        script = folder / RTSP_SOURCE.name
        shutil.copyfile(RTSP_SOURCE, script)
        script.chmod(0o644)
        command: list[str | Path] = [python, script, str(port)]
        url = f"rtsp://127.0.0.1:{port}"
        with _running(command, url, folder, stop=signal.SIGTERM) as server:
            until(lambda: _listens(server, port), "the RTSP server to start")
            yield url


def _listens(server: Server, port: int) -> bool:
    server.check()
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _unpack(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as distribution:
        distribution.extractall(folder)
    home = next(folder.glob("elasticsearch-*"))
    for program in (home / "bin").iterdir():
        program.chmod(0o755)
    if os.getuid() == 0:
        for path in folder.rglob("*"):
            shutil.chown(path, SERVANT)
    return home


@contextlib.contextmanager
def _folder(name: str) -> Iterator[Path]:
    """A temporary folder that the servant owns. Short, because socket paths are limited to 107 bytes."""
    with tempfile.TemporaryDirectory(prefix=f"{name}-", ignore_cleanup_errors=True) as text:
        folder = Path(text)
        if os.getuid() == 0:
            user = pwd.getpwnam(SERVANT)
            os.chown(folder, user.pw_uid, user.pw_gid)
        yield folder


def _prefix(*, die_with_parent: bool) -> list[str]:
    setpriv = shutil.which("setpriv")
    if os.getuid() == 0 and setpriv is None:
        raise MissingServiceError("run by root, and no setpriv to start a server as somebody else (util-linux)")
    if setpriv is None:
        return []
    prefix = [setpriv]
    if os.getuid() == 0:
        user = pwd.getpwnam(SERVANT)
        prefix += [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    if die_with_parent:
        prefix += ["--pdeathsig", "TERM"]
    return [*prefix, "--"] if len(prefix) > 1 else []


def _as_servant(command: Sequence[str | Path]) -> None:
    answer = subprocess.run(
        [*_prefix(die_with_parent=False), *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    if answer.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {answer.stderr[-2000:]}")


@contextlib.contextmanager
def _running(
    command: Sequence[str | Path],
    url: str,
    folder: Path,
    *,
    stop: signal.Signals,
    environment: dict[str, str] | None = None,
) -> Iterator[Server]:
    log = folder / "output.log"
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LC_ALL": "C.UTF-8",
        **(environment or {}),
    }
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches pytest only, which then stops the servers in order.
        process = subprocess.Popen(
            [*_prefix(die_with_parent=True), *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environ,
            cwd=folder,
            start_new_session=True,
        )
    try:
        yield Server(process, url, log)
    finally:
        _stop(process, stop)


def _stop(process: subprocess.Popen[bytes], first: signal.Signals) -> None:
    for number in (first, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
            return
