"""What others made and may show once; client secrets that must be read again"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "seen",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_seen"),
    )
    op.create_index("ix_seen_expires_at", "seen", ["expires_at"])
    op.add_column("client_secret", sa.Column("sealed", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("client_secret", "sealed")
    op.drop_table("seen")
