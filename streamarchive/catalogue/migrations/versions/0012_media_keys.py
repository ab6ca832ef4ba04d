"""Which row a file of the media store belongs to is found by its key."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_media_segment_key", "media_segment", ["key"])
    op.create_index("ix_asset_key", "asset", ["key"])
