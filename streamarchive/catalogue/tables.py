"""The tables, as SQLAlchemy Core knows them; the migrations create them.

Deleting is `deleted_at`, except for rows that are of use only while they are current (outbox, change,
session).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.schema import SchemaItem

from streamarchive.catalogue.columns import Big, Json, Moment, Short, Storable

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _ref(target: str, *, nullable: bool = False, index: bool = False, name: str | None = None) -> Column[Any]:
    kind = Short(16) if target == "interview" else Big
    return Column(name or f"{target}_id", kind, ForeignKey(f"{target}.id"), nullable=nullable, index=index)


def _when(name: str, *, nullable: bool = False) -> Column[datetime]:
    return Column(name, Moment, nullable=nullable)


def _numbered(name: str, *columns: SchemaItem) -> Table:
    """A table whose integer ids are never used twice: pages and documents remember them."""
    key: Column[int] = Column("id", Big, primary_key=True, autoincrement=True)
    return Table(name, metadata, key, *columns, sqlite_autoincrement=True)


event = _numbered(
    "event",
    Column("names", Json, nullable=False),
    _when("starts_at", nullable=True),
    _when("deleted_at", nullable=True),
)

person = _numbered(
    "person",
    Column("names", Json, nullable=False),
    Column("affiliations", Json, nullable=False),
    _when("deleted_at", nullable=True),
)

user = _numbered(
    "user",
    Column("name", Storable, nullable=False, unique=True),
    Column("role", Short(16), nullable=False),
    Column("password_hash", Storable, nullable=False),
    _when("created_at"),
    _when("deleted_at", nullable=True),
)

session = Table(
    "session",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    _ref("user", index=True),
    Column("address", Storable, nullable=False, comment="where it was begun from"),
    _when("created_at"),
    _when("seen_at"),
    _when("expires_at"),
)

audit = _numbered(
    "audit",
    _when("at"),
    _ref("user", nullable=True),
    Column("action", Storable, nullable=False),
    Column("subject", Storable, nullable=False),
    Column("details", Json, nullable=False),
)

Index("ix_audit_action_at", audit.c.action, audit.c.at)

recording = _numbered(
    "recording",
    Column("origin", Short(16), nullable=False),
    Column("state", Short(16), nullable=False),
    _when("started_at"),
    _when("ended_at", nullable=True),
    Column("duration_ticks", Big, nullable=False),
    Column("has_video", Boolean, nullable=False),
    Column("damage", Storable, nullable=True),
    _when("deleted_at", nullable=True),
    Column(
        "segment_changes",
        Big,
        nullable=False,
        server_default="0",
        comment="how often media segments were deleted or replaced",
    ),
)

interview = Table(
    "interview",
    metadata,
    Column("id", Short(16), primary_key=True),
    Column("slug", Storable, nullable=False),
    Column("titles", Json, nullable=False),
    Column("descriptions", Json, nullable=False),
    Column("languages", Json, nullable=False),
    Column("visibility", Short(16), nullable=False),
    _when("held_at"),
    _ref("event", nullable=True, index=True),
    _ref("recording", nullable=True, index=True),
    Column("in_ms", Big, nullable=True),
    Column("out_ms", Big, nullable=True),
    Column("version", Big, nullable=False, comment="rises with every change that search must learn of"),
    Column(
        "script",
        Short(16),
        nullable=False,
        server_default="hans",
        comment="of its Chinese: hans, hant, or as heard",
    ),
    Column(
        "person_per_channel",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="left and right are two people",
    ),
    _when("created_at"),
    _when("updated_at"),
    _when("deleted_at", nullable=True),
)
Index("ix_interview_visibility_held_at", interview.c.visibility, interview.c.held_at)

interview_guest = Table(
    "interview_guest",
    metadata,
    Column("interview_id", Short(16), ForeignKey("interview.id"), primary_key=True),
    Column("person_id", Big, ForeignKey("person.id"), primary_key=True),
    Column("position", Integer, nullable=False),
)

stream = _numbered(
    "stream",
    _ref("interview", index=True),
    _ref("recording", nullable=True, index=True),
    Column("url", Storable, nullable=False),
    Column("state", Short(16), nullable=False, index=True),
    _when("begins_at"),
    _when("starts_at"),
    _when("ends_at", nullable=True),
    Column("overruns", Boolean, nullable=False),
    Column("stop_requested", Boolean, nullable=False),
    Column("exact_host_allowed", Boolean, nullable=False),
    Column("owner", Storable, nullable=True),
    Column("epoch", Big, nullable=False),
    _when("lease_until", nullable=True),
    Column("offered", Boolean, nullable=False),
    Column("successor", Storable, nullable=True),
    Column("last_error", Storable, nullable=True),
    _when("deleted_at", nullable=True),
    Column("token_sha256", Short(64), nullable=True),
)

take = _numbered(
    "take",
    _ref("recording"),
    Column("number", Integer, nullable=False),
    Column("epoch", Big, nullable=False),
    Column("base_ticks", Big, nullable=False),
    Column("origin_pts", Big, nullable=True),
    _when("started_at"),
    _when("ended_at", nullable=True),
    UniqueConstraint("recording_id", "number"),
)

media_segment = _numbered(
    "media_segment",
    _ref("recording"),
    _ref("take"),
    Column("sequence", Integer, nullable=False),
    Column("key", Storable, nullable=False, index=True),
    Column("size_bytes", Big, nullable=False),
    Column("sha256", Short(64), nullable=False),
    Column("start_ticks", Big, nullable=False),
    Column("duration_ticks", Big, nullable=False),
    Column("pts_ticks", Big, nullable=False),
    _when("arrived_at"),
    Column("partial", Boolean, nullable=False),
    _when("deleted_at", nullable=True),
    UniqueConstraint("recording_id", "sequence"),
    UniqueConstraint("take_id", "pts_ticks"),
)

gap = _numbered(
    "gap",
    _ref("recording", index=True),
    Column("at_ticks", Big, nullable=False),
    _when("began_at"),
    _when("ended_at", nullable=True),
    Column("reason", Short(16), nullable=False),
    Column("detail", Storable, nullable=False),
)

asset = _numbered(
    "asset",
    _ref("recording"),
    Column("kind", Short(16), nullable=False),
    Column("key", Storable, nullable=False, index=True),
    Column("size_bytes", Big, nullable=False),
    Column("sha256", Short(64), nullable=False),
    Column("media_type", Storable, nullable=False),
    Column("made_from", Storable, nullable=False, comment="what it was made from: same source, same asset"),
    _when("created_at"),
    Column("details", Json, nullable=True, comment="what whoever shows it must know besides"),
    _when("verified_at", nullable=True),
    Column("shows", Json, nullable=False, server_default="[]", comment="[start_ms, end_ms] of the media clock"),
    UniqueConstraint("recording_id", "kind"),
)

# What nobody gets of a recording until it is lifted; what is purged is not there any more.
withheld_range = _numbered(
    "withheld_range",
    _ref("recording", index=True),
    Column("start_ms", Big, nullable=False),
    Column("end_ms", Big, nullable=False),
    Column("reason", Storable, nullable=False),
    _ref("user", nullable=True),
    _when("created_at"),
    _when("lifted_at", nullable=True),
    _when("purge_asked_at", nullable=True),
    _when("purged_at", nullable=True),
    Column("outbox_id", Big, nullable=False, comment="search has forgotten the words once this row is gone"),
    Column("doomed", Json, nullable=False, server_default="[]", comment="keys of files that a purge deletes"),
)
withholds = withheld_range.c.lifted_at.is_(None) & withheld_range.c.purged_at.is_(None)
"""Of a withheld range: there is something that nobody gets."""

upload = _numbered(
    "upload",
    _ref("interview", nullable=True, index=True),
    _ref("user", nullable=True),
    Column("file_name", Storable, nullable=False),
    Column("size_bytes", Big, nullable=True),
    Column("offset_bytes", Big, nullable=False),
    Column("state", Short(16), nullable=False),
    Column("error", Storable, nullable=True),
    _ref("recording", nullable=True, index=True),
    _when("created_at"),
    _when("updated_at"),
)

speaker = _numbered(
    "speaker",
    _ref("recording"),
    Column("label", Storable, nullable=False),
    _ref("person", nullable=True),
    UniqueConstraint("recording_id", "label"),
)

transcript = _numbered(
    "transcript",
    _ref("recording"),
    Column("kind", Short(16), nullable=False, comment="spoken, or translation"),
    Column("lang", Short(16), nullable=False, comment="of a translation; empty: as spoken"),
    UniqueConstraint("recording_id", "kind", "lang"),
)

transcript_run = _numbered(
    "transcript_run",
    _ref("transcript", index=True),
    Column("stage", Short(16), nullable=False),
    Column("engine", Storable, nullable=False),
    Column("model", Storable, nullable=False),
    Column("model_identity", Storable, nullable=False),
    Column("note", Storable, nullable=False, comment="what readers must know of the model"),
    Column("settings", Json, nullable=False),
    Column("covered_ms", Big, nullable=False, comment="how far on the media clock it has got"),
    _when("started_at"),
    _when("finished_at", nullable=True),
)


def _line_columns() -> tuple[Column[Any], ...]:
    return (
        Column("start_ms", Big, nullable=False),
        Column("end_ms", Big, nullable=False),
        Column("text", Storable, nullable=False),
        Column("lang", Short(16), nullable=False),
        Column("words", Json, nullable=False),
        Column("speaker", Storable, nullable=True),
        Column("doubt", Storable, nullable=True),
    )


# What a machine pass heard; never changed. The cues are what readers get: these lines under the human edits.
run_line = _numbered("run_line", _ref("transcript_run", index=True, name="run_id"), *_line_columns())

cue = _numbered(
    "cue",
    _ref("transcript"),
    _ref("transcript_run", nullable=True, name="run_id"),
    *_line_columns(),
    Column("revision", Integer, nullable=False, comment="rises with every human change; If-Match"),
    Column("version", Big, nullable=False, comment="rises with every change that search must learn of"),
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
    Column("kind", Short(16), nullable=False),
    Column("before", Json, nullable=False),
    Column("after", Json, nullable=False),
    _when("at"),
)

# Which cues a revision is about: those it found and those it left.
revision_cue = Table(
    "revision_cue",
    metadata,
    Column("revision_id", Big, ForeignKey("revision.id"), primary_key=True),
    Column("cue_id", Big, ForeignKey("cue.id"), primary_key=True, index=True),
)

# Words that a person has taken out: no machine brings them back. A row goes when a person puts its word back.
strike = _numbered(
    "strike",
    _ref("transcript", index=True),
    _ref("revision"),
    Column("text", Storable, nullable=False),
    Column("start_ms", Big, nullable=False),
    Column("end_ms", Big, nullable=False),
)

# Where the newest run is sure of something else than what a person wrote; an editor follows or dismisses it.
suggestion = _numbered(
    "suggestion",
    _ref("transcript", index=True),
    _ref("cue", index=True),
    _ref("transcript_run", name="run_id"),
    Column("start_ms", Big, nullable=False),
    Column("end_ms", Big, nullable=False),
    Column("text", Storable, nullable=False, comment="what the person wrote"),
    Column("heard", Storable, nullable=False, comment="what the machine hears there"),
    Column("probability", Float, nullable=False),
    _when("dismissed_at", nullable=True),
    _ref("user", nullable=True),
)

# How the live captions of a recording fare, as told by whoever makes them. Of use while it is on air.
captioning = Table(
    "captioning",
    metadata,
    Column("recording_id", Big, ForeignKey("recording.id"), primary_key=True, autoincrement=False),
    Column("lag_ms", Big, nullable=False, comment="sound that has come and has not been heard yet"),
    Column("rung", Integer, nullable=False, comment="how much is left out to keep up; 0: nothing"),
    Column("skipped_ms", Big, nullable=False, comment="sound left to the final pass, all in all"),
    Column("problem", Storable, nullable=True, comment="why there are no live captions"),
    _when("seen_at"),
)

# Stretches that live captions have left out; the final pass hears them, and then they go.
skip = _numbered(
    "skip",
    _ref("recording", index=True),
    Column("start_ms", Big, nullable=False),
    Column("end_ms", Big, nullable=False),
)

glossary_term = _numbered(
    "glossary_term",
    Column("term", Storable, nullable=False),
    Column("lang", Short(16), nullable=False),
    Column("means", Json, nullable=False, comment="the same term in other languages"),
    Column("is_name", Boolean, nullable=False, server_default=false(), comment="of a person, a firm, a product"),
    _when("created_at"),
    _when("deleted_at", nullable=True),
)

job = _numbered(
    "job",
    Column("kind", Short(32), nullable=False),
    Column("key", Storable, nullable=False),
    _ref("recording", nullable=True, index=True),
    Column("payload", Json, nullable=False),
    Column("state", Short(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("epoch", Big, nullable=False),
    Column("owner", Storable, nullable=True),
    _when("run_after"),
    _when("lease_until", nullable=True),
    Column("cancel_requested", Boolean, nullable=False),
    Column("progress", Float, nullable=False),
    Column("message", Storable, nullable=False),
    Column("last_error", Storable, nullable=True),
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
    Column("owner", Storable, primary_key=True),
    Column("kinds", Json, nullable=False),
    _when("started_at"),
    _when("seen_at"),
)

outbox = _numbered(
    "outbox",
    Column("subject", Storable, nullable=False, comment="cue:ID or interview:ID"),
    _when("at"),
)

change = _numbered(
    "change",
    _when("at"),
    Column("interview_id", Short(16), nullable=True),
    Column("kind", Short(32), nullable=False),
    Column("payload", Json, nullable=False),
)

# A query that somebody has watched: they hear of it when it is spoken.
saved_search = _numbered(
    "saved_search",
    _ref("user", index=True),
    Column("query", Storable, nullable=False, comment="as typed"),
    Column("webhook_url", Storable, nullable=True),
    Column("secret", Storable, nullable=False, comment="what the webhook's calls are signed with"),
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
    Column("start_ms", Big, nullable=False),
    Column("end_ms", Big, nullable=False),
    _when("at"),
    _when("sent_at", nullable=True),
    _when("seen_at", nullable=True),
    UniqueConstraint("saved_search_id", "cue_id"),
)
