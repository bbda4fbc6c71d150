"""Issuers that the operator trusts, and whom they mean"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "trusted_issuer",
        sa.Column("issuer", sa.String(255), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("made_by_apply", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", name="pk_trusted_issuer"),
    )
    op.create_table(
        "identity_link",
        sa.Column("issuer", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("user_id", sa.String(36), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["issuer"], ["trusted_issuer.issuer"], name="fk_identity_link_issuer_trusted_issuer", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name="fk_identity_link_user_id_user_account", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("issuer", "subject", name="pk_identity_link"),
    )
    op.create_index("ix_identity_link_user_id", "identity_link", ["user_id"])


def downgrade() -> None:
    op.drop_table("identity_link")
    op.drop_table("trusted_issuer")
