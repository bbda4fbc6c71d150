"""Status lists: a place for each live family and, later, for each service"""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_PLACES_IN_A_LIST = 2**20
_KEPT_MICROSECONDS = 2 * 3600 * 1_000_000
_FAMILY = sa.table(
    "family",
    sa.column("id", sa.String),
    sa.column("expires_at", sa.BigInteger),
    sa.column("ended_at", sa.BigInteger),
    sa.column("status_index", sa.Integer),
)


def upgrade() -> None:
    taken = op.create_table(
        "status_index",
        sa.Column("position", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("client_id", sa.String(255), nullable=True),
        sa.Column("recalled_at", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("position", name="pk_status_index"),
        sa.UniqueConstraint("client_id", name="uq_status_index_client_id"),
    )
    for column in ("recalled_at", "expires_at"):
        op.create_index(f"ix_status_index_{column}", "status_index", [column])
    op.add_column("family", sa.Column("status_index", sa.Integer(), nullable=True))
    _give_places(taken)


def _give_places(taken: sa.Table) -> None:
    """Let the tokens that families of before get from now on be recalled too."""
    connection = op.get_bind()
    live = sa.select(_FAMILY.c.id, _FAMILY.c.expires_at).where(_FAMILY.c.ended_at.is_(None))
    families = connection.execute(live).all()
    if not families:
        return
    lists = 1 + 2 * len(families) // _PLACES_IN_A_LIST
    places = secrets.SystemRandom().sample(range(lists * _PLACES_IN_A_LIST), len(families))
    connection.execute(
        sa.update(_FAMILY).where(_FAMILY.c.id == sa.bindparam("which")).values(status_index=sa.bindparam("place")),
        [{"which": row.id, "place": place} for row, place in zip(families, places, strict=True)],
    )
    op.bulk_insert(
        taken,
        [
            {"position": place, "expires_at": row.expires_at + _KEPT_MICROSECONDS}
            for row, place in zip(families, places, strict=True)
        ],
    )


def downgrade() -> None:
    op.drop_column("family", "status_index")
    op.drop_table("status_index")
