"""Streams have a lead-in, may overrun and are handed over; gaps have a reason of a kind and a detail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_RISING = {"sqlite_autoincrement": True}
# A table that SQLite builds anew would lose this, and ids of deleted rows would come again.


def upgrade() -> None:
    with op.batch_alter_table("stream", table_kwargs=_RISING) as batch:
        batch.add_column(sa.Column("begins_at", sa.DateTime(timezone=True), nullable=True))
        batch.add_column(sa.Column("overruns", sa.Boolean(), nullable=True))
        batch.add_column(sa.Column("offered", sa.Boolean(), nullable=True))
        batch.add_column(sa.Column("successor", sa.Text(), nullable=True))
    stream = sa.table("stream", *map(sa.column, ("begins_at", "starts_at", "overruns", "offered")))
    op.execute(stream.update().values(begins_at=stream.c.starts_at, overruns=sa.false(), offered=sa.false()))
    with op.batch_alter_table("stream", table_kwargs=_RISING) as batch:
        for name, kind in (
            ("begins_at", sa.DateTime(timezone=True)),
            ("overruns", sa.Boolean()),
            ("offered", sa.Boolean()),
        ):
            batch.alter_column(name, existing_type=kind, nullable=False)
    with op.batch_alter_table("gap", table_kwargs=_RISING) as batch:
        batch.add_column(sa.Column("detail", sa.Text(), nullable=True))
    gap = sa.table("gap", *map(sa.column, ("reason", "detail")))
    op.execute(gap.update().values(detail=gap.c.reason, reason="unknown"))
    with op.batch_alter_table("gap", table_kwargs=_RISING) as batch:
        batch.alter_column("detail", existing_type=sa.Text(), nullable=False)
        batch.alter_column("reason", existing_type=sa.Text(), type_=sa.String(length=16), nullable=False)
