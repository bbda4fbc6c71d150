"""Watchfulness at the refresh: a family that is suddenly used from elsewhere.

Each refresh token keeps where its predecessor was presented from; the next use is compared with that, without a
statement of its own. How much a move means depends on the app: a token stolen from an app with a secret is no use
without the secret, and such apps run on machines with several networks; a phone changes its network many times a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from auth_server import config
from auth_server.accounts import browsers, watch
from auth_server.clients.client import Client
from auth_server.infra import clock, origin
from auth_server.infra.events import Event, record
from auth_server.infra.origin import Origin
from auth_server.tokens import ending, families
from auth_server.tokens.store import Refresh
from auth_server.watch_settings import END_ALL, END_FAMILY, RECORD, SECOND_FACTOR


class Signal(StrEnum):
    """What may be unusual about a refresh; the setting is `WATCH_` and the name."""

    TWO_NETWORKS = "two_networks"
    TWO_COUNTRIES = "two_countries"
    COUNTRY_CHANGE = "country_change"
    AGENT_CHANGE = "agent_change"


@dataclass(frozen=True)
class Move:
    """How a use of a family differs from the one before, and what that does."""

    signals: tuple[Signal, ...]
    before: Origin
    here: Origin
    action: str

    @property
    def is_refused(self) -> bool:
        return self.action in (END_FAMILY, END_ALL)


def judge(found: Refresh, client: Client) -> Move | None:
    """Compare this use with the one before; None when it comes from the same place, or when nobody knows."""
    here = origin.here()
    if here == found.origin:
        return None
    signals = _signals(found, here)
    return Move(signals, found.origin, here, _action(found, client, signals)) if signals else None


def note(found: Refresh, move: Move) -> None:
    """Record a move that is let through. Called after the rotation: nothing is written while something is signed."""
    _record(Event.FAMILY_MOVED, found, move)
    if move.action == SECOND_FACTOR:
        browsers.forget_trust(found.family.user_id, cause=move.signals[0])


def refuse(found: Refresh, move: Move) -> None:
    """End what the setting says."""
    _record(Event.FAMILY_MOVE_REFUSED, found, move, reason="used from two places")
    browsers.forget_trust(found.family.user_id, cause=move.signals[0])
    if move.action == END_ALL:
        ending.sign_out_everywhere(found.family.user_id, "moved")
    else:
        ending.end_family(found.family.id, "moved")


def _signals(found: Refresh, here: Origin) -> tuple[Signal, ...]:
    before = found.origin
    is_soon = clock.now() - found.created_at < config.current().watch_network_window
    has_new_country = _differ(before.country, here.country)
    seen = {
        Signal.TWO_COUNTRIES: is_soon and has_new_country,
        Signal.TWO_NETWORKS: is_soon and not has_new_country and _differ(before.network, here.network),
        Signal.COUNTRY_CHANGE: not is_soon and has_new_country,
        Signal.AGENT_CHANGE: _differ(before.agent, here.agent),
    }
    return tuple(signal for signal, is_so in seen.items() if is_so)


def _differ(before: str, now: str) -> bool:
    """Tell whether two known ones differ; an unknown one says nothing."""
    return bool(before and now) and before != now


def _action(found: Refresh, client: Client, signals: tuple[Signal, ...]) -> str:
    kind = found.family.client_class or families.class_of(client)  # families of old do not say it
    if kind == families.CONFIDENTIAL and not config.current().watch_confidential:
        return RECORD
    return watch.strongest(*(f"watch_{signal}" for signal in signals))


def _record(event: Event, found: Refresh, move: Move, reason: str = "") -> None:
    family = found.family
    record(
        event,
        subject=family.user_id,
        client=family.client_id,
        session=family.session_id,
        family=family.id,
        reason=reason,
        signals=list(move.signals),
        action=move.action,
        client_class=family.client_class,
        browser=move.here.agent,
        browser_before=move.before.agent,
        country=move.here.country,
        country_before=move.before.country,
        network=move.here.network,
        network_before=move.before.network,
    )
