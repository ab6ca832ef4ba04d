"""The tables, as SQLAlchemy Core knows them; the migrations create them.

Deleting is `deleted_at`, except for rows that are of use only while they are current (outbox, change,
session).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Moment(TypeDecorator[datetime]):
    """A wall-clock time: UTC with zone in Python, `timestamptz` in PostgreSQL, ISO text in SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse times without a zone: they are bugs."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError(f"a time without a zone reached the database: {value!r}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Put the zone back that SQLite does not keep."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """The value with U+FFFD for what PostgreSQL does not store and UTF-8 cannot say: NUL and lone surrogates.

    They come from damaged caption files, hostile addresses and command lines in another encoding.
    """
    match value:
        case str():
            return _UNSTORABLE.sub("\ufffd", value)
        case dict():
            return {storable(key): storable(item) for key, item in value.items()}
        case list() | tuple():
            return [storable(item) for item in value]
    return value


class _Storable(TypeDecorator[str]):
    """Text of any length that every database can keep."""

    impl: type[TypeEngine[str]] = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else storable(str(value))


class _Short(_Storable):
    """The same up to a length: ids, kinds and states."""

    impl = String
    cache_ok = True


_Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
_Big = BigInteger().with_variant(Integer, "sqlite")


def _ref(target: str, *, nullable: bool = False, index: bool = False, name: str | None = None) -> Column[Any]:
    kind = _Short(16) if target == "interview" else _Big
    return Column(name or f"{target}_id", kind, ForeignKey(f"{target}.id"), nullable=nullable, index=index)


def _when(name: str, *, nullable: bool = False) -> Column[datetime]:
    return Column(name, Moment, nullable=nullable)


def _numbered(name: str, *columns: SchemaItem) -> Table:
    """A table whose integer ids are never used twice: pages and documents remember them."""
    key: Column[int] = Column("id", _Big, primary_key=True, autoincrement=True)
    return Table(name, metadata, key, *columns, sqlite_autoincrement=True)


event = _numbered(
    "event",
    Column("names", _Json, nullable=False),
    _when("starts_at", nullable=True),
    _when("deleted_at", nullable=True),
)

person = _numbered(
    "person",
    Column("names", _Json, nullable=False),
    Column("affiliations", _Json, nullable=False),
    _when("deleted_at", nullable=True),
)

user = _numbered(
    "user",
    Column("name", _Storable, nullable=False, unique=True),
    Column("role", _Short(16), nullable=False),
    Column("password_hash", _Storable, nullable=False),
    _when("created_at"),
    _when("deleted_at", nullable=True),
)

session = Table(
    "session",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    _ref("user", index=True),
    Column("address", _Storable, nullable=False, comment="where it was begun from"),
    _when("created_at"),
    _when("seen_at"),
    _when("expires_at"),
)

audit = _numbered(
    "audit",
    _when("at"),
    _ref("user", nullable=True),
    Column("action", _Storable, nullable=False),
    Column("subject", _Storable, nullable=False),
    Column("details", _Json, nullable=False),
)

Index("ix_audit_action_at", audit.c.action, audit.c.at)

recording = _numbered(
    "recording",
    Column("origin", _Short(16), nullable=False),
    Column("state", _Short(16), nullable=False),
    _when("started_at"),
    _when("ended_at", nullable=True),
    Column("duration_ticks", _Big, nullable=False),
    Column("has_video", Boolean, nullable=False),
    Column("damage", _Storable, nullable=True),
    _when("deleted_at", nullable=True),
)

interview = Table(
    "interview",
    metadata,
    Column("id", _Short(16), primary_key=True),
    Column("slug", _Storable, nullable=False),
    Column("titles", _Json, nullable=False),
    Column("descriptions", _Json, nullable=False),
    Column("languages", _Json, nullable=False),
    Column("visibility", _Short(16), nullable=False),
    _when("held_at"),
    _ref("event", nullable=True, index=True),
    _ref("recording", nullable=True, index=True),
    Column("in_ms", _Big, nullable=True),
    Column("out_ms", _Big, nullable=True),
    Column("version", _Big, nullable=False, comment="rises with every change that search must learn of"),
    _when("created_at"),
    _when("updated_at"),
    _when("deleted_at", nullable=True),
)
Index("ix_interview_visibility_held_at", interview.c.visibility, interview.c.held_at)

interview_guest = Table(
    "interview_guest",
    metadata,
    Column("interview_id", _Short(16), ForeignKey("interview.id"), primary_key=True),
    Column("person_id", _Big, ForeignKey("person.id"), primary_key=True),
    Column("position", Integer, nullable=False),
)

stream = _numbered(
    "stream",
    _ref("interview", index=True),
    _ref("recording", nullable=True, index=True),
    Column("url", _Storable, nullable=False),
    Column("state", _Short(16), nullable=False, index=True),
    _when("begins_at"),
    _when("starts_at"),
    _when("ends_at", nullable=True),
    Column("overruns", Boolean, nullable=False),
    Column("stop_requested", Boolean, nullable=False),
    Column("exact_host_allowed", Boolean, nullable=False),
    Column("owner", _Storable, nullable=True),
    Column("epoch", _Big, nullable=False),
    _when("lease_until", nullable=True),
    Column("offered", Boolean, nullable=False),
    Column("successor", _Storable, nullable=True),
    Column("last_error", _Storable, nullable=True),
    _when("deleted_at", nullable=True),
    Column("token_sha256", _Short(64), nullable=True),
)

take = _numbered(
    "take",
    _ref("recording"),
    Column("number", Integer, nullable=False),
    Column("epoch", _Big, nullable=False),
    Column("base_ticks", _Big, nullable=False),
    Column("origin_pts", _Big, nullable=True),
    _when("started_at"),
    _when("ended_at", nullable=True),
    UniqueConstraint("recording_id", "number"),
)

media_segment = _numbered(
    "media_segment",
    _ref("recording"),
    _ref("take"),
    Column("sequence", Integer, nullable=False),
    Column("key", _Storable, nullable=False),
    Column("size_bytes", _Big, nullable=False),
    Column("sha256", _Short(64), nullable=False),
    Column("start_ticks", _Big, nullable=False),
    Column("duration_ticks", _Big, nullable=False),
    Column("pts_ticks", _Big, nullable=False),
    _when("arrived_at"),
    Column("partial", Boolean, nullable=False),
    _when("deleted_at", nullable=True),
    UniqueConstraint("recording_id", "sequence"),
    UniqueConstraint("take_id", "pts_ticks"),
)

gap = _numbered(
    "gap",
    _ref("recording", index=True),
    Column("at_ticks", _Big, nullable=False),
    _when("began_at"),
    _when("ended_at", nullable=True),
    Column("reason", _Short(16), nullable=False),
    Column("detail", _Storable, nullable=False),
)

asset = _numbered(
    "asset",
    _ref("recording"),
    Column("kind", _Short(16), nullable=False),
    Column("key", _Storable, nullable=False),
    Column("size_bytes", _Big, nullable=False),
    Column("sha256", _Short(64), nullable=False),
    Column("media_type", _Storable, nullable=False),
    Column("made_from", _Storable, nullable=False, comment="what it was made from: same source, same asset"),
    _when("created_at"),
    UniqueConstraint("recording_id", "kind"),
)

upload = _numbered(
    "upload",
    _ref("interview", nullable=True, index=True),
    _ref("user", nullable=True),
    Column("file_name", _Storable, nullable=False),
    Column("size_bytes", _Big, nullable=True),
    Column("offset_bytes", _Big, nullable=False),
    Column("state", _Short(16), nullable=False),
    Column("error", _Storable, nullable=True),
    _ref("recording", nullable=True, index=True),
    _when("created_at"),
    _when("updated_at"),
)

speaker = _numbered(
    "speaker",
    _ref("recording"),
    Column("label", _Storable, nullable=False),
    _ref("person", nullable=True),
    UniqueConstraint("recording_id", "label"),
)

transcript = _numbered(
    "transcript",
    _ref("recording"),
    Column("kind", _Short(16), nullable=False, comment="spoken, or translation"),
    Column("lang", _Short(16), nullable=False, comment="of a translation; empty: as spoken"),
    UniqueConstraint("recording_id", "kind", "lang"),
)

transcript_run = _numbered(
    "transcript_run",
    _ref("transcript", index=True),
    Column("stage", _Short(16), nullable=False),
    Column("engine", _Storable, nullable=False),
    Column("model", _Storable, nullable=False),
    Column("model_identity", _Storable, nullable=False),
    Column("note", _Storable, nullable=False, comment="what readers must know of the model"),
    Column("settings", _Json, nullable=False),
    Column("covered_ms", _Big, nullable=False, comment="how far on the media clock it has got"),
    _when("started_at"),
    _when("finished_at", nullable=True),
)


def _line_columns() -> tuple[Column[Any], ...]:
    return (
        Column("start_ms", _Big, nullable=False),
        Column("end_ms", _Big, nullable=False),
        Column("text", _Storable, nullable=False),
        Column("lang", _Short(16), nullable=False),
        Column("words", _Json, nullable=False),
        Column("speaker", _Storable, nullable=True),
        Column("doubt", _Storable, nullable=True),
    )


# What a machine pass heard; never changed. The cues are what readers get: these lines under the human edits.
run_line = _numbered("run_line", _ref("transcript_run", index=True, name="run_id"), *_line_columns())

cue = _numbered(
    "cue",
    _ref("transcript"),
    _ref("transcript_run", nullable=True, name="run_id"),
    *_line_columns(),
    Column("revision", Integer, nullable=False, comment="rises with every human change; If-Match"),
    Column("version", _Big, nullable=False, comment="rises with every change that search must learn of"),
    Column("human", Boolean, nullable=False),
    Column("read", Boolean, nullable=False),
    _when("created_at"),
    _when("deleted_at", nullable=True),
)
Index("ix_cue_transcript_id_start_ms", cue.c.transcript_id, cue.c.start_ms)

revision = _numbered(
    "revision",
    _ref("transcript", index=True),
    _ref("user", nullable=True),
    Column("kind", _Short(16), nullable=False),
    Column("before", _Json, nullable=False),
    Column("after", _Json, nullable=False),
    _when("at"),
)

# Which cues a revision is about: those it found and those it left.
revision_cue = Table(
    "revision_cue",
    metadata,
    Column("revision_id", _Big, ForeignKey("revision.id"), primary_key=True),
    Column("cue_id", _Big, ForeignKey("cue.id"), primary_key=True, index=True),
)

# Words that a person has taken out: no machine brings them back. A row goes when a person puts its word back.
strike = _numbered(
    "strike",
    _ref("transcript", index=True),
    _ref("revision"),
    Column("text", _Storable, nullable=False),
    Column("start_ms", _Big, nullable=False),
    Column("end_ms", _Big, nullable=False),
)

# Where the newest run is sure of something else than what a person wrote; an editor follows or dismisses it.
suggestion = _numbered(
    "suggestion",
    _ref("transcript", index=True),
    _ref("cue", index=True),
    _ref("transcript_run", name="run_id"),
    Column("start_ms", _Big, nullable=False),
    Column("end_ms", _Big, nullable=False),
    Column("text", _Storable, nullable=False, comment="what the person wrote"),
    Column("heard", _Storable, nullable=False, comment="what the machine hears there"),
    Column("probability", Float, nullable=False),
    _when("dismissed_at", nullable=True),
    _ref("user", nullable=True),
)

# How the live captions of a recording fare, as told by whoever makes them. Of use while it is on air.
captioning = Table(
    "captioning",
    metadata,
    Column("recording_id", _Big, ForeignKey("recording.id"), primary_key=True, autoincrement=False),
    Column("lag_ms", _Big, nullable=False, comment="sound that has come and has not been heard yet"),
    Column("rung", Integer, nullable=False, comment="how much is left out to keep up; 0: nothing"),
    Column("skipped_ms", _Big, nullable=False, comment="sound left to the final pass, all in all"),
    Column("problem", _Storable, nullable=True, comment="why there are no live captions"),
    _when("seen_at"),
)

# Stretches that live captions have left out; the final pass hears them, and then they go.
skip = _numbered(
    "skip",
    _ref("recording", index=True),
    Column("start_ms", _Big, nullable=False),
    Column("end_ms", _Big, nullable=False),
)

glossary_term = _numbered(
    "glossary_term",
    Column("term", _Storable, nullable=False),
    Column("lang", _Short(16), nullable=False),
    Column("means", _Json, nullable=False, comment="the same term in other languages"),
    Column("is_name", Boolean, nullable=False, server_default=false(), comment="of a person, a firm, a product"),
    _when("created_at"),
    _when("deleted_at", nullable=True),
)

job = _numbered(
    "job",
    Column("kind", _Short(32), nullable=False),
    Column("key", _Storable, nullable=False),
    _ref("recording", nullable=True, index=True),
    Column("payload", _Json, nullable=False),
    Column("state", _Short(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("epoch", _Big, nullable=False),
    Column("owner", _Storable, nullable=True),
    _when("run_after"),
    _when("lease_until", nullable=True),
    Column("cancel_requested", Boolean, nullable=False),
    Column("progress", Float, nullable=False),
    Column("message", _Storable, nullable=False),
    Column("last_error", _Storable, nullable=True),
    _when("started_at", nullable=True),
    Column("started_progress", Float, nullable=False),
    _when("created_at"),
    _when("updated_at"),
)
_OPEN = text("state IN ('queued', 'running', 'parked')")
Index("uq_job_open", job.c.kind, job.c.key, unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN)
Index("ix_job_claim", job.c.state, job.c.kind, job.c.priority, job.c.run_after)

worker = Table(
    "worker",
    metadata,
    Column("owner", _Storable, primary_key=True),
    Column("kinds", _Json, nullable=False),
    _when("started_at"),
    _when("seen_at"),
)

outbox = _numbered(
    "outbox",
    Column("subject", _Storable, nullable=False, comment="cue:ID or interview:ID"),
    _when("at"),
)

change = _numbered(
    "change",
    _when("at"),
    Column("interview_id", _Short(16), nullable=True),
    Column("kind", _Short(32), nullable=False),
    Column("payload", _Json, nullable=False),
)

# A query that somebody has watched: they hear of it when it is spoken.
saved_search = _numbered(
    "saved_search",
    _ref("user", index=True),
    Column("query", _Storable, nullable=False, comment="as typed"),
    Column("webhook_url", _Storable, nullable=True),
    Column("secret", _Storable, nullable=False, comment="what the webhook's calls are signed with"),
    _when("created_at"),
    _when("deleted_at", nullable=True),
)

# Cues that saved searches have not been compared with yet.
new_cue = _numbered(
    "new_cue",
    _ref("cue"),
    _when("at"),
)

saved_search_hit = _numbered(
    "saved_search_hit",
    _ref("saved_search"),
    _ref("cue"),
    _ref("interview"),
    _ref("recording", index=True),
    Column("start_ms", _Big, nullable=False),
    Column("end_ms", _Big, nullable=False),
    _when("at"),
    _when("sent_at", nullable=True),
    _when("seen_at", nullable=True),
    UniqueConstraint("saved_search_id", "cue_id"),
)
