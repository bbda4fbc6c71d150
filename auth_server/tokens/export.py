"""Everything that is stored about a person, as one value for a JSON document.

Each table that knows people is a part here or is left out for a written reason, and so is each of its columns: a test
compares both lists with the database, so that a new table or column cannot be forgotten. Nothing that opens anything is
in the document: no secret, no digest of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, select

from auth_server import config, database
from auth_server.access import roles
from auth_server.database import Base
from auth_server.infra import clock
from auth_server.tokens import connected


@dataclass(frozen=True)
class Part:
    """The rows of one table that belong to a person: what is shown of them, what is withheld, and how they are found.

    `owner` is the column that names the person; with `of_family`, it names one of the person's families.
    """

    table: str
    owner: str
    shown: tuple[str, ...]
    withheld: tuple[str, ...] = ()
    of_family: bool = False


PARTS: Mapping[str, Part] = {
    "account": Part(
        "user_account",
        "id",
        shown=("id", "email", "email_verified", "name", "claims", "created_at", "updated_at", "disabled_at", "theme"),
        withheld=("email_key",),
    ),
    "groups": Part("group_membership", "user_id", shown=("group_name",)),
    "roles": Part("role_of_user", "user_id", shown=("role", "granted_at")),
    "linked_identities": Part("identity_link", "user_id", shown=("issuer", "subject", "created_at")),
    "password": Part("password", "user_id", shown=("changed_at",), withheld=("hash",)),
    "authenticator_app": Part("totp", "user_id", shown=("confirmed_at",), withheld=("secret_sealed", "last_step")),
    "passkeys": Part(
        "passkey",
        "user_id",
        shown=(
            *("id", "name", "aaguid", "transports", "backup_eligible", "backed_up", "sign_count"),
            *("created_at", "last_used_at"),
        ),
        withheld=("public_key",),
    ),
    "recovery_codes": Part("recovery_code", "user_id", shown=("used_at",), withheld=("digest",)),
    "sessions": Part(
        "session",
        "user_id",
        shown=(
            *("id", "amr", "acr", "auth_time", "shown_since", "created_at", "last_seen_at", "remember"),
            *("user_agent", "address", "country", "moved_at"),
        ),
        withheld=("digest", "browser_digest"),
    ),
    "unfinished_sign_ins": Part(
        "pending_sign_in",
        "user_id",
        shown=("amr", "remember", "expires_at", "shown_since", "session_id"),
        withheld=("digest", "browser_digest"),
    ),
    "known_browsers": Part(
        "known_browser",
        "user_id",
        shown=(
            *("first_seen_at", "last_used_at", "user_agent", "network", "country", "countries"),
            *("trusted_at", "trusted_until", "trusted_country"),
        ),
        withheld=("browser_digest",),
    ),
    "allowed_apps": Part(
        "consent", "user_id", shown=("client_id", "scopes", "claims", "granted_at"), withheld=("identity",)
    ),
    "app_access": Part(
        "family",
        "user_id",
        shown=(
            *("id", "client_id", "session_id", "scope", "resources", "offline", "auth_time", "acr", "amr"),
            *("created_at", "expires_at", "ended_at", "ended_by", "client_class", "network", "country", "agent"),
            *("subject", "claims"),
        ),
        withheld=("nonce", "status_index"),
    ),
    "app_access_codes": Part(
        "authorization_code",
        "family_id",
        shown=("family_id", "redirect_uri", "expires_at", "spent_at"),
        withheld=("digest", "code_challenge", "dpop_jkt"),
        of_family=True,
    ),
    "app_access_devices": Part(
        "device_grant",
        "family_id",
        shown=(
            *("family_id", "client_id", "scope", "resources", "created_at", "expires_at", "decided_at", "redeemed_at"),
            *("network", "country", "agent", "session_id"),
        ),
        withheld=("digest", "user_code_tag", "browser_digest", "interval_seconds", "ask_again_at"),
        of_family=True,
    ),
    "app_access_renewals": Part(
        "refresh_token",
        "family_id",
        shown=("family_id", "created_at", "expires_at", "rotated_at", "network", "country", "agent"),
        withheld=("digest", "successor_sealed", "window_ends_at", "window_count", "jkt"),
        of_family=True,
    ),
    "app_access_passed_on": Part(
        "exchange", "family_id", shown=("family_id", "client_id", "audience", "first_at", "last_at"), of_family=True
    ),
    "links": Part(
        "one_time_secret",
        "subject",
        shown=("purpose", "data", "created_at", "expires_at", "spent_at"),
        withheld=("digest", "handle_digest", "code_tag"),
    ),
    "events": Part(
        "audit_event",
        "subject",
        shown=(
            *("at", "event", "result", "actor_kind", "actor", "client_id", "session", "family", "address"),
            *("request_id", "reason", "data"),
        ),
        withheld=("id",),
    ),
}
"""The parts of the document. The column that names the owner is left out of the rows, but for the account's `id`."""

_NOTHING_OF_A_PERSON = "says nothing about a person"
LEFT_OUT: Mapping[str, str] = {
    "authorization_request": "belongs to a browser, not to an account, and is gone after a day",
    "opaque_access_token": "a copy of what `account` and `app_access` say, gone within an hour",
    "revocation": "ids of what has ended, gone within an hour or so",
    "outbox": "letters on their way, sealed, gone when they have arrived",
    "spent_challenge": "digests of what passkeys have answered to, gone after minutes",
    "seen": "digests of what apps may show once, gone after hours",
    "limit_bucket": "counts of wrong tries under keys that name nobody, gone when their window ends",
    **dict.fromkeys(
        (
            *("api", "client", "client_secret", "group_of_people", "role", "sealed_key", "signing_key", "stamp"),
            *("status_index", "exchange_rule", "trusted_issuer"),
        ),
        _NOTHING_OF_A_PERSON,
    ),
}
"""The tables that are no part, each with the reason."""
_ISSUED = "token.issued"
_WITHHELD_OF_DATA = frozenset({"browser"})
"""Which browser asked for a link: a digest, as those that are withheld elsewhere."""
_NOTES = {"events": "without each access token by itself: app_access and app_access_renewals say who had access when"}


def about(user_id: str) -> dict[str, Any]:
    """Return everything that is stored about a person, ready for JSON."""
    found: dict[str, Any] = {"issuer": config.current().issuer, "made_at": _plain(clock.now()), "notes": _NOTES}
    for name, part in PARTS.items():
        found[name] = _rows(part, user_id)
    found["account"] = next(iter(found["account"]), None)
    found["roles_in_force"] = list(roles.of_user(user_id))
    found["app_names"] = {app.client_id: app.name for app in connected.apps(user_id)}
    return found


def _rows(part: Part, user_id: str) -> list[dict[str, Any]]:
    table = Base.metadata.tables[part.table]
    statement = select(*(table.c[name] for name in part.shown)).where(*_belongs(part, user_id))
    return [
        {
            name: _plain(_without_digests(value) if part.table == "one_time_secret" else value)
            for name, value in row._mapping.items()
        }
        for row in database.execute(statement.order_by(*(table.primary_key.columns)))
    ]


def _belongs(part: Part, user_id: str) -> tuple[ColumnElement[bool], ...]:
    table = Base.metadata.tables[part.table]
    if part.of_family:
        family = Base.metadata.tables["family"]
        return (table.c[part.owner].in_(select(family.c.id).where(family.c.user_id == user_id)),)
    its = table.c[part.owner] == user_id
    return (its, table.c.event != _ISSUED) if part.table == "audit_event" else (its,)


def _without_digests(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: kept for name, kept in value.items() if name not in _WITHHELD_OF_DATA}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
