"""Make `.venv` with StreamArchive in it: what `make install`, `make demo` and `make test` run first.

Needs Python 3.11 and nothing else. Says what it will download before it does, does nothing when nothing has
changed since the last time, and can be interrupted and run again.

    python3 tools/install.py               the application, ready for `streamarchive demo`
    python3 tools/install.py --tools       and pytest, ruff, mypy and what else development takes
    python3 tools/install.py --services    and the servers and programs that tests use, with apt where it can
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
PIP_INSTALL = [str(PYTHON), "-m", "pip", "install"]
if not sys.stdout.isatty():
    PIP_INSTALL.append("--quiet")  # who sits at a terminal sees how far the downloads are
CONSTRAINTS = ROOT / "constraints.txt"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PROBE_SECONDS = 6

SYSTEM_PACKAGES = {
    "ffmpeg": ("ffmpeg",),
    "chromium": ("chromium",),
    "fonts-noto-cjk": ("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",),
    "postgresql": ("/usr/lib/postgresql/*/bin/initdb", "initdb"),
    "openjdk-17-jre-headless": ("/usr/lib/jvm/*/bin/java", "java"),
    "maven": ("mvn",),
    "nginx-light": ("/usr/sbin/nginx",),
    "libnginx-mod-rtmp": ("/usr/lib/nginx/modules/ngx_rtmp_module.so",),
    "gir1.2-gst-rtsp-server-1.0": ("/usr/lib/*/girepository-1.0/GstRtspServer-1.0.typelib",),
    "python3-gi": ("/usr/lib/python3/dist-packages/gi/__init__.py",),
    "gstreamer1.0-plugins-base": ("/usr/lib/*/gstreamer-1.0/libgstvideotestsrc.so",),
    "gstreamer1.0-plugins-good": ("/usr/lib/*/gstreamer-1.0/libgstrtp.so",),
    "gstreamer1.0-plugins-bad": ("/usr/lib/*/gstreamer-1.0/libgstvoaacenc.so",),
    "gstreamer1.0-plugins-ugly": ("/usr/lib/*/gstreamer-1.0/libgstx264.so",),
}
"""Debian's packages that the tests use, and where each shows that it is there."""


def main() -> int:
    """Install; the exit status."""
    parser = argparse.ArgumentParser(description="Install StreamArchive into .venv.")
    parser.add_argument("--tools", action="store_true", help="also the tools of development")
    parser.add_argument("--services", action="store_true", help="also what the tests start (implies --tools)")
    options = parser.parse_args()
    if sys.version_info < (3, 11):  # noqa: UP036 - this file meets whatever python3 there is
        say(f"StreamArchive needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}.")
        return 1
    try:
        if options.services:
            install_system_packages()
        install_python_packages(tools=options.tools or options.services)
        run([str(PYTHON), "tools/assets.py"], aloud=False)
    except subprocess.CalledProcessError as error:
        say(f"This command failed with status {error.returncode}: {' '.join(shown(error.cmd))}")
        say("Mend what it says above and run the same again: what is done stays done.")
        return 1
    return 0


# --- Python ---------------------------------------------------------------------------------------------


def install_python_packages(*, tools: bool) -> None:
    """Fill `.venv`, unless that was done already with the same versions."""
    with_tools = VENV / "installed-with-tools"
    stamp = with_tools if tools else VENV / "installed"
    wanted = fingerprint()
    if wanted in (read(stamp), read(with_tools)):
        return
    if find_spec("ensurepip") is None and not can_use_apt():
        say(f"Python cannot make environments here. As root: apt-get install {venv_package()}")
        raise SystemExit(1)
    cpu = not have_torch() and wants_cpu_build()
    announce(cpu=cpu)
    make_environment()
    pip("--upgrade", "pip")
    if cpu and not install_cpu_torch():
        say("PyTorch's own index did not give it; taking the build from PyPI, which brings CUDA.")
    pip("--editable", ".[demo]", *(["--group", "dev"] if tools else []))
    stamp.write_text(wanted)


def announce(*, cpu: bool) -> None:
    """Say what is about to be downloaded."""
    if have_torch():
        say("Bringing .venv up to date.")
        return
    say("Installing StreamArchive into .venv. It downloads, once:")
    if cpu:
        say("  - PyTorch for CPUs (200 MB, from PyTorch's own index, as there is no NVIDIA device here)")
    else:
        say("  - PyTorch with CUDA (about 2.7 GB; 5.6 GB installed)")
    say("  - the other Python packages (about 630 MB, 290 of it Triton, which openai-whisper asks for)")
    say("  - hls.js (7 MB; without npm on this machine also Node.js, 60 MB, which is removed again)")


def make_environment() -> None:
    """Create `.venv`, where need be with Debian's python3-venv."""
    if str(VENV) in read(VENV / "bin" / "pip") and succeeds([str(PYTHON), "-m", "pip", "--version"]):
        return  # its programs name their place, so one that was moved with the checkout is made anew
    if find_spec("ensurepip") is None:
        apt_install([venv_package()])
    run([sys.executable, "-m", "venv", "--clear", str(VENV)])


def venv_package() -> str:
    """Debian's package with which this Python makes environments."""
    return f"python{sys.version_info.major}.{sys.version_info.minor}-venv"


def fingerprint() -> str:
    """Changes when what has to be installed changes."""
    parts = [str(ROOT).encode()]
    parts += [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def pip(*arguments: str) -> None:
    """Install with the environment's pip, in the pinned versions."""
    run([*PIP_INSTALL, "--constraint", str(CONSTRAINTS), *arguments])


# --- PyTorch --------------------------------------------------------------------------------------------


def wants_cpu_build() -> bool:
    """Whether the small build suits this machine and can be had."""
    if sys.platform != "linux" or has_nvidia():
        return False
    try:
        with urllib.request.urlopen(f"{CPU_INDEX}/torch/", timeout=PROBE_SECONDS):  # noqa: S310
            return True
    except (OSError, ValueError):
        say("PyTorch's index of CPU builds cannot be reached from here.")
        return False


def has_nvidia() -> bool:
    """Whether there is an NVIDIA device."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def have_torch() -> bool:
    """Whether `.venv` has the pinned PyTorch, whichever build."""
    return any(VENV.glob(f"lib/python3*/site-packages/torch-{torch_version()}*.dist-info"))


def torch_version() -> str:
    """The pinned version."""
    lines = CONSTRAINTS.read_text().splitlines()
    return next(line.removeprefix("torch==") for line in lines if line.startswith("torch=="))


def install_cpu_torch() -> bool:
    """Only PyTorch itself comes from its index; what it depends on comes with everything else."""
    command = [*PIP_INSTALL, "--no-deps", "--index-url", CPU_INDEX, f"torch=={torch_version()}"]
    say("+ " + " ".join(shown(command)))
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


# --- the system -----------------------------------------------------------------------------------------


def install_system_packages() -> None:
    """Install with apt what the tests use and this machine lacks, or say what is missing."""
    missing = [name for name, places in SYSTEM_PACKAGES.items() if not any(present(place) for place in places)]
    if not missing:
        return
    if not can_use_apt():
        say(f"Not here: {', '.join(missing)}. Tests that need them will be skipped, and named at the end.")
        say(f"With Debian, as root: apt-get install --no-install-recommends {' '.join(missing)}")
        return
    try:
        apt_install(missing)
    except subprocess.CalledProcessError:
        say("apt-get failed: tests that need these packages will be skipped, and named at the end.")


def present(place: str) -> bool:
    """Whether a program is on PATH, or a file (with wildcards) exists."""
    if not place.startswith("/"):
        return shutil.which(place) is not None
    return any(Path("/").glob(place.lstrip("/")))


def can_use_apt() -> bool:
    """Whether packages can be installed without asking anybody."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def apt_install(packages: Sequence[str]) -> None:
    """Install Debian packages."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], environment)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], environment)


# --- small things ---------------------------------------------------------------------------------------


def say(text: str) -> None:
    """Tell the person at the terminal."""
    print(text, file=sys.stderr, flush=True)


def run(command: Sequence[str], environment: dict[str, str] | None = None, *, aloud: bool = True) -> None:
    """Show a command and run it in the project's folder."""
    if aloud:
        say("+ " + " ".join(shown(command)))
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def shown(command: Sequence[str]) -> list[str]:
    """The command with paths inside the project as a person would type them."""
    return [word.removeprefix(f"{ROOT}/") for word in command]


def succeeds(command: Sequence[str]) -> bool:
    """Whether a command ends well."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def read(file: Path) -> str:
    """A file's text; nothing if there is none."""
    return file.read_text() if file.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
