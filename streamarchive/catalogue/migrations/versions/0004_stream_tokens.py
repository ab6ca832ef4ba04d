"""Streams that an encoder sends have a token."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("stream", sa.Column("token_sha256", sa.String(length=64), nullable=True))
