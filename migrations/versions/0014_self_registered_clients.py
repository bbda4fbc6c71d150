"""Clients that registered themselves: the digest of the token with which they manage their row"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("client", sa.Column("registration_digest", sa.String(64), nullable=True))


def downgrade() -> None:
    op.drop_column("client", "registration_digest")
