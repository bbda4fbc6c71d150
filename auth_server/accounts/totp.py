"""TOTP (RFC 6238): an authenticator app as second factor. SHA-1, six digits, 30 seconds: what every app can do.

The secret is sealed. A code is good in its own time step and in the one before and after; each accepted code moves
`last_step` forward by one conditional UPDATE, so that it works once. A secret that waits for its first code is sealed
to the session that began with it: whoever was in the account before knows theirs, and must not have planted it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pyotp
from sqlalchemy import BigInteger, ForeignKey, Text, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base, Moment
from auth_server.infra import clock, crypto

_SEALED_FOR = "totp"
_STEP_SECONDS = 30
_NEIGHBOURS = (0, -1, 1)
_STEPS_LOOKED_AT = 120
_SIX_DIGITS = re.compile(r"[0-9]{6}")


class Totp(Base):
    """One person's authenticator app; asked for only once `confirmed_at` is set. Ends with the account."""

    __tablename__ = "totp"
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), primary_key=True)
    secret_sealed: Mapped[str] = mapped_column(Text)
    confirmed_at: Mapped[datetime | None] = mapped_column(Moment)
    last_step: Mapped[int] = mapped_column(BigInteger)


_TABLE: Any = Totp.__table__


def begin(user_id: str, session_id: str) -> None:
    """Make a new secret that waits for its first code; an app that is confirmed already is left alone."""
    secret = pyotp.random_base32().encode()  # 160 bits, RFC 4226 §4 R6
    sealed = crypto.seal(_SEALED_FOR, secret, _while_waiting(user_id, session_id))
    values = {"secret_sealed": sealed, "last_step": 0}
    statement = database.insert(_TABLE).values(user_id=user_id, confirmed_at=None, **values)
    unconfirmed = _TABLE.c.confirmed_at.is_(None)
    database.execute(statement.on_conflict_do_update(index_elements=["user_id"], set_=values, where=unconfirmed))


def waiting_secret(user_id: str, session_id: str) -> str | None:
    """Return the secret, in base32, that waits for its first code; None when none was begun in this session."""
    row = _row(user_id)
    if row is None or row.confirmed_at is not None:
        return None
    try:
        return crypto.unseal(_SEALED_FOR, row.secret_sealed, _while_waiting(user_id, session_id)).decode()
    except crypto.CannotUnseal:
        return None


def confirm(user_id: str, session_id: str, presented: str) -> bool:
    """Switch the app on with its first right code; False when the code is wrong or nothing waits in this session."""
    secret = waiting_secret(user_id, session_id)
    step = _step_of(secret, presented, after=0) if secret else None
    if secret is None or step is None:
        return False
    values = {"confirmed_at": clock.now(), "last_step": step}
    values["secret_sealed"] = crypto.seal(_SEALED_FOR, secret.encode(), user_id)
    condition = (_TABLE.c.user_id == user_id, _TABLE.c.confirmed_at.is_(None))
    return database.execute(update(_TABLE).where(*condition).values(values)).rowcount == 1


def lead(user_id: str, session_id: str, presented: str) -> int:
    """Tell whose clock is ahead, where a wrong first code was right within the hour: 1 the app's, -1 ours, 0 nobody's.

    Only for an app that waits: its secret is on the same page, so this tells nobody anything. It never lets in.
    """
    secret, code = waiting_secret(user_id, session_id), "".join(presented.split())
    if secret is None or not _SIX_DIGITS.fullmatch(code):
        return 0
    app, now = pyotp.TOTP(secret), _step_now()
    for away in range(2, _STEPS_LOOKED_AT + 1):
        for side in (1, -1):
            if crypto.same(app.generate_otp(now + side * away), code):
                return side
    return 0


def since(user_id: str) -> datetime | None:
    """Return since when the app is asked for; None when there is none."""
    found: datetime | None = database.execute(select(_TABLE.c.confirmed_at).where(_TABLE.c.user_id == user_id)).scalar()
    return found


def last_used(user_id: str) -> datetime | None:
    """Return when the app's last code was shown, to half a minute; None when there is no app."""
    row = _row(user_id)
    if row is None or row.confirmed_at is None:
        return None
    return datetime.fromtimestamp(row.last_step * _STEP_SECONDS, UTC)


def verify(user_id: str, presented: str) -> bool:
    """Tell whether this is the app's code, and use it up; of two at once, one gets False (RFC 6238 §5.2)."""
    row = _row(user_id)
    if row is None or row.confirmed_at is None:
        return False
    step = _step_of(_open(row), presented, after=row.last_step)
    if step is None:
        return False
    used = update(_TABLE).where(_TABLE.c.user_id == user_id, _TABLE.c.last_step < step).values(last_step=step)
    return database.execute(used).rowcount == 1


def remove(user_id: str) -> bool:
    """Forget the app; False when there was none."""
    return database.execute(delete(_TABLE).where(_TABLE.c.user_id == user_id)).rowcount == 1


def uri(secret: str, *, account: str, issuer: str) -> str:
    """Return the `otpauth:` address that the QR code shows."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=issuer)


def _row(user_id: str) -> Any:
    return database.execute(select(_TABLE).where(_TABLE.c.user_id == user_id)).first()


def _open(row: Any) -> str:
    return crypto.unseal(_SEALED_FOR, row.secret_sealed, row.user_id).decode()


def _while_waiting(user_id: str, session_id: str) -> str:
    return f"{user_id}:{session_id}"


def _step_of(secret: str, presented: str, *, after: int) -> int | None:
    """Return the time step that the code belongs to, if it is one of those accepted now and newer than `after`."""
    code = "".join(presented.split())
    if not _SIX_DIGITS.fullmatch(code):
        return None
    app, now = pyotp.TOTP(secret), _step_now()
    right = [now + near for near in _NEIGHBOURS if crypto.same(app.generate_otp(now + near), code)]
    return next((step for step in right if step > after), None)


def _step_now() -> int:
    return int(clock.now().timestamp()) // _STEP_SECONDS
