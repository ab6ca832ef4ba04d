"""Interfaces with two real implementations each: search index, transcriber, media store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from streamarchive.models import InterviewId, Turn, Word

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]


# --- search ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CueDocument:
    """One cue as the index knows it. `id` is deterministic; of two writes the higher `version` wins.

    `following` is how the next cue begins, so that a phrase across the border is found in the cue it starts
    in; `version` rises with every change of it, too.
    """

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
    following: str = ""


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
    """One phrase that has to occur: the words of a query are clauses of one word, quoted ones longer.

    A quoted clause is meant as it is written; another one is also met by other forms of its word.
    `alternatives` are other wordings that meet the clause as well, such as its glossary pair.
    """

    text: str
    negated: bool = False
    quoted: bool = False
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query; see `streamarchive.search.query`.

    An index reads `clauses`, `langs`, `speakers` and `interviews` (none named: any). `events`, `years`,
    `after` and `before` are for `streamarchive.search.finding`, which knows the interviews they mean.
    """

    text: str
    clauses: tuple[Clause, ...]
    langs: tuple[str, ...] = ()
    speakers: tuple[str, ...] = ()
    interviews: tuple[InterviewId, ...] = ()
    events: tuple[str, ...] = ()
    years: tuple[int, ...] = ()
    after: date | None = None
    """Held on this day or later."""
    before: date | None = None
    """Held before this day."""
    ignored: tuple[str, ...] = ()
    """Parts that could not be understood, for the page to say so."""


class Sort(StrEnum):
    """The order of an answer; interviews of the same day are told apart by their ids."""

    RELEVANCE = "relevance"
    """All clauses in one cue or across its border, within half a minute, scattered; then the newest."""
    NEWEST = "newest"
    """What was said last first."""
    OLDEST = "oldest"
    """What was said first first."""
    POSITION = "position"
    """The newest interview first, its moments as they were said."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A moment. `spans` are (start, end) character offsets into `text` as shown.

    `crosses_border`: a phrase of the query begins in this cue and ends in the next.
    """

    document_id: str
    interview_id: InterviewId
    version: int
    start_ms: int
    end_ms: int
    text: str
    lang: str
    speaker: str | None
    doubtful: bool
    spans: tuple[tuple[int, int], ...]
    crosses_border: bool = False


@dataclass(frozen=True, slots=True)
class Total:
    """How many there are; at least so many where `exact` is false."""

    value: int
    exact: bool = True


@dataclass(frozen=True, slots=True)
class InterviewHits:
    """An interview that meets the query, with its best moments, best first (none: only its title met it)."""

    interview_id: InterviewId
    total: int
    moments: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """Interviews that meet a query. `total` counts moments, `total_interviews` interviews.

    `next_cursor` asks for what comes after; empty at the end.
    """

    total: Total
    total_interviews: Total
    interviews: tuple[InterviewHits, ...]
    next_cursor: str = ""
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments that meet a query, whatever interview they are in."""

    total: Total
    hits: tuple[Hit, ...]
    next_cursor: str = ""
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Facets:
    """How many moments of the answer each language, speaker and interview has; most first, then by name."""

    langs: Mapping[str, int]
    speakers: Mapping[str, int]
    interviews: Mapping[InterviewId, int]
    exact: bool = True
    """False where there are too many moments to count them all: the newest have been counted."""
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Portion:
    """Some of the operations that an index is built from.

    `checkpoint` rises from one to the next: given to the source, it yields what comes after this portion.
    """

    operations: Sequence[Operation]
    checkpoint: int


Source = Callable[[int], AsyncIterator[Portion]]
"""What an index is built from: the portions after a checkpoint, 0 for all of them."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A document that an index has, or of which it knows that it is `gone`."""

    id: str
    version: int
    gone: bool = False


@dataclass(frozen=True, slots=True)
class SearchHealth:
    """Whether the index answers, in a sentence for `doctor` and the admin page."""

    ok: bool
    sentence: str
    documents: int = 0
    analyzer_current: bool = True


@dataclass(frozen=True, slots=True)
class SearchFinding:
    """One thing that `doctor` has looked at, and what to know or do about it."""

    subject: str
    ok: bool
    sentence: str


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
        sort: Sort = Sort.RELEVANCE,
        cursor: str = "",
        limit: int = 20,
        moments: int = 3,
    ) -> Results:
        """Interviews in which every clause is met, without the `hidden` ones, each with its best moments.

        `cursor` is the `next_cursor` of an earlier answer to the same question: what comes after is neither
        repeated nor skipped while new cues arrive. One that makes no sense asks for the beginning.
        """

    async def moments(
        self,
        query: Query,
        *,
        hidden: Collection[InterviewId] = (),
        sort: Sort = Sort.RELEVANCE,
        cursor: str = "",
        limit: int = 20,
    ) -> Moments:
        """The moments of the interviews that `search` finds, one by one."""

    async def facets(self, query: Query, *, hidden: Collection[InterviewId] = ()) -> Facets:
        """The moments that `moments` finds, counted."""

    async def similar(self, word: str, limit: int = 5) -> tuple[str, ...]:
        """Indexed Latin words that differ from this one by a letter or two, the likeliest first."""

    async def rebuild(self, source: Source, *, afresh: bool = False) -> int:
        """Fill a new index beside the old one and swap; the number of documents written.

        Searches are answered by the old index until the swap, and what other processes `write` meanwhile is
        in the new one too. After an exception, or the end of the process, the old index answers as before and
        the next rebuild goes on where this one stopped: `source` is asked for what comes after that. It begins
        at the beginning if `afresh`, or if the half-built index is of another version.
        """

    async def stored(self, ids: Collection[str]) -> dict[str, Stored]:
        """What the index has of these documents; those that it does not know are not in the answer."""

    async def damage(self) -> str:
        """What is wrong with the index in itself, whatever it holds, in a sentence; empty if nothing is."""

    def documents(self) -> AsyncIterator[Sequence[Stored]]:
        """Every document there is at the moment, in pages, in no order; none of those that are gone."""

    async def health(self) -> SearchHealth:
        """Look, do not raise."""

    async def examine(self) -> Sequence[SearchFinding]:
        """Look at everything that an operator has to set up; do not raise."""

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
class Expectation:
    """What a recogniser is told of a language before it listens, as far as it fits."""

    opening: str = ""
    """A sentence in the script and with the punctuation that its own are to have."""
    words: tuple[str, ...] = ()
    """Names and terms that may be said, the most important first."""


@dataclass(frozen=True, slots=True)
class TranscribeOptions:
    """How to decode. `temperatures` are tried in turn until a result passes the guards."""

    beam_size: int = 5
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    words: bool = True
    task: str = "transcribe"
    urgent: bool = False
    """Somebody is watching it live: goes before windows that are not urgent."""
    expected: Mapping[str, Expectation] = field(default_factory=dict)
    """By language; of no effect on a model without the capability ``prompts``."""


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
    prompted: tuple[str, ...] = ()
    """The words of `TranscribeOptions.expected` that the model was told: it may repeat them unheard."""


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
    """Of ``words``, ``translate``, ``batch``, ``prompts``."""
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


class Diarizer(Protocol):
    """Says who speaks when, as far as it can be told without knowing anybody."""

    channels: int
    """How many it listens to: 2 get samples of the shape (n, 2)."""

    async def check(self) -> None:
        """Raise `ModelUnavailableError`, one sentence, if it cannot."""

    async def turns(self, sound: AsyncIterator[Samples]) -> list[Turn]:
        """By time; sample 0 is at 0 ms, at 16 kHz. Raises `TranscriptionError`."""


# --- media store ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A file the store holds."""

    key: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ListedObject:
    """A file as a store lists it."""

    key: str
    size_bytes: int
    changed_at: datetime
    """When it came into the store, or later."""


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

    def listing(self, folder: str = "") -> AsyncIterator[Sequence[ListedObject]]:
        """Every file below a folder (``recordings/7/``; all there are without one), page by page, in no order.

        One that comes or goes meanwhile may be in it or not.
        """

    async def delete(self, key: str) -> None:
        """Forget it; no error if it is gone."""

    async def free_fraction(self) -> float | None:
        """How much is free of the disk that media lie on, or wait on to be sent, 0 to 1; None: nobody knows."""

    async def close(self) -> None:
        """Release connections."""
