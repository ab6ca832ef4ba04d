"""Recordings as a recorder would have left them, made in one go from a sound file."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import ffmpeg

from streamarchive import ingest, jobs
from streamarchive.catalogue import recordings, streams
from streamarchive.clock import TakeClock, to_ms
from streamarchive.demo.voices import UNHEARD, save_wave
from streamarchive.ingest import Details
from streamarchive.media import commands
from streamarchive.media.segments import read_times
from streamarchive.models import MediaSegment, RecordingId, Stream, Take
from streamarchive.services import Services
from tests.voices import speeches

ENGLISH = (
    "Our team in London has six engineers.",
    "Let us talk about the navigation now.",
    "How safe is the operating system across the country?",
    "I love the wipers although it is too boring.",
    "It took five minutes to design the radio.",
    "Everybody said the red Fiat was expensive.",
    "Do you trust your black wagon?",
)
MANDARIN = ("我觉得用户体验比隐私更有趣。", "未来五年会有更多的电动车吗？")


def speak(file: Path, sentences, pause_ms: int = 600) -> tuple[tuple[int, int], ...]:
    """Into a wave file, in voices the checkpoint has not heard; when each sentence begins and ends."""
    voices = {True: UNHEARD["zh"][0], False: UNHEARD["en"][1]}
    return save_wave(file, speeches([(voices[s > "\u3000"], s) for s in sentences]), pause_ms)


def run_ffmpeg(*arguments: object) -> None:
    """To its end, which has to be a good one."""
    subprocess.run([commands.ffmpeg_path(), "-nostdin", "-v", "error", *map(str, arguments)], check=True)


def split_take(folder: Path, sound: Path, *, starts_s: int = 0, later_s: float = 0.0) -> tuple[Path, Path]:
    """Media segments and spool files of a broadcast of this sound, by the recorder's own command.

    Its time stamps begin at `starts_s`, its sound `later_s` after its picture.
    """
    media, spool = folder / "media", folder / "spool"
    for made in (media, spool):
        made.mkdir(parents=True)
    picture = ["-f", "lavfi", "-i", "testsrc2=s=128x96:r=10:d=60", "-itsoffset", later_s, "-i", sound]
    encode = ["-map", "0:v", "-map", "1:a", "-c:v", "libx264", "-g", "20", "-bf", "2", "-c:a", "aac", "-shortest"]
    run_ffmpeg(*picture, *encode, "-output_ts_offset", starts_s, folder / "whole.ts")
    arguments = commands.record(ffmpeg.input(str(folder / "whole.ts"), copyts=None), spool=spool)
    subprocess.run(
        [commands.ffmpeg_path(), "-nostdin", "-v", "error", *arguments],
        check=True,
        cwd=media,
        capture_output=True,
    )
    return media, spool


@dataclass
class Broadcast:
    """An open recording and the hand of its recorder."""

    services: Services
    stream: Stream
    recording_id: RecordingId | None = None
    takes: list[Take] = field(default_factory=list)
    _sequence: int = 0

    @classmethod
    async def begin(cls, services: Services, languages: tuple[str, ...] = ("en",)) -> Broadcast:
        """A claimed stream; its recording opens with the first take."""
        async with services.database.write() as tx:
            interview_id = await ingest.create_interview(tx, Details({"en": "Live"}, languages))
            stream_id = await streams.create(tx, interview_id, "http://127.0.0.1/live.m3u8")
        stream = await streams.claim(services.database, stream_id, "test", timedelta(hours=1))
        assert stream is not None
        return cls(services, stream)

    async def commit(self, media: Path, files: int | None = None) -> Take:
        """A new take of these media segments (the first `files` of them)."""
        async with self.services.database.write() as tx:
            self.recording_id = await recordings.begin(tx, self.stream, has_video=True)
            take = await recordings.begin_take(tx, self.stream, self.recording_id)
        self.takes.append(take)
        clock = TakeClock(take.base_ticks)
        for index, file in enumerate(sorted(media.iterdir())[:files]):
            times = read_times(file.read_bytes())
            clock, span = clock.place(*times.span(first_of_take=index == 0))
            stored = await self.services.store.adopt(file, f"streams/{self._sequence}-", ".ts")
            segment = MediaSegment(
                self.recording_id,
                take.id,
                self._sequence,
                stored.key,
                stored.size_bytes,
                stored.sha256,
                span.start,
                span.duration,
                clock.latest,
                take.started_at,
            )
            async with self.services.database.write() as tx:
                await recordings.commit_segment(tx, self.stream, segment, clock.origin or 0, has_video=True)
            self._sequence += 1
        return take

    def spool_folder(self, number: int) -> Path:
        """Where the live transcriber looks for a take's sound."""
        folder = self.services.settings.data_dir / "spool" / str(self.recording_id) / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def bases_ms(self) -> list[int]:
        """Where each take begins on the media clock."""
        return [to_ms(take.base_ticks) for take in self.takes]

    async def finish(self) -> RecordingId:
        """Off air; the final pass is queued."""
        assert self.recording_id is not None
        async with self.services.database.write() as tx:
            await recordings.finish(tx, self.stream, self.recording_id)
            await jobs.enqueue(tx, "transcribe", str(self.recording_id), recording_id=self.recording_id)
        return self.recording_id
