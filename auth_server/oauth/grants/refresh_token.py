"""The refresh token grant with rotation and theft detection (OAuth 2.1 §4.3, RFC 9700 §4.14)."""

from __future__ import annotations

from auth_server.clients.client import Client
from auth_server.errors import InvalidGrant, TemporarilyUnavailable
from auth_server.infra import clock
from auth_server.infra.events import Event, record
from auth_server.oauth.grants import base
from auth_server.oauth.server import TokenRequest
from auth_server.tokens import ending, moves, store
from auth_server.tokens.issuing import Authorization
from auth_server.tokens.moves import Move
from auth_server.tokens.store import Refresh


class RefreshTokenGrant(base.TokenGrant):
    GRANT_TYPE = "refresh_token"

    def authorize(self, client: Client, request: TokenRequest) -> Authorization:
        presented = base.required(request.fields, "refresh_token")
        found = store.find_refresh_token(presented)
        if found is None or found.family.client_id != client.client_id:
            raise InvalidGrant(base.UNKNOWN, detail="unknown or foreign refresh token")
        if found.thumbprint not in (None, request.thumbprint):
            raise InvalidGrant(
                "the refresh token is for another DPoP key or certificate: show that which it was given to"
            )
        _check_life(found)
        scopes, target = base.narrowed(client, found.family, request, request.fields.get("scope"))
        wait = store.seconds_until_refresh(found)
        if wait:
            raise TemporarilyUnavailable("too many refreshes; wait", retry_after_seconds=wait)
        if found.rotated_at is not None:
            _same_again(client, found, presented)  # a reuse is noticed before anything is signed
        move = _accepted_move(client, found)
        return Authorization(
            client=client,
            grant_type=self.GRANT_TYPE,
            scopes=scopes,
            target=target,
            family=found.family,
            person=found.person,
            consume=lambda: _successor(client, found, presented, move),
        )


def _check_life(found: Refresh) -> None:
    """A reused token ends the family even when it has expired since; a dead one says why."""
    if found.family.is_ended:
        raise InvalidGrant("the authorization has ended")
    if found.person.is_disabled:
        raise InvalidGrant("the authorization has ended", detail="the person is disabled")
    if clock.now() >= min(found.expires_at, found.family.expires_at) and found.rotated_at is None:
        raise InvalidGrant("the refresh token has expired")


def _accepted_move(client: Client, found: Refresh) -> Move | None:
    """Return what is unusual about where this comes from; refuse what a setting does not let through."""
    move = moves.judge(found, client)
    if move and move.is_refused:
        moves.refuse(found, move)
        raise InvalidGrant("the authorization was used from two places and has ended")
    return move


def _successor(client: Client, found: Refresh, presented: str, move: Move | None) -> str | None:
    """Rotate, once, and return the successor; None where the client keeps the one it has."""
    is_kept = not client.rotates and found.rotated_at is None
    if is_kept and not store.prolong(found, client.refresh_token_idle_ttl):
        raise InvalidGrant("the authorization has ended", detail="ended meanwhile")
    successor = None if is_kept else _rotated(client, found, presented)
    if move:
        moves.note(found, move)
    return successor


def _rotated(client: Client, found: Refresh, presented: str) -> str:
    idle_life, grace = client.refresh_token_idle_ttl, client.refresh_token_grace
    successor = None
    if found.rotated_at is None:
        successor = store.rotate(found, presented, idle_life=idle_life, grace=grace)
    if successor is None:  # it was rotated before, or somebody was faster: look at what they left
        rotated = found if found.rotated_at else store.find_refresh_token(presented) or found
        successor = _same_again(client, rotated, presented)
    return successor


def _same_again(client: Client, found: Refresh, presented: str) -> str:
    """Return the same successor within the grace; anything else is reuse and ends the family."""
    successor = store.same_successor(found, presented, client.refresh_token_grace)
    if successor is None:
        ending.end_reused_family(found.family, "refresh_reused")
        record(
            Event.REFRESH_REUSED, subject=found.person.id, client=found.family.client_id, family=found.family.id,
            reason="a rotated refresh token was presented again",
        )  # fmt: skip
        raise InvalidGrant("the refresh token was used before", detail="refresh token reused: its family has ended")
    return successor
