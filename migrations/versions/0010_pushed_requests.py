"""Pushed authorization requests: the digest of the reference under which an app has stored one"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_INDEX = "ix_authorization_request_reference_digest"


def upgrade() -> None:
    op.add_column("authorization_request", sa.Column("reference_digest", sa.String(64), nullable=True))
    op.create_index(_INDEX, "authorization_request", ["reference_digest"], unique=True)


def downgrade() -> None:
    op.drop_index(_INDEX, "authorization_request")
    op.drop_column("authorization_request", "reference_digest")
