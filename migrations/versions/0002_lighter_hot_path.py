"""Count refreshes on the refresh token, not on the family; index only the audit events that people look up"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_LOOKED_UP = sa.text("event != 'token.issued'")


def upgrade() -> None:
    op.add_column("refresh_token", sa.Column("window_ends_at", sa.BigInteger(), nullable=True))
    op.add_column("refresh_token", sa.Column("window_count", sa.Integer(), nullable=False, server_default="0"))
    for column in ("last_used_at", "refresh_window_ends_at", "refresh_count"):
        op.drop_column("family", column)
    for column in ("event", "subject", "client_id", "request_id"):
        op.drop_index(f"ix_audit_event_{column}", "audit_event")
    for column in ("subject", "client_id", "request_id"):
        op.create_index(
            f"ix_audit_event_{column}", "audit_event", [column], sqlite_where=_LOOKED_UP, postgresql_where=_LOOKED_UP
        )


def downgrade() -> None:
    for column in ("subject", "client_id", "request_id"):
        op.drop_index(f"ix_audit_event_{column}", "audit_event")
    for column in ("event", "subject", "client_id", "request_id"):
        op.create_index(f"ix_audit_event_{column}", "audit_event", [column])
    op.add_column("family", sa.Column("refresh_count", sa.Integer(), nullable=False, server_default="0"))
    for column in ("last_used_at", "refresh_window_ends_at"):
        op.add_column("family", sa.Column(column, sa.BigInteger(), nullable=True))
    for column in ("window_ends_at", "window_count"):
        op.drop_column("refresh_token", column)
