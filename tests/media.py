"""Test media, made by ffmpeg."""

from __future__ import annotations

import subprocess
from pathlib import Path

from streamarchive.media.commands import ffmpeg_path
from tests.waiting import PATIENCE


def run_ffmpeg(*arguments: str | Path) -> None:
    """Run ffmpeg to its end."""
    command = [ffmpeg_path(), "-hide_banner", "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120 * PATIENCE, check=False)
    assert done.returncode == 0, done.stderr


def make(
    target: Path,
    seconds: float = 6,
    *options: str,
    video: bool = True,
    audio: bool = True,
    frames_between_keys: int = 25,
) -> Path:
    """A test picture with a running clock and a tone."""
    inputs, codecs = [], []
    if video:
        inputs += ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"]
        codecs += [
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-g",
            str(frames_between_keys),
            "-pix_fmt",
            "yuv420p",
        ]
    if audio:
        inputs += ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]
        codecs += ["-c:a", "aac", "-b:a", "96k"]
    if target.suffix == ".mp3":
        codecs = ["-c:a", "libmp3lame"]
    run_ffmpeg(*inputs, "-t", str(seconds), *codecs, *options, target)
    return target
