"""How strong a sign-in must be: by API and scope; since when a role is held; how old a session's factors are"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_CREATED = "SELECT created_at FROM user_account WHERE user_account.id = role_of_user.user_id"


def upgrade() -> None:
    op.add_column("api", sa.Column("minimum_acr", sa.String(40), nullable=True))
    op.add_column("api", sa.Column("scope_acr", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("role_of_user", sa.Column("granted_at", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(f"UPDATE role_of_user SET granted_at = ({_CREATED})")
    op.add_column("session", sa.Column("shown_since", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE session SET shown_since = auth_time")
    op.add_column("pending_sign_in", sa.Column("shown_since", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("pending_sign_in", sa.Column("session_id", sa.String(36), nullable=True))


def downgrade() -> None:
    op.execute("DELETE FROM pending_sign_in WHERE session_id IS NOT NULL")
    op.drop_column("pending_sign_in", "session_id")
    op.drop_column("pending_sign_in", "shown_since")
    op.drop_column("session", "shown_since")
    op.drop_column("role_of_user", "granted_at")
    op.drop_column("api", "scope_acr")
    op.drop_column("api", "minimum_acr")
