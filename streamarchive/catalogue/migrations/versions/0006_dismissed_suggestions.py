"""Suggestions that an editor has dismissed stay, with when and by whom."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # A table that SQLite builds anew would lose its autoincrement, and ids of deleted rows would come again.
    with op.batch_alter_table("suggestion", table_kwargs={"sqlite_autoincrement": True}) as batch:
        batch.add_column(sa.Column("dismissed_at", sa.DateTime(timezone=True), nullable=True))
        batch.add_column(sa.Column("user_id", _BIG, nullable=True))
        batch.create_foreign_key("fk_suggestion_user_id", "user", ["user_id"], ["id"])
    op.create_index("ix_suggestion_cue_id", "suggestion", ["cue_id"], unique=False)
