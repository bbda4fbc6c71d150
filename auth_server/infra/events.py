"""What is worth recording, as a closed enumeration, and the one function that records it.

`record` writes the audit row in the request's transaction and the log line; an act and its record stand or fall
together. Where nothing was changed there is no act, and the row is written within a second with others. No secret,
token or password is ever passed to it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

from auth_server import database
from auth_server.infra import audit

log = logging.getLogger("auth_server.events")


class Event(StrEnum):
    """Names are stable: operators filter by them."""

    SETUP_COMPLETED = "setup.completed"
    SETUP_LINK_MADE = "setup.link_made"
    SIGN_IN_SUCCEEDED = "sign_in.succeeded"
    STEPPED_UP = "sign_in.stepped_up"
    SIGN_IN_FAILED = "sign_in.failed"
    SIGN_IN_THROTTLED = "sign_in.throttled"
    NEW_DEVICE_SIGN_IN = "sign_in.new_device"
    NEW_COUNTRY_SIGN_IN = "sign_in.new_country"
    IMPOSSIBLE_TRAVEL = "sign_in.impossible_travel"
    SIGN_OUT = "sign_out"
    BROWSER_TRUSTED = "browser.trusted"
    BROWSER_TRUST_ENDED = "browser.trust_ended"
    APP_TOLD = "sign_out.app_told"
    SESSION_MOVED = "session.moved"
    SESSION_ENDED = "session.ended"
    SESSIONS_ENDED = "sessions.ended"
    PASSWORD_SET = "password.set"  # noqa: S105 - an event's name
    PASSWORD_RESET = "password.reset"  # noqa: S105 - an event's name
    PASSWORD_CHANGED = "password.changed"  # noqa: S105 - an event's name
    MFA_TURNED_ON = "mfa.turned_on"
    MFA_TURNED_OFF = "mfa.turned_off"
    MFA_RESET = "mfa.reset"
    MFA_FAILED = "mfa.failed"
    MFA_THROTTLED = "mfa.throttled"
    RECOVERY_CODES_MADE = "mfa.recovery_codes_made"
    RECOVERY_CODE_USED = "mfa.recovery_code_used"
    PASSKEY_ADDED = "passkey.added"
    PASSKEY_RENAMED = "passkey.renamed"
    PASSKEY_REMOVED = "passkey.removed"
    PASSKEY_COUNTER_WENT_BACK = "passkey.counter_went_back"
    RESET_LINK_MADE = "password.reset_link_made"
    RESET_ASKED = "password.reset_asked"
    RESET_CODE_FAILED = "password.reset_code_failed"
    NOT_ME = "account.not_me"
    RECOVERY_STARTED = "recovery.started"
    RECOVERY_CANCELLED = "recovery.cancelled"
    RECOVERY_USED = "recovery.used"
    USER_CREATED = "user.created"
    USER_CHANGED = "user.changed"
    USER_DISABLED = "user.disabled"
    USER_ENABLED = "user.enabled"
    USER_DELETED = "user.deleted"
    USER_EXPORTED = "user.exported"
    SIGN_UP_COMPLETED = "sign_up.completed"
    INVITATION_MADE = "invitation.made"
    INVITATION_REVOKED = "invitation.revoked"
    INVITATION_ACCEPTED = "invitation.accepted"
    EMAIL_VERIFIED = "email.verified"
    EMAIL_CHANGE_ASKED = "email.change_asked"
    EMAIL_CHANGE_CANCELLED = "email.change_cancelled"
    EMAIL_CHANGED = "email.changed"
    EMAIL_CHANGE_UNDONE = "email.change_undone"
    GROUP_CREATED = "group.created"
    GROUP_CHANGED = "group.changed"
    GROUP_DELETED = "group.deleted"
    ROLE_CREATED = "role.created"
    ROLE_CHANGED = "role.changed"
    ROLE_DELETED = "role.deleted"
    CLIENT_CREATED = "client.created"
    CLIENT_CHANGED = "client.changed"
    CLIENT_DISABLED = "client.disabled"
    CLIENT_ENABLED = "client.enabled"
    CLIENT_DELETED = "client.deleted"
    CLIENT_SECRET_ADDED = "client.secret_added"  # noqa: S105 - an event's name
    CLIENT_SECRET_REMOVED = "client.secret_removed"  # noqa: S105 - an event's name
    REGISTRATION_TOKEN_MADE = "registration.token_made"  # noqa: S105 - an event's name
    REGISTRATION_TOKEN_REVOKED = "registration.token_revoked"  # noqa: S105 - an event's name
    REGISTRATION_REFUSED = "registration.refused"
    ISSUER_TRUSTED = "issuer.trusted"
    ISSUER_CHANGED = "issuer.changed"
    ISSUER_REMOVED = "issuer.removed"
    IDENTITY_LINKED = "identity.linked"
    IDENTITY_UNLINKED = "identity.unlinked"
    WORKLOAD_ACCEPTED = "client.workload_accepted"
    ASSERTION_ACCEPTED = "assertion.accepted"
    API_CREATED = "api.created"
    API_CHANGED = "api.changed"
    API_DELETED = "api.deleted"
    EXCHANGE_RULE_SAVED = "exchange_rule.saved"
    EXCHANGE_RULE_DELETED = "exchange_rule.deleted"
    AUTHORIZATION_REFUSED = "authorization.refused"
    CONSENT_GRANTED = "consent.granted"
    CONSENT_DENIED = "consent.denied"
    APP_DISCONNECTED = "app.disconnected"
    CODE_ISSUED = "code.issued"
    CODE_REPLAYED = "code.replayed"
    DEVICE_ASKED = "device.asked"
    DEVICE_ALLOWED = "device.allowed"
    USER_CODE_FAILED = "device.user_code_failed"
    USER_CODE_THROTTLED = "device.user_code_throttled"
    TOKEN_ISSUED = "token.issued"  # noqa: S105 - an event's name
    TOKEN_REFUSED = "token.refused"  # noqa: S105 - an event's name
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 - an event's name
    FAMILY_ENDED = "family.ended"
    FAMILY_MOVED = "family.moved"
    FAMILY_MOVE_REFUSED = "family.move_refused"
    REFRESH_REUSED = "refresh.reused"
    CLIENT_AUTHENTICATION_FAILED = "client.authentication_failed"
    INTROSPECTION_REFUSED = "introspection.refused"
    DELIVERED = "delivery.arrived"
    DELIVERY_FAILED = "delivery.failed"
    DELIVERY_GIVEN_UP = "delivery.given_up"
    KEY_CREATED = "key.created"
    KEYS_ROTATED = "keys.rotated"
    KEY_REVOKED = "key.revoked"
    ERROR_SHOWN = "error.shown"


FAILURES = frozenset(
    {
        Event.SIGN_IN_FAILED,
        Event.SIGN_IN_THROTTLED,
        Event.MFA_FAILED,
        Event.MFA_THROTTLED,
        Event.PASSKEY_COUNTER_WENT_BACK,
        Event.RESET_CODE_FAILED,
        Event.AUTHORIZATION_REFUSED,
        Event.CODE_REPLAYED,
        Event.USER_CODE_FAILED,
        Event.USER_CODE_THROTTLED,
        Event.TOKEN_REFUSED,
        Event.REFRESH_REUSED,
        Event.FAMILY_MOVE_REFUSED,
        Event.CLIENT_AUTHENTICATION_FAILED,
        Event.INTROSPECTION_REFUSED,
        Event.REGISTRATION_REFUSED,
        Event.DELIVERY_FAILED,
        Event.DELIVERY_GIVEN_UP,
    }
)


REFUSALS = frozenset({Event.CLIENT_AUTHENTICATION_FAILED, Event.TOKEN_REFUSED, Event.INTROSPECTION_REFUSED})
"""What changes nothing, unless the request has changed something before."""
LOG_ONLY = frozenset({Event.ERROR_SHOWN})
"""What any stranger can cause without limit: a log line, no row."""


@dataclass
class Context:
    """Who acts, and from where; set by the web floor, the command line and jobs. `actor_kind`: person, service, job."""

    request_id: str = ""
    address: str = ""
    user_agent: str = ""
    actor_kind: str = "job"
    actor: str = ""
    session: str = ""


_context: ContextVar[Context | None] = ContextVar("auth_server_event_context", default=None)


def context() -> Context:
    """Return the context of this request or command."""
    found = _context.get()
    if found is None:
        found = Context()
        _context.set(found)
    return found


def begin(new: Context) -> None:
    """Start a request, command or job."""
    _context.set(new)


Observer = Callable[[Event, Mapping[str, str], Mapping[str, object]], None]
"""Called with the event, what the audit says of it, and its further data, in the transaction of the act."""
_observers: dict[Event, Observer] = {}


def observe(kinds: Iterable[Event], observer: Observer) -> None:
    """Let somebody know of these events from now on; one observer an event."""
    _observers.update(dict.fromkeys(kinds, observer))


def record(
    event: Event,
    *,
    subject: str = "",
    client: str = "",
    session: str = "",
    family: str = "",
    reason: str = "",
    changes_nothing: bool = False,
    **data: object,
) -> None:
    """Write the event to audit and log. `subject` is whom it concerns; `reason` says in fixed words why it failed."""
    here = context()
    has_failed = event in FAILURES
    entry = {
        "event": event.value,
        "result": "failure" if has_failed else "success",
        "actor_kind": here.actor_kind,
        "actor": here.actor,
        "subject": subject,
        "client_id": client,
        "session": session or here.session,
        "family": family,
        "address": here.address,
        "request_id": here.request_id,
        "reason": reason,
    }
    if (changes_nothing or event in REFUSALS) and not database.has_written():
        audit.append_soon(entry, data)
    elif event not in LOG_ONLY:
        audit.append(entry, data)
    if event in _observers:
        _observers[event](event, entry, data)
    level = logging.WARNING if has_failed else logging.INFO
    if log.isEnabledFor(level):
        line = log.makeRecord(log.name, level, "", 0, event.value, (), None)  # without looking up who calls
        line.fields = {key: value for key, value in (entry | data).items() if value and key != "request_id"}
        log.handle(line)
