"""Style sheets, scripts and pictures of the site, held in memory under addresses that change with them."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
_TYPES = {".js": "text/javascript", ".svg": "image/svg+xml", ".css": "text/css"}
_COMPRESSIBLE = {".js", ".css", ".svg"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, ready to be sent."""

    media_type: str
    body: bytes
    gzipped: bytes | None


class StaticFiles:
    """All files below a folder. One hash stands for all of them, so that modules can import each other."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files = {
            path.relative_to(folder).as_posix(): _load(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        digest = hashlib.sha256()
        for name, file in self._files.items():
            digest.update(name.encode() + b"\0" + file.body)
        self.version = digest.hexdigest()[:12]

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return name in self._files

    def get(self, name: str) -> StaticFile | None:
        """The file of this name, if there is one."""
        return self._files.get(name)

    def url(self, name: str) -> str:
        """Its address, which may be cached for ever. Raises `KeyError` for a file that is not there."""
        if name not in self._files:
            raise KeyError(name)
        return f"/static/{self.version}/{name}"


def _load(path: Path) -> StaticFile:
    body = path.read_bytes()
    media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return StaticFile(media_type, body, gzip.compress(body, 6, mtime=0) if path.suffix in _COMPRESSIBLE else None)
