"""Claims asked for by name, and what an app calls a person"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_ADDED: tuple[tuple[str, str, sa.types.TypeEngine[object]], ...] = (
    ("family", "subject", sa.String(64)),
    ("family", "claims", sa.JSON()),
    ("consent", "claims", sa.JSON()),
    ("authorization_request", "consented_claims", sa.JSON()),
)


def upgrade() -> None:
    for table, name, kind in _ADDED:
        op.add_column(table, sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    for table, name, _kind in _ADDED:
        op.drop_column(table, name)
