"""Glossary terms say whether they are names."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    of_what = "of a person, a firm, a product"
    column: sa.Column[bool] = sa.Column(
        "is_name", sa.Boolean(), nullable=False, server_default=sa.false(), comment=of_what
    )
    op.add_column("glossary_term", column)
