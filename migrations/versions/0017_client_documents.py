"""Clients described by a document at their id, and what people knew an app by when they allowed it"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("client", sa.Column("document_until", sa.BigInteger(), nullable=True))
    op.add_column("consent", sa.Column("identity", sa.String(64), nullable=True))


def downgrade() -> None:
    op.drop_column("consent", "identity")
    op.drop_column("client", "document_until")
