"""Recordings count how often their media segments were deleted or replaced."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    changes: sa.Column[int] = sa.Column(
        "segment_changes",
        sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
        nullable=False,
        server_default="0",
        comment="how often media segments were deleted or replaced",
    )
    op.add_column("recording", changes)
