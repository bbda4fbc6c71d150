"""DPoP: the key that a code or a refresh token is for"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_ADDED = (("authorization_code", "dpop_jkt"), ("refresh_token", "jkt"))


def upgrade() -> None:
    for table, name in _ADDED:
        op.add_column(table, sa.Column(name, sa.String(43), nullable=True))


def downgrade() -> None:
    for table, name in _ADDED:
        op.drop_column(table, name)
