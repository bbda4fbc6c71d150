"""The rows behind grants: families, codes, devices that wait, and refresh tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Any

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
    subject: Mapped[str | None] = mapped_column(String(64))
    """What the app calls the person where that is not their id; it stays, whatever becomes of the client's sector."""
    claims: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """The claims asked for by name, for `id_token` and `userinfo`; those `consented` to alone; the `acr` demanded."""
    status_index: Mapped[int | None] = mapped_column(Integer)
    """Its place in the status lists; None: made before there were any, and over when that was noticed."""


class AuthorizationCode(Base):
    """One code, by digest; kept after use so that a replay is noticed, deleted with its family."""

    __tablename__ = "authorization_code"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    family_id: Mapped[str] = mapped_column(ForeignKey("family.id", ondelete="CASCADE"), index=True)
    redirect_uri: Mapped[str] = mapped_column(Text)
    code_challenge: Mapped[str | None] = mapped_column(String(43))
    dpop_jkt: Mapped[str | None] = mapped_column(String(43))
    """The thumbprint of the key that must redeem it (RFC 9449 §10)."""
    expires_at: Mapped[datetime] = mapped_column(Moment)
    spent_at: Mapped[datetime | None] = mapped_column(Moment)


class DeviceGrant(Base):
    """A device that waits for a person (RFC 8628), by digest; deleted soon after it has expired, or with its family.

    Decided without a family: it was denied.
    """

    __tablename__ = "device_grant"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_code_tag: Mapped[str] = mapped_column(String(64), unique=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("client.client_id", ondelete="CASCADE"), index=True)
    scope: Mapped[str] = mapped_column(Text)
    resources: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)
    interval_seconds: Mapped[int] = mapped_column(Integer)
    ask_again_at: Mapped[datetime] = mapped_column(Moment)
    """Before this moment the device asks too early."""
    network: Mapped[str] = mapped_column(String(45))
    """Where the device is, coarsely; so are the two below."""
    country: Mapped[str] = mapped_column(String(2))
    agent: Mapped[str] = mapped_column(String(80))
    browser_digest: Mapped[str | None] = mapped_column(String(64))
    """The browser that the user code was typed in first: no other one decides."""
    session_id: Mapped[str | None] = mapped_column(String(36))
    """The sign-in that was asked last; it alone decides."""
    decided_at: Mapped[datetime | None] = mapped_column(Moment)
    family_id: Mapped[str | None] = mapped_column(ForeignKey("family.id", ondelete="CASCADE"), index=True)
    redeemed_at: Mapped[datetime | None] = mapped_column(Moment)


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
    jkt: Mapped[str | None] = mapped_column(String(43))
    """The thumbprint of the DPoP key or certificate that a public client must refresh with (RFC 9449 §5, RFC 8705 §4).

    One is a hash over JSON, the other over DER: none can stand for the other."""
    network: Mapped[str] = mapped_column(String(45))
    """Where it was asked for, coarsely; so are the two below."""
    country: Mapped[str] = mapped_column(String(2))
    agent: Mapped[str] = mapped_column(String(80))


class Exchange(Base):
    """A client that exchanged tokens of a family for others (RFC 8693), by API; kept with the family."""

    __tablename__ = "exchange"
    family_id: Mapped[str] = mapped_column(ForeignKey("family.id", ondelete="CASCADE"), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(255), primary_key=True, index=True)
    audience: Mapped[str] = mapped_column(String(255), primary_key=True)
    first_at: Mapped[datetime] = mapped_column(Moment)
    last_at: Mapped[datetime] = mapped_column(Moment)
