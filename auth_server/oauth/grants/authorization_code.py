"""The authorization code grant with PKCE (OAuth 2.1 §4.1, RFC 7636)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping

from auth_server.clients.client import Client
from auth_server.errors import InvalidGrant, InvalidRequest, ProtocolError
from auth_server.infra import clock, crypto
from auth_server.infra.events import Event, record
from auth_server.oauth.grants import base
from auth_server.oauth.server import TokenRequest
from auth_server.tokens import ending, store
from auth_server.tokens.issuing import Authorization
from auth_server.tokens.store import Code

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}\Z")


class AuthorizationCodeGrant(base.TokenGrant):
    GRANT_TYPE = "authorization_code"

    def authorize(self, client: Client, request: TokenRequest) -> Authorization:
        """A wrong client leaves the code alone; a wrong verifier or redirect URI spends it."""
        presented = base.required(request.fields, "code")
        code = store.find_code(presented)
        if code is None or code.family.client_id != client.client_id:
            raise InvalidGrant(base.UNKNOWN, detail="unknown or foreign code")
        scopes, target = base.narrowed(client, code.family, request, None)
        if code.is_spent:
            raise _replayed(code)
        try:
            _check(client, code, request)
        except ProtocolError:
            _spend_in_vain(code)
            raise
        return Authorization(
            client=client,
            grant_type=self.GRANT_TYPE,
            scopes=scopes,
            target=target,
            family=code.family,
            person=code.person,
            consume=lambda: _redeem(client, code, request.thumbprint if client.is_public else None),
            nonce=code.family.nonce,
        )


def _redeem(client: Client, code: Code, thumbprint: str | None) -> str | None:
    """Spend the code, once, and return the family's first refresh token where the client may have one."""
    if not store.spend_code(code):
        raise _replayed(code)
    if not client.may_use("refresh_token"):
        return None
    return store.new_refresh_token(code.family, client.refresh_token_idle_ttl, thumbprint)


def _spend_in_vain(code: Code) -> None:
    """The right client came with a wrong proof: nothing can come of this authorization any more."""
    if not store.spend_code(code):
        raise _replayed(code)
    ending.end_family(code.family.id, "code_refused")


def check_verifier(challenge: str | None, verifier: str | None) -> None:
    """Compare verifier and S256 challenge (RFC 7636 §4.6); raise `InvalidGrant` or `InvalidRequest`."""
    if challenge is None:
        if verifier is not None:  # RFC 9700 §4.8.2: somebody stripped the challenge
            raise InvalidGrant("code_verifier was sent, but the authorization request had no code_challenge")
        return
    if verifier is None:
        raise InvalidGrant("code_verifier is missing")
    if not _VERIFIER.match(verifier):
        raise InvalidGrant("code_verifier is malformed: 43 to 128 characters of A-Z a-z 0-9 - . _ ~")
    computed = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    if not crypto.same(computed, challenge):
        raise InvalidGrant("code_verifier does not match")


def _check(client: Client, code: Code, request: TokenRequest) -> None:
    """Raise `InvalidGrant` or `InvalidRequest`: life, redirect URI, PKCE, the key that the code is for."""
    if clock.now() >= code.expires_at:
        raise InvalidGrant("the code has expired")
    if code.family.is_ended or not code.session_lives:
        raise InvalidGrant("the authorization has ended", detail="family or session ended before redemption")
    if code.person.is_disabled:
        raise InvalidGrant("the authorization has ended", detail="the person is disabled")
    _check_redirect_uri(client, code, request.fields)
    check_verifier(code.code_challenge, request.fields.get("code_verifier"))
    if code.dpop_jkt not in (None, request.jkt):
        raise InvalidGrant("the code is for another DPoP key: dpop_jkt of the authorization request")


def _check_redirect_uri(client: Client, code: Code, fields: Mapping[str, str]) -> None:
    """OAuth 2.1 §10.2: not needed any more, but when sent it must be the same."""
    sent = fields.get("redirect_uri")
    if sent is None and code.code_challenge is None:
        raise InvalidRequest("redirect_uri is missing")
    if sent is not None and sent != code.redirect_uri:
        raise InvalidGrant("redirect_uri differs from the authorization request")
    if not client.accepts_redirect_uri(code.redirect_uri):
        raise InvalidGrant("the redirect URI of the authorization request is not registered any more")


def _replayed(code: Code) -> InvalidGrant:
    """A second redemption ends everything the first produced (OAuth 2.1 §4.1.3)."""
    ending.end_reused_family(code.family, "code_replayed")
    record(
        Event.CODE_REPLAYED, subject=code.person.id, client=code.family.client_id, family=code.family.id,
        reason="the code was presented again",
    )  # fmt: skip
    return InvalidGrant("the code was used before", detail="code replayed: its family has ended")
