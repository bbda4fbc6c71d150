"""Recovery codes: ten, shown once, for the day when the phone is gone. Each works once.

A code has 125 random bits, so its plain SHA-256 can be stored: there is nothing to guess.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, delete, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base, Moment
from auth_server.infra import clock, crypto

HOW_MANY = 10
FEW = 3
"""So few left are worth a warning."""
_GROUPS, _GROUP = 5, 5
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_MISREAD = str.maketrans("OIL", "011")


class RecoveryCode(Base):
    """One code of a person; ends with the account."""

    __tablename__ = "recovery_code"
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    used_at: Mapped[datetime | None] = mapped_column(Moment)


_TABLE: Any = RecoveryCode.__table__


def replace(user_id: str) -> list[str]:
    """Make new codes and return them, this once; former ones are void."""
    remove(user_id)
    codes = ["".join(secrets.choice(_ALPHABET) for _ in range(_GROUPS * _GROUP)) for _ in range(HOW_MANY)]
    rows = [{"user_id": user_id, "digest": crypto.digest(code), "used_at": None} for code in codes]
    database.execute(_TABLE.insert(), rows)
    return ["-".join(code[start : start + _GROUP] for start in range(0, len(code), _GROUP)) for code in codes]


def left(user_id: str) -> int:
    """Return how many codes still work."""
    unused = select(func.count()).select_from(_TABLE).where(_TABLE.c.user_id == user_id, _TABLE.c.used_at.is_(None))
    return int(database.execute(unused).scalar() or 0)


def spend(user_id: str, presented: str) -> bool:
    """Use up a code, however it is spaced and whichever letters were misread; of two at once, one gets False."""
    code = "".join(char for char in presented.upper() if char.isalnum()).translate(_MISREAD)
    condition = (_TABLE.c.user_id == user_id, _TABLE.c.digest == crypto.digest(code), _TABLE.c.used_at.is_(None))
    return database.execute(update(_TABLE).where(*condition).values(used_at=clock.now())).rowcount == 1


def remove(user_id: str) -> None:
    """Forget every code of a person."""
    database.execute(delete(_TABLE).where(_TABLE.c.user_id == user_id))
