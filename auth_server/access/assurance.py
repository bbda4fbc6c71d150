"""How strong a sign-in must be, and who demands it: the server's rule for a person, a client, an API, a scope.

A strength is an `acr` (`access_token.ACR_VALUES`). What apps merely wish for with `acr_values` is not decided here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from auth_server import config
from auth_server.access import apis, roles
from auth_server.access.apis import Api
from auth_server.accounts import second_factor
from auth_server.clients.client import Client
from auth_server.infra import clock
from auth_server.keys import access_token

GRACE = timedelta(days=7)
"""So long an administrator may go without a second factor, counted from when they became one."""
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Rule:
    """Whether a second factor is offered to a person, whether it is required now, and when a countdown ends."""

    offered: bool
    required: bool
    due_at: datetime | None = None
    """For administrators alone; in the past once it is required."""


@dataclass(frozen=True)
class Standing:
    """Where a person stands: `is_due`: they must set one up before anything else; or so many days are left."""

    is_due: bool = False
    days_left: int | None = None


def rule_for(user_id: str) -> Rule:
    """Return the rule for one person: the setting's; administrators may have one always, and must after seven days."""
    setting = config.current().mfa
    since = roles.administrator_since(user_id)
    if since is None:
        return Rule(setting != "off", setting == "required")
    due_at = since + GRACE
    return Rule(True, setting == "required" or clock.now() >= due_at, due_at)


def is_offered(user_id: str) -> bool:
    """Tell whether the person may set up a second factor and is asked for it."""
    return config.current().mfa != "off" or rule_for(user_id).offered


def has_second_factor(user_id: str) -> bool:
    """Tell whether the person has a second factor that counts."""
    return second_factor.is_on(user_id, offered=is_offered(user_id))


def standing(user_id: str) -> Standing:
    """Return whether the person must set up a second factor, now or soon."""
    rule = rule_for(user_id)
    if not (rule.required or rule.due_at) or second_factor.is_on(user_id, offered=rule.offered):
        return Standing()
    if rule.required or rule.due_at is None:
        return Standing(is_due=True)
    return Standing(days_left=-((clock.now() - rule.due_at) // _DAY))


def of_scope(scope: str) -> str | None:
    """Return the least strength for which a scope is given to a person; None: any will do."""
    api = apis.register().by_scope.get(scope)
    return access_token.strongest((api.minimum_acr, api.scope_acr.get(scope))) if api else None


def least(client: Client, scopes: Iterable[str], resources: Iterable[Api]) -> str | None:
    """Return the least strength for which a client is given these scopes for these APIs; None: any will do."""
    of_apis = (api.minimum_acr for api in resources)
    return access_token.strongest((client.minimum_acr, *of_apis, *map(of_scope, scopes)))


def within(acr: str, scopes: Iterable[str]) -> tuple[str, ...]:
    """Drop the scopes for which a sign-in of this strength is not enough."""
    return tuple(scope for scope in scopes if access_token.reaches(acr, of_scope(scope)))
