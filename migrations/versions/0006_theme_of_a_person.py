"""Keep with the account whether a person wants light or dark pages"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("user_account", sa.Column("theme", sa.String(10), nullable=False, server_default="system"))


def downgrade() -> None:
    op.drop_column("user_account", "theme")
