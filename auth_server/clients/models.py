"""The clients' table."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Boolean, String
from sqlalchemy.orm import Mapped, mapped_column

from auth_server.database import Base, Moment


class ClientRow(Base):
    """A registered client; deleted with what it was given."""

    __tablename__ = "client"
    client_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    made_by_apply: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[datetime] = mapped_column(Moment)
    disabled_at: Mapped[datetime | None] = mapped_column(Moment)
    registration_digest: Mapped[str | None] = mapped_column(String(64))
    """Of the token with which a self-registered client manages this row; others have none."""
    document_until: Mapped[datetime | None] = mapped_column(Moment)
    """Until when the document counts as it was read (`clients.documents`); others than such clients have none."""


CLIENT: Any = ClientRow.__table__
