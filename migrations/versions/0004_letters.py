"""Letters: the outbox, and one-time secrets with codes and with what is kept beside them"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("about", sa.String(255), nullable=False),
        sa.Column("payload_sealed", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("next_try_at", sa.BigInteger(), nullable=True),
        sa.Column("claimed_until", sa.BigInteger(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    op.create_index("ix_outbox_next_try_at", "outbox", ["next_try_at"])
    op.add_column("one_time_secret", sa.Column("data", sa.JSON(), nullable=True))
    op.add_column("one_time_secret", sa.Column("handle_digest", sa.String(64), nullable=True))
    op.add_column("one_time_secret", sa.Column("code_tag", sa.String(64), nullable=True))
    op.create_index("ix_one_time_secret_handle_digest", "one_time_secret", ["handle_digest"], unique=True)


def downgrade() -> None:
    op.drop_index("ix_one_time_secret_handle_digest", "one_time_secret")
    for column in ("code_tag", "handle_digest", "data"):
        op.drop_column("one_time_secret", column)
    op.drop_table("outbox")
