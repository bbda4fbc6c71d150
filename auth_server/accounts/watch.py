"""Watchfulness at the sign-in: what is unusual about it, and what that does.

A signal is computed from what the account already knows: its browsers, their countries, and where it was used last.
What each one does is a setting (`watch_settings`). Nothing here refuses a sign-in: the strongest a signal can do is to
ask for the second factor although the browser is trusted, and to end everything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from auth_server import config
from auth_server.accounts import browsers, sessions
from auth_server.accounts.browsers import Known
from auth_server.infra import clock, events, geo, limits, origin
from auth_server.infra.events import Event, record
from auth_server.infra.geo import Place
from auth_server.infra.origin import Origin
from auth_server.watch_settings import ACTIONS, END_ALL, RECORD

_FASTEST_KM_PER_HOUR = 1000.0
_LEAST_KM = 300.0
"""Nearer than that, the file may just be wrong about one of the places."""
_LEAST_BETWEEN_COUNTRIES = timedelta(hours=1)
"""Where only countries are known. Whoever lives at a border changes them more slowly than that on most days."""


class Signal(StrEnum):
    """What may be unusual about a sign-in; the setting is `WATCH_` and the name."""

    NEW_DEVICE = "new_device"
    NEW_COUNTRY = "new_country"
    IMPOSSIBLE_TRAVEL = "impossible_travel"


_EVENTS = {
    Signal.NEW_DEVICE: Event.NEW_DEVICE_SIGN_IN,
    Signal.NEW_COUNTRY: Event.NEW_COUNTRY_SIGN_IN,
    Signal.IMPOSSIBLE_TRAVEL: Event.IMPOSSIBLE_TRAVEL,
}


@dataclass(frozen=True)
class Findings:
    """What is unusual, and the strongest of what that does."""

    signals: tuple[Signal, ...] = ()

    @property
    def action(self) -> str:
        return strongest(*(f"watch_{signal}" for signal in self.signals))

    @property
    def asks_for_second_factor(self) -> bool:
        return self.action != RECORD

    @property
    def ends_all(self) -> bool:
        return self.action == END_ALL


def strongest(*names: str) -> str:
    """Return the strongest action among these settings; `record` without any."""
    return max((getattr(config.current(), name) for name in names), key=ACTIONS.index, default=RECORD)


def look(user_id: str, browser_digest: str) -> Findings:
    """Say what is unusual about a sign-in that is being made now; at the account's first one nothing is."""
    known = browsers.listing(user_id)
    if not known:
        return Findings()
    here = origin.here()
    found = {
        Signal.NEW_DEVICE: all(browser.digest != browser_digest for browser in known),
        Signal.NEW_COUNTRY: _is_new_country(known, here),
        Signal.IMPOSSIBLE_TRAVEL: _is_too_far(user_id, known, here),
    }
    return Findings(tuple(signal for signal, is_so in found.items() if is_so))


def act(user_id: str, found: Findings) -> None:
    """Record what was found, and end the trust in the person's browsers where a setting says so."""
    here = origin.here()
    for signal in found.signals:
        record(
            _EVENTS[signal], subject=user_id, action=strongest(f"watch_{signal}"), browser=here.agent,
            country=here.country, network=here.network,
        )  # fmt: skip
    if found.asks_for_second_factor:
        browsers.forget_trust(user_id, cause=found.signals[-1])


def recovery_code_used(user_id: str) -> None:
    """A recovery code was right."""
    _end_trust(user_id, "recovery_code")


def throttled(event: Event, user_id: str, refused: limits.Reservation, reason: str) -> None:
    """Somebody tries too often; `user_id` is "" for an unknown account, which costs the same.

    Strangers can go on without limit, so a full bucket leaves one row in the audit, and beyond that lines in the log.
    """
    if limits.is_first(refused):
        record(event, subject=user_id, reason=reason)
        _end_trust(user_id, "throttled")
    else:
        record(Event.ERROR_SHOWN, reason=reason, error="rate_limited")


def _end_trust(user_id: str, signal: str) -> None:
    if strongest(f"watch_{signal}") != RECORD:
        browsers.forget_trust(user_id, cause=signal)


def _is_new_country(known: list[Known], here: Origin) -> bool:
    """Nothing is new while no former country is known: the file may be there since today."""
    seen = {country for browser in known for country in browser.countries}
    return bool(here.country and seen) and here.country not in seen


def _is_too_far(user_id: str, known: list[Known], here: Origin) -> bool:
    """Compare with where the account was used last, by a sign-in or in a session that still lives."""
    place = geo.locate(events.context().address)
    if not place.country:
        return False
    used = [(browser.last_used_at, browser.network) for browser in known]
    used += [(row.last_seen_at, origin.network_of(row.address)) for row in sessions.listing(user_id)]
    at, network = max(((moment, network) for moment, network in used if network), default=(clock.now(), here.network))
    return network != here.network and _is_faster_than_flying(origin.place_of(network), place, at)


def _is_faster_than_flying(then: Place, now: Place, at: datetime) -> bool:
    elapsed = clock.now() - at
    distance = geo.kilometres(then, now)
    if distance is None:
        return bool(then.country) and then.country != now.country and elapsed < _LEAST_BETWEEN_COUNTRIES
    return distance > _LEAST_KM and distance > _FASTEST_KM_PER_HOUR * (elapsed / timedelta(hours=1))
