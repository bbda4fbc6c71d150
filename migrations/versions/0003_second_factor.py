"""Second factors: authenticator apps, recovery codes, sign-ins that wait for them, trusted browsers"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _owner() -> sa.Column[str]:
    return sa.Column("user_id", sa.String(36), nullable=False)


def _ends_with_the_account(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_user_id_user_account"
    return sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name=name, ondelete="CASCADE")


def upgrade() -> None:
    op.create_table(
        "totp",
        _owner(),
        sa.Column("secret_sealed", sa.Text(), nullable=False),
        sa.Column("confirmed_at", sa.BigInteger(), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        _ends_with_the_account("totp"),
        sa.PrimaryKeyConstraint("user_id", name="pk_totp"),
    )
    op.create_table(
        "recovery_code",
        _owner(),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        _ends_with_the_account("recovery_code"),
        sa.PrimaryKeyConstraint("user_id", "digest", name="pk_recovery_code"),
    )
    op.create_table(
        "pending_sign_in",
        sa.Column("digest", sa.String(64), nullable=False),
        _owner(),
        sa.Column("browser_digest", sa.String(64), nullable=False),
        sa.Column("amr", sa.JSON(), nullable=False),
        sa.Column("remember", sa.Boolean(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        _ends_with_the_account("pending_sign_in"),
        sa.PrimaryKeyConstraint("digest", name="pk_pending_sign_in"),
    )
    for column in ("user_id", "expires_at"):
        op.create_index(f"ix_pending_sign_in_{column}", "pending_sign_in", [column])
    op.add_column("known_browser", sa.Column("trusted_until", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("known_browser", "trusted_until")
    for table in ("pending_sign_in", "recovery_code", "totp"):
        op.drop_table(table)
