"""Interfaces with two real implementations each: search index, transcriber, media store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from streamarchive.models import InterviewId, Word

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]


# --- search ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CueDocument:
    """One cue as the index knows it. `id` is deterministic; of two writes the higher `version` wins."""

    id: str
    version: int
    interview_id: InterviewId
    start_ms: int
    end_ms: int
    text: str
    lang: str
    speaker: str | None
    doubtful: bool
    held_at: datetime


@dataclass(frozen=True, slots=True)
class InterviewDocument:
    """The words an interview is known by: titles, guests in every spelling, event, description."""

    id: str
    version: int
    interview_id: InterviewId
    text: str
    held_at: datetime


@dataclass(frozen=True, slots=True)
class Tombstone:
    """This document is gone since `version`; a late write of an older version must not bring it back."""

    id: str
    version: int


Operation = CueDocument | InterviewDocument | Tombstone


@dataclass(frozen=True, slots=True)
class Clause:
    """One phrase that has to occur: the words of a query are clauses of one word, quoted ones longer."""

    text: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query; see `streamarchive.search.query`."""

    text: str
    clauses: tuple[Clause, ...]
    langs: tuple[str, ...] = ()
    speakers: tuple[str, ...] = ()
    interviews: tuple[InterviewId, ...] = ()
    ignored: tuple[str, ...] = ()
    """Parts that could not be understood, for the page to say so."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A moment. `spans` are (start, end) character offsets into `text` as shown."""

    document_id: str
    interview_id: InterviewId
    version: int
    start_ms: int
    end_ms: int
    text: str
    lang: str
    speaker: str | None
    spans: tuple[tuple[int, int], ...]
    score: float


@dataclass(frozen=True, slots=True)
class InterviewHits:
    """An interview that meets the query, with its best moments, best first (none: only its title met it)."""

    interview_id: InterviewId
    total: int
    moments: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """What an index answers. `total` counts moments; `interviews` is ordered, best first."""

    total: int
    total_interviews: int
    interviews: tuple[InterviewHits, ...]
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class SearchHealth:
    """Whether the index answers, in a sentence for `doctor` and the admin page."""

    ok: bool
    sentence: str
    documents: int = 0
    analyzer_current: bool = True


class SearchIndex(Protocol):
    """A disposable index over cues and interviews; the catalogue is the truth.

    Every method raises `SearchUnavailableError` when the index cannot be reached.
    """

    async def prepare(self) -> None:
        """Create the index if there is none. Idempotent; several processes may do it at once."""

    async def write(self, operations: Sequence[Operation]) -> None:
        """Apply in any order; durable and visible to `search` within a second once this returns."""

    async def search(
        self,
        query: Query,
        *,
        hidden: Collection[InterviewId] = (),
        offset: int = 0,
        limit: int = 20,
        moments: int = 3,
    ) -> Results:
        """Interviews in which every clause is met, without the `hidden` ones."""

    async def rebuild(self, batches: AsyncIterator[Sequence[Operation]]) -> int:
        """Fill a new index beside the old one and swap; the number of documents written.

        Searches are answered by the old index until the swap, and what other processes `write` meanwhile is
        in the new one too. An exception leaves the old index as it was.
        """

    async def health(self) -> SearchHealth:
        """Look, do not raise."""

    async def close(self) -> None:
        """Release connections."""


# --- transcription --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Window:
    """At most 30 s of 16 kHz mono samples in [-1, 1] that begin at `start_ms` of the media clock."""

    samples: Samples
    start_ms: int
    languages: tuple[str, ...] = ()
    """The languages it may be in; empty: any the model knows."""
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class TranscribeOptions:
    """How to decode. `temperatures` are tried in turn until a result passes the guards."""

    beam_size: int = 5
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    words: bool = True
    task: str = "transcribe"
    urgent: bool = False
    """Somebody is watching it live: goes before windows that are not urgent."""


@dataclass(frozen=True, slots=True)
class Line:
    """A timed line of a window, on the media clock."""

    start_ms: int
    end_ms: int
    text: str
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class WindowResult:
    """What the engine heard in one window."""

    lines: tuple[Line, ...]
    language: str
    language_probability: float
    no_speech_probability: float
    average_logprob: float
    compression_ratio: float
    temperature: float


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model answers: `identity` changes when its weights do."""

    name: str
    identity: str
    device: str
    languages: tuple[str, ...]
    """Codes it can be told to expect; ("en",) for an English-only model."""
    note: str = ""
    """What its users must know, e.g. that it is a demo recogniser; empty for ordinary models."""
    capabilities: frozenset[str] = field(default_factory=frozenset)
    """Of ``words``, ``translate``, ``batch``."""
    batch_size: int = 1
    """How many windows it likes to get at once."""


class Transcriber(Protocol):
    """Turns windows into text, in a process of its own."""

    async def load(self) -> ModelInfo:
        """Load the model if it is not loaded. Raises `ModelUnavailableError`, `EngineDiedError`."""

    def transcribe(self, windows: Sequence[Window], options: TranscribeOptions) -> AsyncIterator[WindowResult]:
        """Results in the order of the windows. Cancelling the task that waits for one ends it within 2 s."""

    async def voice(self, samples: Samples, state: bytes = b"") -> tuple[tuple[float, ...], bytes]:
        """How likely each 512 samples are speech, and what to give as `state` with those that follow."""

    async def rehearse(self, *, beam_size: int, windows: int) -> float:
        """Seconds that so many full windows of speech take when they are decoded together."""

    async def close(self) -> None:
        """End the process."""


# --- media store ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A file the store holds."""

    key: str
    size_bytes: int
    sha256: str


class MediaStore(Protocol):
    """Keeps media under immutable keys. Nothing outside it knows a path.

    Every method raises `StorageError` with a sentence that says what to do.
    """

    async def adopt(self, file: Path, prefix: str, suffix: str) -> StoredObject:
        """Take over a finished local file; durable on return. The key is `prefix` + hash + `suffix`."""

    async def size(self, key: str) -> int | None:
        """Its length in bytes; None if there is none."""

    def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` to before `end`."""

    def local(self, key: str) -> AbstractAsyncContextManager[Path]:
        """A local file with these bytes, for ffmpeg; do not change or keep it."""

    async def delete(self, key: str) -> None:
        """Forget it; no error if it is gone."""

    async def free_fraction(self) -> float | None:
        """How much of the disk is free, 0 to 1; None where that has no meaning."""

    async def close(self) -> None:
        """Release connections."""
