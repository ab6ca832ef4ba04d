"""Withheld ranges, and what of its recording each file shows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
_TICKS_PER_MS = 90
_POSTER_AT_MS = 10_000
_FORGOTTEN = "search has forgotten the words once this row is gone"
_DOOMED = "keys of files that a purge deletes"


def upgrade() -> None:
    shows: sa.Column[object] = sa.Column(
        "shows", _JSON, nullable=False, server_default="[]", comment="[start_ms, end_ms] of the media clock"
    )
    op.add_column("asset", shows)
    _say_what_files_show()
    op.create_table(
        "withheld_range",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("recording_id", _BIG, nullable=False),
        sa.Column("start_ms", _BIG, nullable=False),
        sa.Column("end_ms", _BIG, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("user_id", _BIG, nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("purge_asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outbox_id", _BIG, nullable=False, comment=_FORGOTTEN),
        sa.Column("doomed", _JSON, nullable=False, server_default="[]", comment=_DOOMED),
        sa.ForeignKeyConstraint(["recording_id"], ["recording.id"], name="fk_withheld_range_recording_id"),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_withheld_range_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_withheld_range"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_withheld_range_recording_id", "withheld_range", ["recording_id"])


def _say_what_files_show() -> None:
    """Whole recordings so far; a poster is the picture of one moment."""
    connection = op.get_bind()
    recording = sa.table("recording", sa.column("id", _BIG), sa.column("duration_ticks", _BIG))
    asset = sa.table(
        "asset",
        sa.column("id", _BIG),
        sa.column("recording_id", _BIG),
        sa.column("kind", sa.Text()),
        sa.column("shows", _JSON),
    )
    found = sa.select(asset.c.id, asset.c.kind, recording.c.duration_ticks)
    for row in connection.execute(found.join(recording, recording.c.id == asset.c.recording_id)).all():
        whole_ms = row.duration_ticks // _TICKS_PER_MS
        at_ms = min(_POSTER_AT_MS, whole_ms // 3)
        shows = [[at_ms, at_ms + 1]] if row.kind == "poster" else [[0, whole_ms]]
        connection.execute(asset.update().where(asset.c.id == row.id).values(shows=shows))
