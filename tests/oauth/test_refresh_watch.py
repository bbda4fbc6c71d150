"""A family that is used from elsewhere: what is noticed at the refresh, and what that does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from auth_server.database import db
from auth_server.tokens import store
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.geo import AT_HOME, IN_BERLIN, IN_BERLIN_TOO, IN_LYON
from tests.support.rp import RelyingParty
from tests.support.site import at_once
from tests.support.watched import FIREFOX, SAFARI, Travel, at, is_spared, server, trusted

MakeApp = Callable[..., Flask]
MOVED, REFUSED = "family.moved", "family.move_refused"
SENTENCE = "the authorization was used from two places and has ended"
MINUTE = timedelta(minutes=1)
PUBLIC, NATIVE = {"token_endpoint_auth_method": "none"}, {"application_type": "native"}


@pytest.fixture
def start(make_app: MakeApp, tmp_path: Path) -> Callable[..., RelyingParty]:
    """Return a maker of an app whose person is in Berlin, on a server that knows where addresses are."""

    def make(metadata: dict[str, str] | None = None, **settings: Any) -> RelyingParty:
        app = server(make_app, tmp_path, **settings)
        client, secret = factories.client(app, **(PUBLIC if metadata is None else metadata))
        return be_at(RelyingParty(app, at(app, IN_BERLIN), client, secret), IN_BERLIN)

    return make


def be_at(rp: RelyingParty, address: str, agent: str = "okhttp/4.12") -> RelyingParty:
    """Let the app's requests come from there."""
    rp.machine.environ_base = {**rp.machine.environ_base, "REMOTE_ADDR": address, "HTTP_USER_AGENT": agent}
    return rp


def lives(rp: RelyingParty, token: str) -> bool:
    return rp.refresh(token).status_code == 200


def move(rp: RelyingParty, address: str, after: timedelta = timedelta(0), travel: Travel | None = None) -> Any:
    """Take new tokens, go elsewhere, and refresh there; return the answer."""
    token = rp.tokens()["refresh_token"]
    if travel:
        travel(after)
    return be_at(rp, address).refresh(token)


@pytest.mark.parametrize("metadata", [PUBLIC, PUBLIC | NATIVE, {}], ids=["browser", "native", "confidential"])
def test_the_same_place_is_nothing(start: Callable[..., RelyingParty], metadata: dict[str, str]) -> None:
    """Refresh after refresh; another address of the same network is the same place."""
    rp = start(metadata)
    token = rp.tokens()["refresh_token"]
    for address in (IN_BERLIN, "192.0.2.200", IN_BERLIN):
        answer = be_at(rp, address).refresh(token)
        assert answer.status_code == 200
        token = answer.json["refresh_token"]
    assert asserts.events_of(rp.app, MOVED) == asserts.events_of(rp.app, REFUSED) == []


def test_a_phone_that_leaves_the_wifi_goes_on(start: Callable[..., RelyingParty]) -> None:
    """Two networks of one country: recorded, with both; the tokens work."""
    rp = start(PUBLIC | NATIVE)
    answer = move(rp, IN_BERLIN_TOO)
    assert answer.status_code == 200
    (row,) = asserts.events_of(rp.app, MOVED)
    assert (row.result, row.client_id, row.request_id) == (
        "success", rp.client.client_id, answer.headers["X-Request-Id"],
    )  # fmt: skip
    assert row.data == {
        "signals": ["two_networks"], "action": "record", "client_class": "native",
        "browser": "okhttp", "browser_before": "okhttp", "country": "DE", "country_before": "DE",
        "network": "198.51.100.0/24", "network_before": "192.0.2.0/24",
    }  # fmt: skip
    assert lives(rp, answer.json["refresh_token"])


def test_two_countries_within_minutes_end_the_family(start: Callable[..., RelyingParty]) -> None:
    """Nothing is issued, the thief's and the owner's tokens are over, the access token too; other families live."""
    rp = start()
    other = rp.tokens()
    tokens = rp.tokens()
    thief = be_at(rp, IN_LYON).refresh(tokens["refresh_token"])
    asserts.is_oauth_error(thief, "invalid_grant")
    assert thief.json["error_description"] == SENTENCE
    be_at(rp, IN_BERLIN)
    assert not lives(rp, tokens["refresh_token"])
    assert rp.userinfo(tokens["access_token"]).status_code == 401
    assert lives(rp, other["refresh_token"])
    assert rp.browser.get("/account").status_code == 200
    (row,) = asserts.events_of(rp.app, REFUSED)
    assert (row.result, row.data["signals"], row.data["action"]) == ("failure", ["two_countries"], "end_family")
    (ended,) = asserts.events_of(rp.app, "family.ended")
    assert (ended.family, ended.data) == (row.family, {"cause": "moved"})


@pytest.mark.parametrize(("after", "is_refused"), [(2.9 * MINUTE, True), (3.1 * MINUTE, False)])
def test_later_it_is_a_journey(
    start: Callable[..., RelyingParty], in_a_while: Travel, after: timedelta, is_refused: bool
) -> None:
    """Within three minutes it is refused; afterwards it is a changed country, which is recorded."""
    rp = start()
    answer = move(rp, IN_LYON, after, in_a_while)
    assert answer.status_code == (400 if is_refused else 200)
    moved = [row.data["signals"] for row in asserts.events_of(rp.app, MOVED)]
    assert moved == ([] if is_refused else [["country_change"]])


def test_the_window_is_a_setting(start: Callable[..., RelyingParty], in_a_while: Travel) -> None:
    """`WATCH_NETWORK_WINDOW=10m`; 0 switches the two signals off."""
    assert move(start(watch_network_window=10 * MINUTE), IN_LYON, 9 * MINUTE, in_a_while).status_code == 400
    assert move(start(watch_network_window=timedelta(0)), IN_LYON).status_code == 200


def test_the_window_is_measured_from_the_last_use(start: Callable[..., RelyingParty], in_a_while: Travel) -> None:
    """Not from the family's birth."""
    rp = start()
    token = rp.tokens()["refresh_token"]
    in_a_while(20 * MINUTE)
    token = rp.refresh(token).json["refresh_token"]
    in_a_while(MINUTE)
    asserts.is_oauth_error(be_at(rp, IN_LYON).refresh(token), "invalid_grant")


def test_an_unknown_place_says_nothing(start: Callable[..., RelyingParty]) -> None:
    """An address that the file does not know is another network, not another country."""
    rp = start()
    assert move(rp, AT_HOME).status_code == 200
    assert [row.data["signals"] for row in asserts.events_of(rp.app, MOVED)] == [["two_networks"]]


def test_without_a_file_networks_are_told_apart(rp: RelyingParty) -> None:
    """No countries, and nothing ends."""
    be_at(rp, IN_BERLIN)
    assert move(rp, IN_LYON).status_code == 200
    (row,) = asserts.events_of(rp.app, MOVED)
    assert (row.data["signals"], row.data["country"]) == (["two_networks"], "")


@pytest.mark.parametrize(("settings", "status"), [({}, 200), ({"watch_confidential": True}, 400)])
def test_an_app_with_a_secret_is_only_recorded(
    start: Callable[..., RelyingParty], settings: dict[str, bool], status: int
) -> None:
    """Its token is no use to others; by setting it is treated as every other app."""
    rp = start({}, **settings)
    assert move(rp, IN_LYON).status_code == status
    (row,) = asserts.events_of(rp.app, REFUSED if settings else MOVED)
    assert (row.data["client_class"], row.data["signals"]) == ("confidential", ["two_countries"])


def test_another_program_is_recorded(start: Callable[..., RelyingParty]) -> None:
    """The kind counts, not the version: apps update themselves."""
    rp = start()
    token = rp.tokens()["refresh_token"]
    token = be_at(rp, IN_BERLIN, "okhttp/5.0").refresh(token).json["refresh_token"]
    assert asserts.events_of(rp.app, MOVED) == []
    assert lives(be_at(rp, IN_BERLIN, "curl/8.0"), token)
    (row,) = asserts.events_of(rp.app, MOVED)
    assert (row.data["signals"], row.data["browser"], row.data["browser_before"]) == (
        ["agent_change"], "curl", "okhttp",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "address", "minutes", "agent"),
    [
        ("watch_two_networks", IN_BERLIN_TOO, 0, FIREFOX),
        ("watch_two_countries", IN_LYON, 0, FIREFOX),
        ("watch_country_change", IN_LYON, 9, FIREFOX),
        ("watch_agent_change", IN_BERLIN, 0, SAFARI),
    ],
)
@pytest.mark.parametrize(
    ("action", "new", "others", "session", "trust"),
    [
        ("record", True, True, True, True),
        ("second_factor", True, True, True, False),
        ("end_family", False, True, True, False),
        ("end_all", False, False, False, False),
    ],
)
def test_each_signal_does_what_its_setting_says(
    start: Callable[..., RelyingParty], in_a_while: Travel, setting: str, address: str, minutes: int, agent: str,
    action: str, new: bool, others: bool, session: bool, trust: bool,
) -> None:  # fmt: skip
    """Whether the use goes on, other families live, the person stays signed in, and the browser is still trusted."""
    rp = start(**{setting: action})
    be_at(rp, IN_BERLIN, FIREFOX)
    rp.browser, _phone = trusted(rp.app, in_a_while)
    other, token = rp.tokens()["refresh_token"], rp.tokens()["refresh_token"]
    in_a_while(minutes * MINUTE)
    answer = be_at(rp, address, agent).refresh(token)
    assert (answer.status_code == 200) is new
    in_a_while(15 * MINUTE)  # so that the other family's use at home is neither too soon nor from another place
    assert lives(be_at(rp, IN_BERLIN, FIREFOX), other) is others
    assert (rp.browser.get("/account").status_code == 200) is session
    rp.browser.sign_out()
    assert is_spared(rp.browser) is trust


def test_the_strongest_of_several_counts(start: Callable[..., RelyingParty]) -> None:
    """Another country and another program: one event names both, and the family ends."""
    rp = start()
    token = rp.tokens()["refresh_token"]
    asserts.is_oauth_error(be_at(rp, IN_LYON, "curl/8.0").refresh(token), "invalid_grant")
    (row,) = asserts.events_of(rp.app, REFUSED)
    assert (row.data["signals"], row.data["action"]) == (["two_countries", "agent_change"], "end_family")


def test_the_grace_is_no_way_around(start: Callable[..., RelyingParty]) -> None:
    """A just-rotated token, presented again from another country, does not get the successor."""
    rp = start(refresh_token_grace=timedelta(seconds=10))
    token = rp.tokens()["refresh_token"]
    assert rp.refresh(token).status_code == 200
    assert rp.refresh(token).status_code == 200
    asserts.is_oauth_error(be_at(rp, IN_LYON).refresh(token), "invalid_grant")
    assert not lives(be_at(rp, IN_BERLIN), token)


def test_a_refused_request_leaves_no_trace_of_a_move(start: Callable[..., RelyingParty]) -> None:
    """A scope that is too wide is refused before the place is looked at; the family lives where it was."""
    rp = start()
    token = rp.tokens()["refresh_token"]
    asserts.is_oauth_error(be_at(rp, IN_LYON).refresh(token, scope="openid orders:read"), "invalid_scope")
    assert asserts.events_of(rp.app, REFUSED) == []
    assert lives(be_at(rp, IN_BERLIN), token)


def test_a_foreign_client_cannot_end_it(start: Callable[..., RelyingParty]) -> None:
    """Whoever finds a token and is another app learns and changes nothing."""
    rp = start()
    token = rp.tokens()["refresh_token"]
    stranger = factories.public_client(rp.app, client_name="Other")
    answer = be_at(rp, IN_LYON).token(grant_type="refresh_token", refresh_token=token, client_id=stranger.client_id)
    asserts.is_oauth_error(answer, "invalid_grant")
    assert lives(be_at(rp, IN_BERLIN), token)


def test_a_family_keeps_where_it_was_born(start: Callable[..., RelyingParty]) -> None:
    """Client class, session, coarse network, country and agent of the browser; never the address."""
    rp = start(PUBLIC | NATIVE)
    rp.tokens()
    with rp.app.app_context():
        row = db.session.execute(select(store._FAMILY)).one()
        of_token = db.session.execute(select(store._REFRESH)).one()
    assert (row.client_class, row.network, row.country, row.agent) == (
        "native", "192.0.2.0/24", "DE", "Firefox on Linux",
    )  # fmt: skip
    assert row.session_id
    assert (of_token.network, of_token.country, of_token.agent) == ("192.0.2.0/24", "DE", "okhttp")


def test_ten_thieves_at_once_get_nothing(start: Callable[..., RelyingParty]) -> None:
    """However many present it from elsewhere together, none gets a token, and the family ends once."""
    rp = start()
    token = rp.tokens()["refresh_token"]

    def steal() -> int:
        own = RelyingParty(rp.app, Browser(rp.app), rp.client)
        return be_at(own, IN_LYON).refresh(token).status_code

    assert at_once(*[steal] * 10) == [400] * 10
    assert len(asserts.events_of(rp.app, "family.ended")) == 1
