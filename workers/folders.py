"""Where the recorders of this host work: media files on their way to the store, and sound for transcribers."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from streamarchive.models import RecordingId, StreamId

MEDIA_NAME = re.compile(r"s(\d{8})\.ts")
"""What ffmpeg calls its media files."""
SPOOL_NAME = re.compile(r"a(\d{8})\.ts")
"""And those of the spool."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a stream's recorder works on this host."""

    data: Path
    stream_id: StreamId

    def take(self, number: int) -> Path:
        """The media files of a take on their way to the store."""
        return self.takes / str(number)

    def spool(self, number: int) -> Path:
        """The sound of a take in short files, for a live transcriber."""
        return self.data / "spool" / f"stream-{self.stream_id}" / str(number)

    def public_spool(self, recording_id: RecordingId) -> Path:
        """Where a live transcriber looks for the spools of a recording's takes."""
        return self.data / "spool" / str(recording_id)

    @property
    def takes(self) -> Path:
        """The folders of all takes."""
        return self.data / "recorder" / str(self.stream_id)

    def left_behind(self) -> list[int]:
        """The numbers of the takes that have a folder here, in order. Blocks."""
        if not self.takes.is_dir():
            return []
        return sorted(int(entry.name) for entry in self.takes.iterdir() if entry.name.isdigit())

    def prepare(self, number: int) -> tuple[Path, Path]:
        """Empty folders for a new take. Blocks."""
        work, spool = self.take(number), self.spool(number)
        for folder in (work, spool):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        return work, spool

    def remove(self, number: int) -> None:
        """The media files of a take are not wanted. Blocks."""
        shutil.rmtree(self.take(number), ignore_errors=True)

    def written(self, number: int) -> int:
        """A number that changes whenever more media of a take has come. Blocks."""
        size = 0
        with suppress(OSError):
            for entry in os.scandir(self.take(number)):
                if MEDIA_NAME.fullmatch(entry.name):
                    size += int(entry.name[1:9]) + entry.stat().st_size
        return size

    def publish_spool(self, recording_id: RecordingId) -> None:
        """Let live transcribers find the spools. Blocks."""
        link = self.public_spool(recording_id)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(f"stream-{self.stream_id}", target_is_directory=True)

    def prune_spool(self, number: int, *, keep: int) -> None:
        """Forget the sound that no live transcriber will go back to. Blocks."""
        names = sorted(entry.name for entry in os.scandir(self.spool(number)))
        for name in names[:-keep]:
            (self.spool(number) / name).unlink(missing_ok=True)


def files_in(folder: Path, name: re.Pattern[str] = MEDIA_NAME) -> list[Path]:
    """The files of a take that are called so, oldest first. Blocks."""
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if name.fullmatch(file.name))


def rewrite(file: Path, data: bytes, modified_ns: int) -> None:
    """Change a file at once or not at all; it keeps its time. Blocks."""
    copy = file.with_suffix(".cut")
    copy.write_bytes(data)
    os.utime(copy, ns=(modified_ns, modified_ns))
    copy.replace(file)
