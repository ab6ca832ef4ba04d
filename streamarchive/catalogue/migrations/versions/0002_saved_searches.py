"""Searches that people have watched, and what was found for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "saved_search",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("user_id", _BIG, nullable=False),
        sa.Column("query", sa.Text(), nullable=False, comment="as typed"),
        sa.Column("webhook_url", sa.Text(), nullable=True),
        sa.Column("secret", sa.Text(), nullable=False, comment="what the webhook's calls are signed with"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_saved_search_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_saved_search"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_saved_search_user_id", "saved_search", ["user_id"], unique=False)
    op.create_table(
        "new_cue",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("cue_id", _BIG, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["cue_id"], ["cue.id"], name="fk_new_cue_cue_id"),
        sa.PrimaryKeyConstraint("id", name="pk_new_cue"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "saved_search_hit",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("saved_search_id", _BIG, nullable=False),
        sa.Column("cue_id", _BIG, nullable=False),
        sa.Column("interview_id", sa.String(length=16), nullable=False),
        sa.Column("recording_id", _BIG, nullable=False),
        sa.Column("start_ms", _BIG, nullable=False),
        sa.Column("end_ms", _BIG, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["cue_id"], ["cue.id"], name="fk_saved_search_hit_cue_id"),
        sa.ForeignKeyConstraint(["interview_id"], ["interview.id"], name="fk_saved_search_hit_interview_id"),
        sa.ForeignKeyConstraint(["recording_id"], ["recording.id"], name="fk_saved_search_hit_recording_id"),
        sa.ForeignKeyConstraint(
            ["saved_search_id"], ["saved_search.id"], name="fk_saved_search_hit_saved_search_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_saved_search_hit"),
        sa.UniqueConstraint("saved_search_id", "cue_id", name="uq_saved_search_hit_saved_search_id_cue_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_saved_search_hit_recording_id", "saved_search_hit", ["recording_id"], unique=False)
