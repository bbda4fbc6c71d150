"""What services may exchange, and what they have exchanged (RFC 8693)"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "exchange_rule",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("client_id", sa.String(255), nullable=False),
        sa.Column("from_audience", sa.String(255), nullable=False),
        sa.Column("from_clients", sa.JSON(), nullable=False),
        sa.Column("to_audience", sa.String(255), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("impersonation", sa.Boolean(), nullable=False),
        sa.Column("bound_tokens", sa.Boolean(), nullable=False),
        sa.Column("made_by_apply", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["client_id"], ["client.client_id"], name="fk_exchange_rule_client_id_client", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["from_audience"], ["api.identifier"], name="fk_exchange_rule_from_audience_api", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["to_audience"], ["api.identifier"], name="fk_exchange_rule_to_audience_api", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("name", name="pk_exchange_rule"),
    )
    op.create_table(
        "exchange",
        sa.Column("family_id", sa.String(36), nullable=False),
        sa.Column("client_id", sa.String(255), nullable=False),
        sa.Column("audience", sa.String(255), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["family_id"], ["family.id"], name="fk_exchange_family_id_family", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("family_id", "client_id", "audience", name="pk_exchange"),
    )
    op.create_index("ix_exchange_client_id", "exchange", ["client_id"])


def downgrade() -> None:
    op.drop_table("exchange")
    op.drop_table("exchange_rule")
