"""The rows behind grants: families, codes and refresh tokens."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, Boolean, ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from auth_server.database import Base, Moment


class Family(Base):
    """Everything born from one authorization of a person. Made with the code; kept until its last token has expired."""

    __tablename__ = "family"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(255), index=True)
    user_id: Mapped[str] = mapped_column(String(36), index=True)
    session_id: Mapped[str] = mapped_column(String(36), index=True)
    scope: Mapped[str] = mapped_column(Text)
    resources: Mapped[list[str]] = mapped_column(JSON)
    offline: Mapped[bool] = mapped_column(Boolean)
    auth_time: Mapped[datetime] = mapped_column(Moment)
    acr: Mapped[str] = mapped_column(String(40))
    amr: Mapped[list[str]] = mapped_column(JSON)
    nonce: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)
    ended_at: Mapped[datetime | None] = mapped_column(Moment)
    ended_by: Mapped[str | None] = mapped_column(String(40))
    client_class: Mapped[str] = mapped_column(String(20))
    network: Mapped[str] = mapped_column(String(45))
    """Where the browser was that it was authorized in, coarsely; so are the two below."""
    country: Mapped[str] = mapped_column(String(2))
    agent: Mapped[str] = mapped_column(String(80))
    status_index: Mapped[int | None] = mapped_column(Integer)
    """Its place in the status lists; None: made before there were any, and over when that was noticed."""


class AuthorizationCode(Base):
    """One code, by digest; kept after use so that a replay is noticed, deleted with its family."""

    __tablename__ = "authorization_code"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    family_id: Mapped[str] = mapped_column(ForeignKey("family.id", ondelete="CASCADE"), index=True)
    redirect_uri: Mapped[str] = mapped_column(Text)
    code_challenge: Mapped[str | None] = mapped_column(String(43))
    expires_at: Mapped[datetime] = mapped_column(Moment)
    spent_at: Mapped[datetime | None] = mapped_column(Moment)


class RefreshToken(Base):
    """One refresh token, by digest; kept after rotation so that reuse is noticed, deleted with its family."""

    __tablename__ = "refresh_token"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    family_id: Mapped[str] = mapped_column(ForeignKey("family.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment)
    rotated_at: Mapped[datetime | None] = mapped_column(Moment)
    successor_sealed: Mapped[str | None] = mapped_column(Text)
    window_ends_at: Mapped[datetime | None] = mapped_column(Moment)
    window_count: Mapped[int] = mapped_column(Integer)
    network: Mapped[str] = mapped_column(String(45))
    """Where it was asked for, coarsely; so are the two below."""
    country: Mapped[str] = mapped_column(String(2))
    agent: Mapped[str] = mapped_column(String(80))
