"""What the files of a recording are made of: the takes of a broadcast, or an upload."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from streamarchive.clock import to_ms
from streamarchive.media import assembly, packets
from streamarchive.media.codecs import PLAYABLE_AUDIO, PLAYABLE_VIDEO, Tracks
from streamarchive.media.joining import Part, Reel
from streamarchive.media.packets import Reading
from streamarchive.media.probe import probe
from streamarchive.media.segments import read_times
from streamarchive.media.verification import TOLERANCE_MS, UPLOAD_TOLERANCE_MS, Expected
from streamarchive.models import Asset, MediaSegment, Recording, Stretch
from streamarchive.protocols import MediaStore

Report = Callable[[float, str], None]
"""Called with a fraction from 0 to 1, and what is being done."""

_TORN_PACKETS = 3
"""So many packets of a track may be in two pieces where a take begins or ends."""
_UPLOAD_SLACK = 0.01
"""Containers do not cut sound into packets all alike."""


@dataclass(frozen=True, slots=True)
class Takes:
    """The segments of a broadcast."""

    segments: Sequence[MediaSegment]
    left_out: Sequence[Stretch] = ()
    """What is not shown of them."""

    @property
    def origin(self) -> str:
        """What they are, in one hash, and what of them is left out."""
        digest = hashlib.sha256("".join(segment.sha256 for segment in self.segments).encode()).hexdigest()
        return digest + _without(self.left_out)

    async def tracks(self, store: MediaStore) -> Tracks:
        """The picture of the first take that has one, and the sound of the first that has any."""
        return _first(await self._held(store))

    async def _held(self, store: MediaStore) -> list[Tracks]:
        """What each take has."""
        found = []
        for take in self._takes():
            async with store.local(take[0].key) as path:
                found.append(await asyncio.to_thread(_tracks, path))
        return found

    async def make(self, store: MediaStore, folder: Path, target: Path, report: Report) -> None:
        """Join them. Raises `MediaError`, `NotFoundError`."""
        held = await self._held(store)
        reel, sound = await self._reels(held, await self._parts(store, folder, report))

        def tell(done: float) -> None:
            report(0.3 + 0.7 * done, "writing the file")

        await assembly.join(reel, _first(held), target, tell, self.left_out, sound)

    async def _parts(self, store: MediaStore, folder: Path, report: Report) -> list[Part]:
        """One file a take."""
        parts = []
        for number, take in enumerate(self._takes()):
            file = await self._put_together(store, take, folder / f"take-{number}.ts")
            following = next((s.start_ticks for s in self.segments if s.sequence > take[-1].sequence), None)
            end = take[-1].end_ticks if following is None else following
            parts.append(Part(file, end - take[0].start_ticks))
            report(0.3 * (take[-1].sequence + 1) / len(self.segments), "putting the takes together")
        return parts

    async def _reels(self, held: Sequence[Tracks], parts: list[Part]) -> tuple[Reel, Reel | None]:
        """The takes as they follow each other; their sound by itself where some of them have no picture."""
        begins_ticks = self.segments[0].start_ticks
        heard = [bool(tracks.audio) for tracks in held]
        if _is_mixed(held):
            pictured = [bool(tracks.video) for tracks in held]
            named = zip(parts, pictured, strict=True)
            parts = [part if has_picture else await assembly.as_second_track(part) for part, has_picture in named]
            return _reel(parts, pictured, begins_ticks), _reel(parts, heard, begins_ticks)
        if any(heard) and not heard[0]:
            parts = [await assembly.add_silence(parts[0], parts[heard.index(True)].file), *parts[1:]]
        return Reel(tuple(parts), begins_ticks), None

    async def expected(self, store: MediaStore, folder: Path) -> Expected:
        """What the file has to hold, counted in the segments themselves."""
        held, counted = await self._held(store), Reading()
        takes = self._takes()
        for number, take in enumerate(takes):
            file = folder / f"take-{number}.ts"
            if not file.exists():  # an earlier attempt has made the whole
                await self._put_together(store, take, file)
            counted += await packets.count(file)
        if not (held[0].audio or _is_mixed(held)):
            counted = replace(counted, audio=None)  # silence has been added
        pictured = sum(len(take) for take, has in zip(takes, held, strict=True) if has.video)
        torn = 2 * len(takes) + sum(segment.partial for segment in self.segments)
        expected = Expected(
            duration_ms=to_ms(self.segments[-1].end_ticks),
            tolerance_ms=TOLERANCE_MS,
            packets=_copied(counted, _first(held)),
            slack=_TORN_PACKETS * torn,
            key_frames=pictured,
        )
        return _less(expected, self.left_out)

    def _takes(self) -> list[list[MediaSegment]]:
        return [list(group) for _, group in groupby(self.segments, key=lambda segment: segment.take_id)]

    async def _put_together(self, store: MediaStore, take: Sequence[MediaSegment], file: Path) -> Path:
        for segment in take:
            async with store.local(segment.key) as path:
                await asyncio.to_thread(assembly.concatenate, [path], file)
        return file


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as somebody handed it in, or as it is kept instead of a broadcast's segments."""

    recording: Recording
    original: Asset
    sha256: str
    left_out: Sequence[Stretch] = ()
    """What is not shown of it."""

    @property
    def origin(self) -> str:
        """What it is, and what of it is left out."""
        return self.sha256 + _without(self.left_out)

    async def tracks(self, store: MediaStore) -> Tracks:
        """Its first picture and its first sound."""
        async with store.local(self.original.key) as source:
            return (await probe(source, name="the upload")).tracks

    async def make(self, store: MediaStore, folder: Path, target: Path, report: Report) -> None:  # noqa: ARG002
        """Remux or encode it. Raises `MediaError`, `NotFoundError`."""
        async with store.local(self.original.key) as source:
            found = await probe(source, name="the upload")
            await assembly.make_playable(
                source,
                found.tracks,
                target,
                found.duration_ms,
                lambda done: report(done, "making the file that is played"),
                self.left_out,
            )

    async def expected(self, store: MediaStore, folder: Path) -> Expected:  # noqa: ARG002
        """What the file has to hold. Of a damaged upload nobody can say."""
        tracks = await self.tracks(store)
        async with store.local(self.original.key) as source:
            counted = await packets.count(source)
        damaged = self.recording.damage is not None
        most = max(counted.video or 0, counted.audio or 0)
        expected = Expected(
            duration_ms=self.recording.duration_ms,
            tolerance_ms=self.recording.duration_ms if damaged else UPLOAD_TOLERANCE_MS,
            packets=Reading() if damaged else _copied(counted, tracks),
            slack=_TORN_PACKETS + int(most * _UPLOAD_SLACK),
            key_frames=1 if tracks.video else 0,
        )
        return _less(expected, self.left_out)


Material = Takes | Upload


def _first(held: Sequence[Tracks]) -> Tracks:
    """The first picture and the first sound that there is in any take."""
    video = next((tracks.video for tracks in held if tracks.video), None)
    return Tracks(video, next((tracks.audio for tracks in held if tracks.audio), None))


def _is_mixed(held: Sequence[Tracks]) -> bool:
    """Whether some takes have a picture and some have none."""
    return len({tracks.video is None for tracks in held}) > 1


def _reel(parts: Sequence[Part], wanted: Sequence[bool], begins_ticks: int) -> Reel:
    """Those that are wanted; each lasts until the next of them."""
    found: list[Part] = []
    for part, is_wanted in zip(parts, wanted, strict=True):
        if is_wanted:
            found.append(part)
        elif found:
            found[-1] = replace(found[-1], duration_ticks=found[-1].duration_ticks + part.duration_ticks)
        else:
            begins_ticks += part.duration_ticks
    return Reel(tuple(found), begins_ticks)


def _tracks(segment: Path) -> Tracks:
    return read_times(segment.read_bytes()).tracks


def _without(left_out: Sequence[Stretch]) -> str:
    return "".join(f" -{hole.start_ms}-{hole.end_ms}" for hole in left_out)


def _less(expected: Expected, left_out: Sequence[Stretch]) -> Expected:
    """Of a file with holes: packets are missing, and at its end the holes themselves; it still has to decode."""
    if not left_out:
        return expected
    holes_ms = sum(hole.end_ms - hole.start_ms for hole in left_out)
    return replace(expected, tolerance_ms=expected.tolerance_ms + holes_ms, packets=Reading(), key_frames=1)


def _copied(counted: Reading, tracks: Tracks) -> Reading:
    """Only what is copied has as many packets afterwards. What only some takes have is missing in the file."""
    video = tracks.video in PLAYABLE_VIDEO or tracks.video is None
    audio = tracks.audio in PLAYABLE_AUDIO or tracks.audio is None
    return Reading(counted.video if video else None, counted.audio if audio else None)
