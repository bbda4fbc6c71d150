"""The device authorization grant's token request (RFC 8628 §3.4): repeated until the person has decided."""

from __future__ import annotations

from auth_server.accounts import users
from auth_server.accounts.users import Person
from auth_server.clients import metadata
from auth_server.clients.client import Client
from auth_server.errors import (
    AccessDenied,
    AuthorizationPending,
    ExpiredToken,
    InvalidGrant,
    ProtocolError,
    SlowDown,
)
from auth_server.infra import clock
from auth_server.infra.events import Event, record
from auth_server.oauth.grants import base
from auth_server.oauth.server import TokenRequest
from auth_server.tokens import devices, ending, families, store
from auth_server.tokens.devices import Device
from auth_server.tokens.families import Family
from auth_server.tokens.issuing import Authorization


class DeviceCodeGrant(base.TokenGrant):
    GRANT_TYPE = metadata.DEVICE_CODE

    def authorize(self, client: Client, request: TokenRequest) -> Authorization:
        """A wrong client learns nothing and changes nothing."""
        found = devices.find(base.required(request.fields, "device_code"))
        if found is None or found.client_id != client.client_id:
            raise InvalidGrant(base.UNKNOWN, detail="unknown or foreign device code")
        family, person = _allowed(found)
        scopes, target = base.narrowed(client, family, request, None)
        return Authorization(
            client=client,
            grant_type=self.GRANT_TYPE,
            scopes=scopes,
            target=target,
            family=family,
            person=person,
            consume=lambda: _redeem(client, found, family, request.thumbprint if client.is_public else None),
        )


def _allowed(found: Device) -> tuple[Family, Person]:
    """Return what the person allowed; raise what the device must be told instead (RFC 8628 §3.5)."""
    family = families.find(found.family_id) if found.family_id else None
    if family and found.is_redeemed:
        raise _replayed(family)
    if found.is_decided and family is None:
        raise AccessDenied("the person did not allow it")
    if clock.now() >= found.expires_at:
        raise ExpiredToken("the device code has expired")
    if family is None:
        raise _not_yet(found)
    person = users.find_person(family.user_id)
    if family.is_ended or person is None or person.is_disabled:
        raise InvalidGrant("the authorization has ended", detail="family ended or person disabled before redemption")
    return family, person


def _not_yet(found: Device) -> ProtocolError:
    if devices.may_ask(found):
        return AuthorizationPending("the person has not decided yet")
    return SlowDown("asked too early; wait five seconds longer from now on")


def _redeem(client: Client, found: Device, family: Family, thumbprint: str | None) -> str | None:
    """Use the device code up, once, and return the family's first refresh token where the client may have one."""
    if not devices.redeem(found):
        raise _replayed(family)
    if not client.may_use("refresh_token"):
        return None
    return store.new_refresh_token(family, client.refresh_token_idle_ttl, thumbprint)


def _replayed(family: Family) -> InvalidGrant:
    """A second redemption ends everything the first produced, as for an authorization code."""
    ending.end_reused_family(family, "device_code_replayed")
    record(
        Event.CODE_REPLAYED, subject=family.user_id, client=family.client_id, family=family.id,
        reason="the device code was presented again",
    )  # fmt: skip
    return InvalidGrant("the code was used before", detail="device code replayed: its family has ended")
