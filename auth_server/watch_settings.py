"""The settings of watchfulness: what each signal does. `config.Settings` has them among its own.

`record` leaves a line in audit and log. `second_factor` also ends the trust in all of the person's browsers, and asks a
sign-in in progress for the second factor, where there is one. `end_family` ends what that app was given; `end_all` ends
all sessions and all that apps were given, so that only a fresh sign-in goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from auth_server import values
from auth_server.values import setting

RECORD, SECOND_FACTOR, END_FAMILY, END_ALL = "record", "second_factor", "end_family", "end_all"
ACTIONS = (RECORD, SECOND_FACTOR, END_FAMILY, END_ALL)
"""What a signal may do, the mildest first."""
_of_a_sign_in = values.one_of(RECORD, SECOND_FACTOR, END_ALL)
_of_a_family = values.one_of(*ACTIONS)
_of_a_guess = values.one_of(RECORD, SECOND_FACTOR)


@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """One setting a signal, and what they need."""

    trusted_browser_ttl: timedelta = setting(
        values.duration, timedelta(days=30), "How long a browser may be trusted, 1d to 30d; 0: not offered.", "30d"
    )
    watch_new_device: str = setting(
        _of_a_sign_in, RECORD, "A browser's first sign-in to an account that was used before.", RECORD
    )
    watch_new_country: str = setting(
        _of_a_sign_in, SECOND_FACTOR, "A sign-in from a country that the account was not used in.", SECOND_FACTOR
    )
    watch_impossible_travel: str = setting(
        _of_a_sign_in,
        SECOND_FACTOR,
        "A sign-in from farther away than an aeroplane flies since the account was used last.",
        SECOND_FACTOR,
    )
    watch_recovery_code: str = setting(
        _of_a_guess, SECOND_FACTOR, "A recovery code was used: the phone may be in other hands.", SECOND_FACTOR
    )
    watch_throttled: str = setting(
        _of_a_guess, RECORD, "Too many wrong passwords or codes. Strangers can cause it, so it ends nothing.", RECORD
    )
    watch_two_networks: str = setting(
        _of_a_family,
        RECORD,
        "A grant used from two networks within WATCH_NETWORK_WINDOW. Phones do so each time they leave the Wi-Fi.",
        RECORD,
    )
    watch_two_countries: str = setting(
        _of_a_family, END_FAMILY, "A grant used from two countries within WATCH_NETWORK_WINDOW.", END_FAMILY
    )
    watch_country_change: str = setting(
        _of_a_family, RECORD, "A grant used from another country than last time, later than that.", RECORD
    )
    watch_agent_change: str = setting(
        _of_a_family, RECORD, "A grant used by another kind of program than last time.", RECORD
    )
    watch_network_window: timedelta = setting(
        values.duration, timedelta(minutes=3), "How short a time between two networks is suspicious.", "3m"
    )
    watch_confidential: bool = setting(
        values.boolean,
        False,
        "Act on grants of apps with a secret too. A stolen token is no use without it, and servers often have several "
        "networks: by default their moves are only recorded.",
        "false",
    )
    max_sessions: int = setting(
        values.whole_number(0, 1000),
        0,
        "Most sessions of a person; one more ends the oldest; 0: no limit.",
        "0",
    )
