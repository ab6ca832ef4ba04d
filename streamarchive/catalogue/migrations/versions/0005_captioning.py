"""How live captions fare, and what they have left out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "captioning",
        sa.Column("recording_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("lag_ms", _BIG, nullable=False, comment="sound that has come and has not been heard yet"),
        sa.Column("rung", sa.Integer(), nullable=False, comment="how much is left out to keep up; 0: nothing"),
        sa.Column("skipped_ms", _BIG, nullable=False, comment="sound left to the final pass, all in all"),
        sa.Column("problem", sa.Text(), nullable=True, comment="why there are no live captions"),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["recording_id"], ["recording.id"], name="fk_captioning_recording_id"),
        sa.PrimaryKeyConstraint("recording_id", name="pk_captioning"),
    )
    op.create_table(
        "skip",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("recording_id", _BIG, nullable=False),
        sa.Column("start_ms", _BIG, nullable=False),
        sa.Column("end_ms", _BIG, nullable=False),
        sa.ForeignKeyConstraint(["recording_id"], ["recording.id"], name="fk_skip_recording_id"),
        sa.PrimaryKeyConstraint("id", name="pk_skip"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_skip_recording_id", "skip", ["recording_id"], unique=False)
