"""The words of the project as frozen values.

Media times are integer milliseconds on the recording's media clock (names end in ``_ms``) or, where they
have to add up exactly, 90 kHz ticks (names end in ``_ticks``); see `streamarchive.clock`. Wall-clock times
are `datetime` in UTC.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NewType

InterviewId = NewType("InterviewId", str)
"""Ten characters of Crockford base 32: short enough for an address, too many to guess."""
RecordingId = NewType("RecordingId", int)
TakeId = NewType("TakeId", int)
StreamId = NewType("StreamId", int)
TranscriptId = NewType("TranscriptId", int)
RunId = NewType("RunId", int)
CueId = NewType("CueId", int)
JobId = NewType("JobId", int)
UploadId = NewType("UploadId", int)

_TELLING = 0.02
"""So much of a job has to be done before its pace says anything."""
_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_interview_id() -> InterviewId:
    """Draw an id (50 random bits)."""
    return InterviewId("".join(secrets.choice(_ID_ALPHABET) for _ in range(10)))


class Visibility(StrEnum):
    """Who may see an interview; set by people only."""

    DRAFT = "draft"
    UNLISTED = "unlisted"
    PUBLIC = "public"
    TRASHED = "trashed"


class Stage(StrEnum):
    """Where an interview stands; derived from what happens to it, never set."""

    SCHEDULED = "scheduled"
    LIVE = "live"
    PROCESSING = "processing"
    READY = "ready"


class Role(StrEnum):
    """What a person may do. A viewer needs no account."""

    VIEWER = "viewer"
    EDITOR = "editor"
    PRODUCER = "producer"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may sign in."""

    id: int
    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who speaks; names and affiliations per language (``en``, ``zh``)."""

    id: int
    names: Mapping[str, str]
    affiliations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Event:
    """A conference or series at which interviews are held."""

    id: int
    names: Mapping[str, str]


class Script(StrEnum):
    """How the Chinese of an interview is written, whatever the recogniser writes."""

    SIMPLIFIED = "hans"
    TRADITIONAL = "hant"
    AS_HEARD = "as heard"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a recording, from `start_ms` to before `end_ms` of its media clock."""

    start_ms: int
    end_ms: int

    def meets(self, start_ms: int, end_ms: int) -> bool:
        """Whether the two have anything in common; of what has no length, whether it lies inside."""
        if start_ms == end_ms:
            return self.start_ms < start_ms < self.end_ms
        return self.start_ms < end_ms and start_ms < self.end_ms


@dataclass(frozen=True, slots=True)
class Interview:
    """What a viewer sees."""

    id: InterviewId
    slug: str
    titles: Mapping[str, str]
    descriptions: Mapping[str, str]
    languages: tuple[str, ...]
    visibility: Visibility
    stage: Stage
    held_at: datetime
    event: Event | None
    guests: tuple[Person, ...]
    recording_id: RecordingId | None
    in_ms: int | None
    out_ms: int | None
    created_at: datetime
    updated_at: datetime
    script: Script = Script.SIMPLIFIED
    person_per_channel: bool = False
    """The recording's left and right channel are a person each."""
    withheld: tuple[Stretch, ...] = ()
    """What nobody gets of its recording, by time."""

    @property
    def address(self) -> str:
        """Its path on the site, ``/interviews/{id}-{slug}``."""
        return f"/interviews/{self.id}-{self.slug}" if self.slug else f"/interviews/{self.id}"

    def title(self, locale: str = "en") -> str:
        """The title in this language, else in any."""
        return self.titles.get(locale) or next((t for t in self.titles.values() if t), "") or self.id

    def shows(self, start_ms: int, end_ms: int) -> bool:
        """Whether people get this part of its recording: some of it lies in the cut, none of it is withheld."""
        return self.cuts_in(start_ms, end_ms) and not self.withholds(start_ms, end_ms)

    def withholds(self, start_ms: int, end_ms: int) -> bool:
        """Whether any of this part of its recording is withheld."""
        return any(stretch.meets(start_ms, end_ms) for stretch in self.withheld)

    def cuts_in(self, start_ms: int, end_ms: int) -> bool:
        """Whether any of this part of its recording lies between its in and out point."""
        begins_before_out = self.out_ms is None or start_ms < self.out_ms
        ends_after_in = self.in_ms is None or end_ms > self.in_ms
        return begins_before_out and ends_after_in


class StreamState(StrEnum):
    """What a stream is doing."""

    SCHEDULED = "scheduled"
    RECORDING = "recording"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Stream:
    """A source to record and its schedule. `epoch` fences recorders: it rises with every change of owner."""

    id: StreamId
    interview_id: InterviewId
    url: str = field(repr=False)  # may hold a password
    state: StreamState
    begins_at: datetime
    """When recording begins: a lead-in before `starts_at`."""
    starts_at: datetime
    ends_at: datetime | None
    overruns: bool
    """Whether recording goes on past `ends_at` while the source delivers."""
    stop_requested: bool
    recording_id: RecordingId | None
    owner: str | None
    epoch: int
    lease_until: datetime | None
    last_error: str | None
    exact_host_allowed: bool
    """The person at the command line gave this very address: it may be in a private network."""
    token_sha256: str | None = field(default=None, repr=False)
    """Of the token with which an encoder may send; None for a source that is pulled."""
    offered: bool = False
    """Its recorder is about to stop, and goes on until another one is ready."""
    successor: str | None = None
    """The recorder that is ready: it has the source and waits for the lease."""

    @property
    def is_sent(self) -> bool:
        """Whether an encoder sends it to us."""
        return self.url.startswith("push:") or "mode=listener" in self.url

    def overrun(self, moment: datetime) -> bool:
        """Whether it goes on past its scheduled end."""
        return self.overruns and self.ends_at is not None and moment > self.ends_at


class RecordingState(StrEnum):
    """Whether more media may still come."""

    OPEN = "open"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Recording:
    """Media from one stream or one upload; a reconnect continues it."""

    id: RecordingId
    origin: str
    """``stream`` or ``upload``."""
    state: RecordingState
    started_at: datetime
    ended_at: datetime | None
    duration_ms: int
    has_video: bool
    damage: str | None


@dataclass(frozen=True, slots=True)
class Take:
    """What one ffmpeg process contributed; `base_ticks` is where it begins on the media clock."""

    id: TakeId
    recording_id: RecordingId
    number: int
    epoch: int
    base_ticks: int
    origin_pts: int | None
    """The lowest PTS of any stream in the take; None until its first segment is committed."""
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class MediaSegment:
    """A committed file of some seconds. `start_ticks` counts on the media clock."""

    recording_id: RecordingId
    take_id: TakeId
    sequence: int
    key: str
    size_bytes: int
    sha256: str
    start_ticks: int
    duration_ticks: int
    pts_ticks: int
    arrived_at: datetime
    partial: bool = False

    @property
    def end_ticks(self) -> int:
        """Where the next one begins, unless media is missing."""
        return self.start_ticks + self.duration_ticks


class GapReason(StrEnum):
    """Why media is missing."""

    STALLED = "stalled"
    """The source was there and sent nothing any more."""
    BROKE_OFF = "broke off"
    """The source ended or broke off."""
    REFUSED = "refused"
    """The source answered with an error, or with what is no stream."""
    NETWORK = "network"
    """The source could not be reached."""
    PROCESS_DIED = "process died"
    """The recorder, or its ffmpeg, was killed or crashed."""
    FENCED = "fenced"
    """The recorder did not renew its lease; another one took over."""
    STOPPED = "stopped"
    """The recorder was stopped, for instance for an update."""
    DISK_FULL = "disk full"
    UNKNOWN = "unknown"
    """Written down by a version that did not tell these apart."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing media: a point on the media clock with a wall-clock extent and a reason."""

    recording_id: RecordingId
    at_ms: int
    began_at: datetime
    ended_at: datetime | None
    reason: GapReason
    detail: str
    """What was noticed, in a sentence for the log; may be empty."""


class AssetKind(StrEnum):
    """What a file derived from a recording is."""

    MP4 = "mp4"
    M4A = "m4a"
    POSTER = "poster"
    THUMBNAILS = "thumbnails"
    """Small pictures at equal distances, in one JPEG; see `streamarchive.media.thumbnails`."""
    PEAKS = "peaks"
    """How loud it is when; see `streamarchive.media.waveform`."""
    ORIGINAL = "original"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file of a recording that is not a media segment."""

    recording_id: RecordingId
    kind: AssetKind
    key: str
    size_bytes: int
    media_type: str
    shows: tuple[Stretch, ...] = ()
    """What of the recording can be seen or heard in it, by time."""
    sha256: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What whoever shows it must know besides: how its pictures are laid out, how loud it is."""
    verified: bool = False
    """It was found to hold all that it was made from."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word (for Chinese: one character or what the recogniser calls a word) with its times."""

    text: str
    start_ms: int
    end_ms: int
    probability: float | None = None
    locked: bool = False
    """A person has written it: no machine changes it."""
    estimated: bool = False
    """Its times are reckoned from its neighbours: nobody has measured them."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Somebody speaks from here to there. Turns of several people may overlap."""

    start_ms: int
    end_ms: int
    speaker: str


@dataclass(frozen=True, slots=True)
class CueDraft:
    """A timed line that no table knows yet: what an engine or a caption file yields."""

    start_ms: int
    end_ms: int
    text: str
    lang: str
    words: tuple[Word, ...] = ()
    speaker: str | None = None
    doubt: str | None = None
    """Why this line should be read with care, in a word an editor can read; None where it need not."""


@dataclass(frozen=True, slots=True)
class Cue:
    """One timed line of a transcript. `version` rises with every change that search must learn of."""

    id: CueId
    transcript_id: TranscriptId
    recording_id: RecordingId
    start_ms: int
    end_ms: int
    text: str
    lang: str
    words: tuple[Word, ...]
    speaker: str | None
    doubt: str | None
    revision: int
    version: int
    human: bool
    """A person has changed it: machines keep its times and its speaker and improve only words not locked."""
    read: bool
    """An editor has marked it as read: no machine changes it at all."""
    track: str = ""
    """The language that it is a translation into; empty: as spoken."""


class RunStage(StrEnum):
    """What a machine pass was for."""

    LIVE = "live"
    FINAL = "final"
    TRANSLATION = "translation"
    IMPORTED = "imported"


class UploadState(StrEnum):
    """How far a file that somebody hands in has got."""

    RECEIVING = "receiving"
    RECEIVED = "received"
    """All of it is safe on our disk; a job looks at it."""
    TAKEN = "taken"
    """It is a recording now."""
    REFUSED = "refused"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on its way into the archive."""

    id: UploadId
    interview_id: InterviewId
    user_id: int | None
    file_name: str
    """What its owner calls it; for people to read, never a path."""
    size_bytes: int | None
    """As announced; None if the browser did not say."""
    offset_bytes: int
    """What has arrived."""
    state: UploadState
    error: str | None
    """Why it was refused, in a sentence."""
    recording_id: RecordingId | None
    created_at: datetime
    updated_at: datetime


class JobState(StrEnum):
    """Where a job stands. A parked one has failed as often as it may and waits for a person."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    PARKED = "parked"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work; done at least once, so its handler is idempotent."""

    id: JobId
    kind: str
    key: str
    recording_id: RecordingId | None
    payload: Mapping[str, Any]
    state: JobState
    priority: int
    """Lower comes first."""
    attempt: int
    max_attempts: int
    epoch: int
    """Rises with every claim; a worker whose epoch has passed may no longer write."""
    run_after: datetime
    lease_until: datetime | None
    cancel_requested: bool
    progress: float
    """From 0 to 1."""
    message: str
    last_error: str | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    """When its newest attempt began."""
    started_progress: float = 0.0
    """Where that attempt took over from an earlier one."""

    @property
    def left(self) -> timedelta | None:
        """How much longer it takes at its pace so far; None while nobody can tell."""
        done = self.progress - self.started_progress
        if self.state is not JobState.RUNNING or self.started_at is None or done < _TELLING:
            return None
        return (self.updated_at - self.started_at) * ((1 - self.progress) / done)


@dataclass(frozen=True, slots=True)
class Change:
    """Something that open pages must learn of. Ids rise and are never used twice."""

    id: int
    interview_id: InterviewId | None
    kind: str
    payload: Mapping[str, Any] = field(default_factory=dict)
