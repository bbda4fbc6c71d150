"""Watchfulness: where browsers, sessions, families and refresh tokens were used from; trust that says since when"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TRUST_LIFE_MICROSECONDS = 30 * 86_400 * 1_000_000


def _text(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False, server_default="")


def _added() -> dict[str, tuple[sa.Column[str], ...]]:
    return {
        "known_browser": (
            _text("user_agent", 255), _text("network", 45), _text("country", 2), _text("countries", 255),
            _text("trusted_country", 2),
        ),
        "session": (_text("country", 2),),
        "family": (_text("client_class", 20), _text("network", 45), _text("country", 2), _text("agent", 80)),
        "refresh_token": (_text("network", 45), _text("country", 2), _text("agent", 80)),
    }  # fmt: skip


_MOMENTS = (("known_browser", "first_seen_at"), ("known_browser", "trusted_at"), ("session", "moved_at"))


def upgrade() -> None:
    for table, columns in _added().items():
        for column in columns:
            op.add_column(table, column)
    for table, name in _MOMENTS:
        op.add_column(table, sa.Column(name, sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE known_browser SET first_seen_at = last_used_at,"
        f" trusted_at = trusted_until - {_TRUST_LIFE_MICROSECONDS}"
    )


def downgrade() -> None:
    for table, name in _MOMENTS:
        op.drop_column(table, name)
    for table, columns in _added().items():
        for column in columns:
            op.drop_column(table, column.name)
