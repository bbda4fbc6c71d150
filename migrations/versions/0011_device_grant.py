"""Devices that wait for a person to allow them"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_grant",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("user_code_tag", sa.String(64), nullable=False),
        sa.Column("client_id", sa.String(255), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("resources", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("interval_seconds", sa.Integer(), nullable=False),
        sa.Column("ask_again_at", sa.BigInteger(), nullable=False),
        sa.Column("network", sa.String(45), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("agent", sa.String(80), nullable=False),
        sa.Column("browser_digest", sa.String(64), nullable=True),
        sa.Column("session_id", sa.String(36), nullable=True),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("family_id", sa.String(36), nullable=True),
        sa.Column("redeemed_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["client_id"], ["client.client_id"], name="fk_device_grant_client_id_client", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["family_id"], ["family.id"], name="fk_device_grant_family_id_family", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("digest", name="pk_device_grant"),
        sa.UniqueConstraint("user_code_tag", name="uq_device_grant_user_code_tag"),
    )
    for column in ("client_id", "expires_at", "family_id"):
        op.create_index(f"ix_device_grant_{column}", "device_grant", [column])


def downgrade() -> None:
    op.drop_table("device_grant")
