"""Files made of a recording say what players must know of them, and that they were verified."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    details: sa.Column[object] = sa.Column(
        "details", _JSON, nullable=True, comment="what whoever shows it must know besides"
    )
    op.add_column("asset", details)
    op.add_column("asset", sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True))
