"""A small archive as recorders and transcribers would have left it, with real media, for tests of the site."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web as http

from streamarchive.catalogue import assets, interviews, recordings, streams, transcripts
from streamarchive.clock import to_ticks
from streamarchive.media.segments import read_times
from streamarchive.media.thumbnails import plan
from streamarchive.models import (
    AssetKind,
    CueDraft,
    GapReason,
    Interview,
    InterviewId,
    MediaSegment,
    RecordingId,
    RunStage,
    Stream,
    Take,
    Visibility,
    Word,
)
from streamarchive.services import Services, open_services
from streamarchive.settings import Settings
from web.app import create_app
from web.keys import SUGGESTER
from web.suggestions import Suggester
from workers.indexer import drain

SEGMENT_MS = 2_000
LENGTH_MS = 30_000
BAR_STEP = 7
"""Levels of brightness a second."""
LEASE = timedelta(hours=1)


@dataclass(frozen=True)
class Media:
    """Real files: thirty seconds of a test picture that counts seconds, with a tone."""

    mp4: Path
    m4a: Path
    poster: Path
    segments: tuple[Path, ...]


def make_media(ffmpeg: Path, folder: Path) -> Media:
    """Encode once, remux for the rest."""
    call = [str(ffmpeg), "-v", "error", "-y"]
    ts = folder / "whole.ts"
    picture = "testsrc=size=640x360:rate=25[p]"
    # A bar whose brightness is the time, so that a browser test can read it off the picture.
    bar = f"color=black:size=16x16:rate=25,geq=lum='16+{BAR_STEP}*T':cb=128:cr=128,scale=640:96[b]"
    whole = f"{picture};{bar};[p][b]overlay=y=264[v]"
    encode = ["-filter_complex", whole, "-f", "lavfi", "-i", "sine=frequency=330", "-map", "[v]", "-map", "0:a"]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "50", "-pix_fmt", "yuv420p", "-c:a", "aac"]
    subprocess.run([*call, *encode, *codecs, "-t", str(LENGTH_MS // 1000), ts], check=True)
    subprocess.run([*call, "-i", ts, "-c", "copy", "-movflags", "+faststart", folder / "whole.mp4"], check=True)
    subprocess.run([*call, "-i", ts, "-vn", "-c", "copy", folder / "whole.m4a"], check=True)
    subprocess.run([*call, "-ss", "3", "-i", ts, "-frames:v", "1", folder / "poster.jpg"], check=True)
    cut = ["-f", "segment", "-segment_time", str(SEGMENT_MS / 1000), folder / "part%03d.ts"]
    subprocess.run([*call, "-i", ts, "-c", "copy", *cut], check=True)
    parts = tuple(sorted(folder.glob("part*.ts")))
    return Media(folder / "whole.mp4", folder / "whole.m4a", folder / "poster.jpg", parts)


def draft(start_ms: int, text: str, lang: str = "en", speaker: str | None = None, **more: object) -> CueDraft:
    """A line of four seconds."""
    return CueDraft(
        start_ms, start_ms + 3_800, text, lang, (Word(text, start_ms, start_ms + 3_800, 0.9),), speaker, **more
    )


TALK = (
    draft(0, "Welcome back to the show floor in Beijing.", speaker="Host"),
    draft(4_000, "The smart cockpit listens before it answers.", speaker="Guest"),
    draft(8_000, "我们的智能座舱可以理解两种语言。", "zh", speaker="Guest"),
    draft(12_000, "Battery prices have fallen again this year.", speaker="Guest"),
    draft(16_000, "So who writes the software <today> & tomorrow?", speaker="Host"),
    draft(20_000, "A very small team of careful people.", speaker="Guest", doubt="unsure"),
    draft(24_000, "Thank you for this conversation.", speaker="Host"),
)


@dataclass
class Broadcast:
    """An interview on air, to which a test adds segments and lines."""

    site: Site
    interview_id: InterviewId
    stream: Stream
    recording_id: RecordingId
    take: Take
    sequence: int = 0
    picture: int = 0
    """Which file of the test media comes next; set to 0, time stamps begin anew as after a restart."""
    run: transcripts.Run | None = None
    interrupted: bool = False

    async def add_segments(self, count: int, *, joined: bool = False) -> None:
        """The next segments of the test media, as if they had just been recorded."""
        for _ in range(count):
            file = self.site.media.segments[self.picture % len(self.site.media.segments)]
            stored = await self.site.keep(file, "segments", ".ts")
            start = to_ticks(self.sequence * SEGMENT_MS)
            segment = MediaSegment(
                recording_id=self.recording_id,
                take_id=self.take.id,
                sequence=self.sequence,
                key=stored.key,
                size_bytes=stored.size_bytes,
                sha256=stored.sha256,
                start_ticks=start,
                duration_ticks=to_ticks(SEGMENT_MS),
                pts_ticks=read_times(file.read_bytes()).first_pts,
                arrived_at=datetime.now(UTC),
            )
            async with self.site.services.database.write() as tx:
                await recordings.commit_segment(
                    tx, self.stream, segment, 0, has_video=True, first=self.interrupted, joined=joined
                )
            self.interrupted = False
            self.sequence += 1
            self.picture += 1

    async def interrupt(self) -> None:
        """Something goes missing here; what is recorded next belongs to another take."""
        async with self.site.services.database.write() as tx:
            await recordings.open_gap(tx, self.stream, self.recording_id, GapReason.STOPPED)
            self.take = await recordings.begin_take(tx, self.stream, self.recording_id)
        self.interrupted = True

    async def say(self, *lines: CueDraft) -> None:
        """The live transcriber has heard this."""
        async with self.site.services.database.write() as tx:
            if self.run is None:
                self.run = await transcripts.begin_run(
                    tx, self.recording_id, RunStage.LIVE, engine="test", model="test", model_identity="1"
                )
            await transcripts.append(tx, self.run, lines, lines[-1].end_ms)
        await drain(self.site.services)

    async def end(self) -> None:
        """The broadcast is over."""
        async with self.site.services.database.write() as tx:
            await recordings.finish(tx, self.stream, self.recording_id)


@dataclass
class Site:
    """Puts interviews in; `url` is where the site answers."""

    services: Services
    media: Media
    scratch: Path
    app: http.Application
    url: str

    @property
    def suggester(self) -> Suggester:
        """What its search box suggests from."""
        return self.app[SUGGESTER]

    async def keep(self, file: Path, prefix: str, suffix: str):
        copy = self.scratch / f"copy{suffix}"
        shutil.copy(file, copy)
        return await self.services.store.adopt(copy, prefix, suffix)

    async def interview(self, interview_id: InterviewId) -> Interview:
        """As the catalogue knows it now."""
        async with self.services.database.read() as connection:
            return await interviews.get(connection, interview_id)

    async def show(self, interview_id: InterviewId, visibility: Visibility) -> None:
        """Show or hide it."""
        async with self.services.database.write() as tx:
            await interviews.set_visibility(tx, interview_id, visibility)

    async def create(
        self, titles: dict[str, str], visibility: Visibility = Visibility.PUBLIC, **more: object
    ) -> InterviewId:
        """An interview without media."""
        async with self.services.database.write() as tx:
            return await interviews.create(tx, titles=titles, visibility=visibility, **more)

    async def ready(
        self,
        titles: dict[str, str],
        lines: Sequence[CueDraft] = TALK,
        *,
        visibility: Visibility = Visibility.PUBLIC,
        audio_only: bool = False,
        note: str = "",
        **more: object,
    ) -> InterviewId:
        """A finished one: file, poster, transcript, searchable."""
        interview_id = await self.create(titles, visibility, **more)
        async with self.services.database.write() as tx:
            recording_id = await recordings.create_uploaded(
                tx, interview_id, duration_ms=LENGTH_MS, has_video=not audio_only, damage=None
            )
        if audio_only:
            await self.put_asset(recording_id, AssetKind.M4A)
        else:
            await self.put_asset(recording_id, AssetKind.MP4)
            await self.put_asset(recording_id, AssetKind.POSTER)
        await self.transcribe(recording_id, lines, note)
        return interview_id

    async def put_asset(self, recording_id: RecordingId, kind: AssetKind) -> None:
        """A file made from the recording."""
        file, suffix, media_type = {
            AssetKind.MP4: (self.media.mp4, ".mp4", "video/mp4"),
            AssetKind.M4A: (self.media.m4a, ".m4a", "audio/mp4"),
            AssetKind.POSTER: (self.media.poster, ".jpg", "image/jpeg"),
            AssetKind.THUMBNAILS: (self.media.poster, ".jpg", "image/jpeg"),
            AssetKind.PEAKS: (self.media.poster, ".dat", "application/octet-stream"),
            AssetKind.ORIGINAL: (self.media.mp4, ".mp4", "video/mp4"),
        }[kind]
        details = plan(LENGTH_MS, 640, 360).details() if kind is AssetKind.THUMBNAILS else {}
        stored = await self.keep(file, "assets", suffix)
        async with self.services.database.write() as tx:
            await assets.put(tx, recording_id, kind, stored, media_type, "test", details=details)

    async def transcribe(self, recording_id: RecordingId, lines: Sequence[CueDraft], note: str = "") -> None:
        """A final pass that heard these lines."""
        async with self.services.database.write() as tx:
            run = await transcripts.begin_run(
                tx, recording_id, RunStage.FINAL, engine="test", model="test", model_identity="1", note=note
            )
            await transcripts.append(tx, run, lines, LENGTH_MS)
            await transcripts.adopt(tx, run)
        await drain(self.services)

    async def translate(self, interview_id: InterviewId, lines: Sequence[CueDraft]) -> None:
        """A pass into English that heard these lines."""
        recording_id = (await self.interview(interview_id)).recording_id
        assert recording_id is not None
        async with self.services.database.write() as tx:
            run = await transcripts.begin_run(
                tx,
                recording_id,
                RunStage.TRANSLATION,
                engine="test",
                model="test",
                model_identity="1",
                track="en",
            )
            await transcripts.append(tx, run, lines, LENGTH_MS)
            await transcripts.adopt(tx, run)
        await drain(self.services)

    async def go_live(
        self, titles: dict[str, str], visibility: Visibility = Visibility.PUBLIC, **more: object
    ) -> Broadcast:
        """An interview on air, with nothing recorded yet."""
        return await self.begin(await self.create(titles, visibility, **more))

    async def begin(self, interview_id: InterviewId) -> Broadcast:
        """Put an interview on air that was scheduled."""
        database = self.services.database
        async with database.write() as tx:
            stream_id = await streams.create(tx, interview_id, "http://stream.example/live.m3u8")
        stream = await streams.claim(database, stream_id, "test", LEASE)
        assert stream is not None
        async with database.write() as tx:
            recording_id = await recordings.begin(tx, stream, has_video=True)
            take = await recordings.begin_take(tx, stream, recording_id)
        return Broadcast(self, interview_id, stream, recording_id, take)


@asynccontextmanager
async def open_site(
    folder: Path, media: Media, *, search: str = "", database: str = "", store: str = ""
) -> AsyncIterator[Site]:
    """A running site over an empty archive."""
    settings = Settings(
        data_dir=folder / "archive",
        base_url="http://archive.example",
        search=search,
        database=database,
        media=store,
    )
    scratch = folder / "scratch"
    scratch.mkdir()
    async with open_services(settings) as services:
        if not search:
            await services.search.prepare()
        app = create_app(services)
        runner = http.AppRunner(app, handle_signals=False, access_log=None)
        await runner.setup()
        try:
            listener = http.TCPSite(runner, "127.0.0.1", 0)
            await listener.start()
            host, port = runner.addresses[0][:2]
            yield Site(services, media, scratch, app, f"http://{host}:{port}")
        finally:
            await runner.cleanup()
