"""The only way in which a session, a family or an account's access ends: the table of docs/trust.md, one verb a row."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sqlalchemy import update

from auth_server import config, database
from auth_server.access import apis, consents, identities, roles
from auth_server.accounts import addresses, browsers, passkeys, pending, second_factor, sessions, users
from auth_server.accounts.passkeys import Passkey
from auth_server.clients import client as clients
from auth_server.clients import issuers, workload_rules
from auth_server.clients.client import Client
from auth_server.errors import RefusedInput
from auth_server.infra import clock, once
from auth_server.infra.events import Event, record
from auth_server.tokens import backchannel, delegation, exchanges, families, models, revocations, status_index
from auth_server.tokens.families import Family

RESET_LINK = "password-reset"
"""Purpose of one-time links that set a password."""

RECOVERY_LINK = "account-recovery"
"""Purpose of one-time links that set a password and take the second factor away."""
STOP_LINK = "account-recovery-stop"
"""Purpose of the links that stop a recovery; each address has one of its own."""
LINKS_OF_A_PERSON = [RESET_LINK, addresses.PROOF]
"""Purposes of one-time links that open something and end, as a recovery does, with everything else of the account."""

_FAMILY: Any = models.Family.__table__


def end_session(session_id: str, cause: str) -> bool:
    """Sign-out, or one session ended by anybody: families born in it end, but for `offline_access`; False when gone."""
    if not _end_sessions(session_id=session_id):
        return False
    _end_families(cause, _FAMILY.c.session_id == session_id, _FAMILY.c.offline.is_(False))
    record(Event.SESSION_ENDED, session=session_id, cause=cause)
    return True


def end_oldest_sessions(user_id: str, kept: str) -> None:
    """End the person's oldest sessions beyond MAX_SESSIONS, but never this one."""
    most = config.current().max_sessions
    if most:
        others = sorted((row for row in sessions.listing(user_id) if row.id != kept), key=lambda row: row.created_at)
        for row in others[: max(0, len(others) + 1 - most)]:
            end_session(row.id, "too_many")


def end_other_sessions(user_id: str, kept: str) -> int:
    """End every session of a person but one; return how many."""
    ended = _end_sessions(user_id=user_id, but=kept)
    _end_families("session_ended", _FAMILY.c.session_id.in_(ended), _FAMILY.c.offline.is_(False))
    record(Event.SESSIONS_ENDED, subject=user_id, count=len(ended))
    return len(ended)


def sign_out_everywhere(user_id: str, cause: str) -> tuple[int, int]:
    """End all sessions, families and one-time links of a person; return how many sessions and families."""
    ended = _end_sessions(user_id=user_id)
    families = _end_families(cause, _FAMILY.c.user_id == user_id)
    _forget_what_eases_a_sign_in(user_id, cause)
    record(Event.SESSIONS_ENDED, subject=user_id, count=len(ended), cause=cause)
    return len(ended), len(families)


def password_reset(user_id: str) -> None:
    """The password was set by whoever holds a link, or by an operator: everything ends."""
    sign_out_everywhere(user_id, "password_reset")
    record(Event.PASSWORD_RESET, subject=user_id)


def password_changed(user_id: str, kept_session: str) -> None:
    """The signed-in person changed the password: all other sessions end, and all families not born in this one."""
    _end_sessions(user_id=user_id, but=kept_session)
    _end_families("password_changed", _FAMILY.c.user_id == user_id, _FAMILY.c.session_id != kept_session)
    _forget_what_eases_a_sign_in(user_id, "password_changed")
    record(Event.PASSWORD_CHANGED, subject=user_id)


def address_changed(user_id: str) -> None:
    """The account has another address: links that went to the former one are worth nothing any more."""
    _end_links(user_id, "address_changed")


def address_set(user_id: str) -> None:
    """An operator gave the account another address: no former mailbox has a say in it any more."""
    _end_links(user_id, "address_set")
    once.revoke(addresses.UNDO, user_id)


def address_restored(user_id: str) -> None:
    """The owner of the former address took a change back: whoever had made it is locked out of everything."""
    sign_out_everywhere(user_id, "email_change_undone")


def factors_changed(user_id: str, kept_session: str) -> None:
    """A second factor came or went: who signed in elsewhere must do so again, under the new rule (ASVS 7.4.3)."""
    end_other_sessions(user_id, kept_session)
    _forget_what_eases_a_sign_in(user_id, "factors_changed")


def was_not_me(user_id: str, added: Passkey | None = None) -> None:
    """The person says that somebody else was in the account: everything ends, also a passkey that was added then."""
    record(Event.NOT_ME, subject=user_id)
    if added is not None:
        with suppress(RefusedInput):  # the last way in stays
            passkeys.remove(added)
    sign_out_everywhere(user_id, "not_me")


def reset_second_factor(user_id: str, *, checked: str = "") -> bool:
    """An operator takes the second factor away; everything ends. False when there was none.

    `checked` says how the operator made sure who it is.
    """
    was_on = second_factor.turn_off(user_id)
    if was_on:
        record(Event.MFA_RESET, subject=user_id, checked=checked)
        sign_out_everywhere(user_id, "mfa_reset")
    return was_on


def cancel_recovery(user_id: str, cause: str) -> bool:
    """End the recovery that waits, and what could have stopped it; False when there was none. Its people are told."""
    if not once.revoke(RECOVERY_LINK, user_id):
        return False
    once.revoke(STOP_LINK, user_id)
    record(Event.RECOVERY_CANCELLED, subject=user_id, cause=cause)
    return True


def disable_user(user: users.User) -> None:
    """Switch an account off and end everything it holds."""
    roles.keep_an_administrator(user.id)
    users.disable(user)
    sign_out_everywhere(user.id, "user_disabled")


def delete_user(user: users.User) -> None:
    """End everything an account holds, then delete it."""
    roles.keep_an_administrator(user.id)
    sign_out_everywhere(user.id, "user_deleted")
    once.forget(user.id)
    users.remove(user)


def disconnect(user_id: str, client_id: str) -> bool:
    """The person disconnects an app: its consent and families end; False when there was nothing."""
    had_consent = consents.forget(user_id, client_id)
    ended = _end_families("disconnected", _FAMILY.c.user_id == user_id, _FAMILY.c.client_id == client_id)
    record(Event.APP_DISCONNECTED, subject=user_id, client=client_id)
    return had_consent or bool(ended)


def end_family(family_id: str, cause: str) -> bool:
    """End one family: revocation, reuse or replay; False when it had ended before."""
    return bool(_end_families(cause, _FAMILY.c.id == family_id))


def end_families_of_user(user_id: str, cause: str) -> int:
    """End every family of a person, and no session; return how many."""
    return len(_end_families(cause, _FAMILY.c.user_id == user_id))


def end_client_tokens(client_id: str, cause: str) -> int:
    """End what a client holds, its client-credentials tokens and what it exchanged too; return how many families."""
    ended = _end_families(cause, _FAMILY.c.client_id == client_id)
    revocations.add(revocations.CLIENT, [client_id])
    status_index.recall_service(client_id)
    for family in exchanges.live_families(client_id):
        _recall_in_status_lists(family, family.status_index)
    return len(ended)


def disable_client(client: Client) -> None:
    """Switch a client off and end what it holds."""
    clients.switch(client, enabled=False)
    end_client_tokens(client.client_id, "client_disabled")


def delete_client(client: Client) -> None:
    """End what a client holds, then delete it."""
    end_client_tokens(client.client_id, "client_deleted")
    clients.remove(client)


def delete_api(identifier: str) -> bool:
    """End what an API's credentials hold, then delete both; False when there is none."""
    for api in apis.listing():
        if api.identifier == identifier:
            end_client_tokens(api.client_id, "client_deleted")
    return apis.remove(identifier)


def end_all_tokens() -> int:
    """End every family and refuse every access token issued until now; return how many families."""
    ended = _end_families("all_revoked", _FAMILY.c.id.is_not(None))
    revocations.add(revocations.EVERYTHING, [revocations.ALL])
    status_index.recall_every_service()
    return len(ended)


def end_all_sessions() -> int:
    """Sign everybody out; return how many sessions. Families with `offline_access` end too: it is an incident."""
    ended = _end_sessions()
    _end_families("all_signed_out", _FAMILY.c.id.is_not(None))
    record(Event.SESSIONS_ENDED, count=len(ended), cause="everybody")
    return len(ended)


def distrust_issuer(issuer: str) -> bool:
    """Trust an issuer no more: tokens of the clients that it spoke for end, and all that came of assertions."""
    if not issuers.remove(issuer):
        return False
    for client in clients.listing():
        if any(rule.issuer == issuer for rule in workload_rules.of(client.details)):
            end_client_tokens(client.client_id, "issuer_removed")
    _end_families("issuer_removed", _FAMILY.c.session_id == families.NO_SESSION)
    return True


def unlink_identity(issuer: str, subject: str) -> bool:
    """Let an issuer's subject mean nobody, and end what assertions gave for the person; False when it meant nobody."""
    user_id = identities.unlink(issuer, subject)
    if user_id is not None:
        _end_families("identity_unlinked", _FAMILY.c.user_id == user_id, _FAMILY.c.session_id == families.NO_SESSION)
    return user_id is not None


def revoke_access_token(claims: dict[str, Any]) -> None:
    """Refuse one access token from now on (RFC 7009 §2.1).

    APIs that look at the status list cannot tell it from the family's others: these go too, and the next one carries a
    new place. A service's tokens stay: they share one place for all that runs in its name. So do those of a family
    when a service gives back what it had exchanged: it does not hold them.
    """
    revocations.add(revocations.JTI, [claims["jti"]])
    family = families.find(claims["fam"]) if "fam" in claims else None
    place = _place_of(claims, family)
    if family and not delegation.links(claims):
        _recall_in_status_lists(family, place)
    record(
        Event.TOKEN_REVOKED,
        subject=family.user_id if family else claims["sub"],
        client=claims["client_id"],
        jti=claims["jti"],
    )


def _place_of(claims: dict[str, Any], family: Family | None) -> int | None:
    """Return the place that a token carries, or, for an opaque one, that what was exchanged for it carries."""
    place = status_index.position_in(claims)
    return family.status_index if place is None and family and exchanges.has_any(family.id) else place


def _recall_in_status_lists(family: Family, place: int | None) -> None:
    if place is not None and _move_in_status_lists(family, place):
        status_index.recall([place])


def _move_in_status_lists(family: Family, former: int) -> bool:
    """Let the tokens that a live family gets from now on carry another place than this one; False when they do."""
    if family.is_ended or family.status_index != former:
        return False
    place = status_index.take(family.expires_at + families.KEPT_AFTER_THE_END)
    still = (_FAMILY.c.id == family.id, _FAMILY.c.status_index == former)
    return database.execute(update(_FAMILY).where(*still).values(status_index=place)).rowcount == 1


def _forget_what_eases_a_sign_in(user_id: str, cause: str) -> None:
    """End one-time links, trust in browsers, and sign-ins that wait for their second factor."""
    _end_links(user_id, cause)
    browsers.forget_trust(user_id, cause="ended")
    pending.end_of_user(user_id)


def _end_sessions(**which: str) -> list[str]:
    """Delete sessions and have their apps told; return their ids."""
    ended = sessions.delete_rows(**which)
    backchannel.tell(ended)
    return ended


def _end_links(user_id: str, cause: str) -> None:
    cancel_recovery(user_id, cause)
    for purpose in LINKS_OF_A_PERSON:
        once.revoke(purpose, user_id)


def _end_families(cause: str, *conditions: Any) -> list[str]:
    """End live families; their access tokens are refused at once at our endpoints, and recalled. Returns their ids."""
    statement = update(_FAMILY).where(_FAMILY.c.ended_at.is_(None), *conditions)
    ended = database.execute(
        statement.values(ended_at=clock.now(), ended_by=cause).returning(
            _FAMILY.c.id, _FAMILY.c.user_id, _FAMILY.c.client_id, _FAMILY.c.status_index
        )
    ).all()
    revocations.add(revocations.FAMILY, [row.id for row in ended])
    status_index.recall(row.status_index for row in ended)
    for row in ended:
        record(Event.FAMILY_ENDED, subject=row.user_id, client=row.client_id, family=row.id, cause=cause)
    return [row.id for row in ended]


def end_reused_family(family: Family, cause: str) -> None:
    """A credential was presented twice: the family ends, or, by setting, every family of the person; and no browser of
    theirs is trusted any more.
    """
    browsers.forget_trust(family.user_id, cause=cause)
    if config.current().refresh_reuse_revokes == "user":
        end_families_of_user(family.user_id, cause)
    else:
        end_family(family.id, cause)
