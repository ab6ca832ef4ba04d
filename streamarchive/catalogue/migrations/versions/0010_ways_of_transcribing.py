"""Interviews say in which script their Chinese is written, and whether each channel holds one person."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    script: sa.Column[str] = sa.Column(
        "script",
        sa.String(16),
        nullable=False,
        server_default="hans",
        comment="of its Chinese: hans, hant, or as heard",
    )
    apart: sa.Column[bool] = sa.Column(
        "person_per_channel",
        sa.Boolean(),
        nullable=False,
        server_default=sa.false(),
        comment="left and right are two people",
    )
    op.add_column("interview", script)
    op.add_column("interview", apart)
