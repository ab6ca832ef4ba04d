"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "change",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("interview_id", sa.String(length=16), nullable=True),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("payload", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_change"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "event",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("names", _JSON, nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_event"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "glossary_term",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("term", sa.Text(), nullable=False),
        sa.Column("lang", sa.String(length=16), nullable=False),
        sa.Column("means", _JSON, nullable=False, comment="the same term in other languages"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_glossary_term"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "outbox",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("subject", sa.Text(), nullable=False, comment="cue:ID or interview:ID"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "person",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("names", _JSON, nullable=False),
        sa.Column("affiliations", _JSON, nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_person"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "recording",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("duration_ticks", _BIG, nullable=False),
        sa.Column("has_video", sa.Boolean(), nullable=False),
        sa.Column("damage", sa.Text(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_recording"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "user",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_user"),
        sa.UniqueConstraint("name", name="uq_user_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "asset",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("recording_id", _BIG, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("size_bytes", _BIG, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column(
            "made_from", sa.Text(), nullable=False, comment="what it was made from: same source, same asset"
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["recording_id"], ["recording.id"], name="fk_asset_recording_id"),
        sa.PrimaryKeyConstraint("id", name="pk_asset"),
        sa.UniqueConstraint("recording_id", "kind", name="uq_asset_recording_id_kind"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "audit",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_id", _BIG, nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("details", _JSON, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_audit_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "gap",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("recording_id", _BIG, nullable=False),
        sa.Column("at_ticks", _BIG, nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["recording_id"], ["recording.id"], name="fk_gap_recording_id"),
        sa.PrimaryKeyConstraint("id", name="pk_gap"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_gap_recording_id", "gap", ["recording_id"], unique=False)
    op.create_table(
        "interview",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("titles", _JSON, nullable=False),
        sa.Column("descriptions", _JSON, nullable=False),
        sa.Column("languages", _JSON, nullable=False),
        sa.Column("visibility", sa.String(length=16), nullable=False),
        sa.Column("held_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_id", _BIG, nullable=True),
        sa.Column("recording_id", _BIG, nullable=True),
        sa.Column("in_ms", _BIG, nullable=True),
        sa.Column("out_ms", _BIG, nullable=True),
        sa.Column("version", _BIG, nullable=False, comment="rises with every change that search must learn of"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["event_id"], ["event.id"], name="fk_interview_event_id"),
        sa.ForeignKeyConstraint(["recording_id"], ["recording.id"], name="fk_interview_recording_id"),
        sa.PrimaryKeyConstraint("id", name="pk_interview"),
    )
    op.create_index("ix_interview_event_id", "interview", ["event_id"], unique=False)
    op.create_index("ix_interview_recording_id", "interview", ["recording_id"], unique=False)
    op.create_index("ix_interview_visibility_held_at", "interview", ["visibility", "held_at"], unique=False)
    op.create_table(
        "job",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("recording_id", _BIG, nullable=True),
        sa.Column("payload", _JSON, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("epoch", _BIG, nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("run_after", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_progress", sa.Float(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["recording_id"], ["recording.id"], name="fk_job_recording_id"),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_job_claim", "job", ["state", "kind", "priority", "run_after"], unique=False)
    op.create_index("ix_job_recording_id", "job", ["recording_id"], unique=False)
    op.create_index(
        "uq_job_open",
        "job",
        ["kind", "key"],
        unique=True,
        sqlite_where=sa.text("state IN ('queued', 'running', 'parked')"),
        postgresql_where=sa.text("state IN ('queued', 'running', 'parked')"),
    )
    op.create_table(
        "session",
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("user_id", _BIG, nullable=False),
        sa.Column("address", sa.Text(), nullable=False, comment="where it was begun from"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_session_user_id"),
        sa.PrimaryKeyConstraint("token_hash", name="pk_session"),
    )
    op.create_index("ix_session_user_id", "session", ["user_id"], unique=False)
    op.create_table(
        "speaker",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("recording_id", _BIG, nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("person_id", _BIG, nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_speaker_person_id"),
        sa.ForeignKeyConstraint(["recording_id"], ["recording.id"], name="fk_speaker_recording_id"),
        sa.PrimaryKeyConstraint("id", name="pk_speaker"),
        sa.UniqueConstraint("recording_id", "label", name="uq_speaker_recording_id_label"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "take",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("recording_id", _BIG, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("epoch", _BIG, nullable=False),
        sa.Column("base_ticks", _BIG, nullable=False),
        sa.Column("origin_pts", _BIG, nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["recording_id"], ["recording.id"], name="fk_take_recording_id"),
        sa.PrimaryKeyConstraint("id", name="pk_take"),
        sa.UniqueConstraint("recording_id", "number", name="uq_take_recording_id_number"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "transcript",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("recording_id", _BIG, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="spoken, or translation"),
        sa.Column("lang", sa.String(length=16), nullable=False, comment="of a translation; empty: as spoken"),
        sa.ForeignKeyConstraint(["recording_id"], ["recording.id"], name="fk_transcript_recording_id"),
        sa.PrimaryKeyConstraint("id", name="pk_transcript"),
        sa.UniqueConstraint("recording_id", "kind", "lang", name="uq_transcript_recording_id_kind_lang"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "interview_guest",
        sa.Column("interview_id", sa.String(length=16), nullable=False),
        sa.Column("person_id", _BIG, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["interview_id"], ["interview.id"], name="fk_interview_guest_interview_id"),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_interview_guest_person_id"),
        sa.PrimaryKeyConstraint("interview_id", "person_id", name="pk_interview_guest"),
    )
    op.create_table(
        "media_segment",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("recording_id", _BIG, nullable=False),
        sa.Column("take_id", _BIG, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("size_bytes", _BIG, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("start_ticks", _BIG, nullable=False),
        sa.Column("duration_ticks", _BIG, nullable=False),
        sa.Column("pts_ticks", _BIG, nullable=False),
        sa.Column("arrived_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("partial", sa.Boolean(), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["recording_id"], ["recording.id"], name="fk_media_segment_recording_id"),
        sa.ForeignKeyConstraint(["take_id"], ["take.id"], name="fk_media_segment_take_id"),
        sa.PrimaryKeyConstraint("id", name="pk_media_segment"),
        sa.UniqueConstraint("recording_id", "sequence", name="uq_media_segment_recording_id_sequence"),
        sa.UniqueConstraint("take_id", "pts_ticks", name="uq_media_segment_take_id_pts_ticks"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "revision",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("transcript_id", _BIG, nullable=False),
        sa.Column("user_id", _BIG, nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("before", _JSON, nullable=False),
        sa.Column("after", _JSON, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["transcript_id"], ["transcript.id"], name="fk_revision_transcript_id"),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_revision_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_revision"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_revision_transcript_id", "revision", ["transcript_id"], unique=False)
    op.create_table(
        "stream",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("interview_id", sa.String(length=16), nullable=False),
        sa.Column("recording_id", _BIG, nullable=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stop_requested", sa.Boolean(), nullable=False),
        sa.Column("exact_host_allowed", sa.Boolean(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("epoch", _BIG, nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["interview_id"], ["interview.id"], name="fk_stream_interview_id"),
        sa.ForeignKeyConstraint(["recording_id"], ["recording.id"], name="fk_stream_recording_id"),
        sa.PrimaryKeyConstraint("id", name="pk_stream"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_stream_interview_id", "stream", ["interview_id"], unique=False)
    op.create_index("ix_stream_recording_id", "stream", ["recording_id"], unique=False)
    op.create_index("ix_stream_state", "stream", ["state"], unique=False)
    op.create_table(
        "transcript_run",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("transcript_id", _BIG, nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("model_identity", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False, comment="what readers must know of the model"),
        sa.Column("settings", _JSON, nullable=False),
        sa.Column("covered_ms", _BIG, nullable=False, comment="how far on the media clock it has got"),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["transcript_id"], ["transcript.id"], name="fk_transcript_run_transcript_id"),
        sa.PrimaryKeyConstraint("id", name="pk_transcript_run"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_transcript_run_transcript_id", "transcript_run", ["transcript_id"], unique=False)
    op.create_table(
        "upload",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("interview_id", sa.String(length=16), nullable=True),
        sa.Column("user_id", _BIG, nullable=True),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("size_bytes", _BIG, nullable=True),
        sa.Column("offset_bytes", _BIG, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("recording_id", _BIG, nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["interview_id"], ["interview.id"], name="fk_upload_interview_id"),
        sa.ForeignKeyConstraint(["recording_id"], ["recording.id"], name="fk_upload_recording_id"),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_upload_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_upload"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_upload_interview_id", "upload", ["interview_id"], unique=False)
    op.create_index("ix_upload_recording_id", "upload", ["recording_id"], unique=False)
    op.create_table(
        "cue",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("transcript_id", _BIG, nullable=False),
        sa.Column("run_id", _BIG, nullable=True),
        sa.Column("start_ms", _BIG, nullable=False),
        sa.Column("end_ms", _BIG, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("lang", sa.String(length=16), nullable=False),
        sa.Column("words", _JSON, nullable=False),
        sa.Column("speaker", sa.Text(), nullable=True),
        sa.Column("doubt", sa.Text(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False, comment="rises with every human change; If-Match"),
        sa.Column("version", _BIG, nullable=False, comment="rises with every change that search must learn of"),
        sa.Column("human", sa.Boolean(), nullable=False),
        sa.Column("read", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["transcript_run.id"], name="fk_cue_run_id"),
        sa.ForeignKeyConstraint(["transcript_id"], ["transcript.id"], name="fk_cue_transcript_id"),
        sa.PrimaryKeyConstraint("id", name="pk_cue"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_cue_transcript_id_start_ms", "cue", ["transcript_id", "start_ms"], unique=False)
    op.create_table(
        "run_line",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("run_id", _BIG, nullable=False),
        sa.Column("start_ms", _BIG, nullable=False),
        sa.Column("end_ms", _BIG, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("lang", sa.String(length=16), nullable=False),
        sa.Column("words", _JSON, nullable=False),
        sa.Column("speaker", sa.Text(), nullable=True),
        sa.Column("doubt", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["transcript_run.id"], name="fk_run_line_run_id"),
        sa.PrimaryKeyConstraint("id", name="pk_run_line"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_run_line_run_id", "run_line", ["run_id"], unique=False)
    op.create_table(
        "worker",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("kinds", _JSON, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_worker"),
    )
    op.create_table(
        "revision_cue",
        sa.Column("revision_id", _BIG, nullable=False),
        sa.Column("cue_id", _BIG, nullable=False),
        sa.ForeignKeyConstraint(["cue_id"], ["cue.id"], name="fk_revision_cue_cue_id"),
        sa.ForeignKeyConstraint(["revision_id"], ["revision.id"], name="fk_revision_cue_revision_id"),
        sa.PrimaryKeyConstraint("revision_id", "cue_id", name="pk_revision_cue"),
    )
    op.create_index("ix_revision_cue_cue_id", "revision_cue", ["cue_id"], unique=False)
    op.create_table(
        "strike",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("transcript_id", _BIG, nullable=False),
        sa.Column("revision_id", _BIG, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("start_ms", _BIG, nullable=False),
        sa.Column("end_ms", _BIG, nullable=False),
        sa.ForeignKeyConstraint(["revision_id"], ["revision.id"], name="fk_strike_revision_id"),
        sa.ForeignKeyConstraint(["transcript_id"], ["transcript.id"], name="fk_strike_transcript_id"),
        sa.PrimaryKeyConstraint("id", name="pk_strike"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_strike_transcript_id", "strike", ["transcript_id"], unique=False)
    op.create_table(
        "suggestion",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("transcript_id", _BIG, nullable=False),
        sa.Column("cue_id", _BIG, nullable=False),
        sa.Column("run_id", _BIG, nullable=False),
        sa.Column("start_ms", _BIG, nullable=False),
        sa.Column("end_ms", _BIG, nullable=False),
        sa.Column("text", sa.Text(), nullable=False, comment="what the person wrote"),
        sa.Column("heard", sa.Text(), nullable=False, comment="what the machine hears there"),
        sa.Column("probability", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["cue_id"], ["cue.id"], name="fk_suggestion_cue_id"),
        sa.ForeignKeyConstraint(["run_id"], ["transcript_run.id"], name="fk_suggestion_run_id"),
        sa.ForeignKeyConstraint(["transcript_id"], ["transcript.id"], name="fk_suggestion_transcript_id"),
        sa.PrimaryKeyConstraint("id", name="pk_suggestion"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_suggestion_transcript_id", "suggestion", ["transcript_id"], unique=False)
    op.create_index("ix_audit_action_at", "audit", ["action", "at"])
