"""What is unusual about a sign-in, and what that does: recorded, asked for the second factor, everything else ended."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from auth_server.accounts import users
from auth_server.values import Rate
from tests.support import asserts, authenticator, factories
from tests.support.browser import Browser
from tests.support.geo import (
    AT_HOME,
    IN_BERLIN,
    IN_BERLIN_TOO,
    IN_LYON,
    IN_TOKYO,
    PLACES,
    without_places,
    write,
)
from tests.support.rp import RelyingParty
from tests.support.watched import FIREFOX, HOUR, SAFARI, Travel, at, is_spared, server, trusted

MakeApp = Callable[..., Flask]
NEW_DEVICE, NEW_COUNTRY = "sign_in.new_device", "sign_in.new_country"
TRAVEL, MOVED, TRUST_ENDED = "sign_in.impossible_travel", "session.moved", "browser.trust_ended"
AMERICA = {
    "192.0.2.0/24": {"country": {"iso_code": "US"}, "location": {"latitude": 40.7, "longitude": -74.0}},
    "203.0.113.0/24": {"country": {"iso_code": "US"}, "location": {"latitude": 34.0, "longitude": -118.2}},
}
IN_NEW_YORK, IN_LOS_ANGELES = IN_BERLIN, IN_LYON


@pytest.fixture
def world(make_app: MakeApp, tmp_path: Path) -> Flask:
    """Return a server that knows where addresses are."""
    return server(make_app, tmp_path)


def sign_in(browser: Browser, **fields: str) -> Browser:
    assert browser.sign_in(**fields).headers["Location"] == "/account"
    return browser


def ada_of(app: Flask) -> str:
    with app.app_context():
        user = users.find_by_email("ada@example.org")
    assert user
    return user.id


def counts(app: Flask) -> dict[str, int]:
    """Return how many of each signal were recorded."""
    found = {name: len(asserts.events_of(app, name)) for name in (NEW_DEVICE, NEW_COUNTRY, TRAVEL)}
    return {name: count for name, count in found.items() if count}


def test_the_first_sign_in_is_not_unusual(world: Flask) -> None:
    """Nor is the next one with the same browser from the same place."""
    browser = sign_in(at(world, IN_BERLIN))
    browser.sign_out()
    sign_in(browser)
    assert counts(world) == {}


def test_a_new_device_is_recorded_once(world: Flask) -> None:
    """With what lets the person recognise it; the address is coarse there."""
    sign_in(at(world, IN_BERLIN))
    phone = sign_in(at(world, IN_BERLIN_TOO, SAFARI))
    phone.sign_out()
    sign_in(phone)
    (row,) = asserts.events_of(world, NEW_DEVICE)
    assert (row.subject, row.result) == (ada_of(world), "success")
    about = {"browser": "Safari on iPhone", "country": "DE", "network": "198.51.100.0/24"}
    assert row.data == {"action": "record", **about}
    assert counts(world) == {NEW_DEVICE: 1}


def test_a_new_device_of_somebody_else_is_not_mine(world: Flask) -> None:
    """Each account knows its own browsers."""
    factories.person(world, "ben@example.org", "Ben")
    browser = sign_in(at(world, IN_BERLIN))
    browser.sign_out()
    sign_in(browser, email="ben@example.org")
    assert counts(world) == {}


def test_a_country_is_new_once(world: Flask, in_a_while: Travel) -> None:
    """Whoever goes to and fro is told of the other country the first time."""
    browser = at(world, IN_BERLIN)
    for address in (IN_BERLIN, IN_LYON, IN_BERLIN, IN_LYON, AT_HOME, IN_LYON):
        browser.address = address
        sign_in(browser).sign_out()
        in_a_while(2 * HOUR)
    (row,) = asserts.events_of(world, NEW_COUNTRY)
    assert (row.data["country"], row.data["action"]) == ("FR", "second_factor")
    assert counts(world) == {NEW_COUNTRY: 1}


def test_without_a_file_there_are_no_countries(app: Flask, ada: users.User) -> None:
    """Browsers are told apart all the same."""
    sign_in(at(app, IN_BERLIN))
    sign_in(at(app, IN_TOKYO))
    assert counts(app) == {NEW_DEVICE: 1}
    (row,) = asserts.events_of(app, NEW_DEVICE)
    assert (row.data["country"], row.data["network"]) == ("", "2001:db8:7::/48")


def test_the_first_day_with_a_file_frightens_nobody(make_app: MakeApp, tmp_path: Path, in_a_while: Travel) -> None:
    """Countries that were never looked up are not new; from then on they are known."""
    plain = make_app()
    factories.person(plain, "ada@example.org", "Ada Lovelace", roles=["administrator"])
    browser = sign_in(at(plain, AT_HOME))
    browser.sign_out()
    app = server(make_app, tmp_path)
    sign_in(at(app, IN_BERLIN)).sign_out()
    in_a_while(2 * HOUR)
    assert counts(app) == {NEW_DEVICE: 1}
    sign_in(at(app, IN_LYON))
    assert counts(app) == {NEW_DEVICE: 2, NEW_COUNTRY: 1}


@pytest.mark.parametrize(
    ("places", "there", "after", "is_noticed"),
    [
        (PLACES, IN_TOKYO, HOUR, True),
        (PLACES, IN_TOKYO, 10 * HOUR, False),
        (PLACES, IN_LYON, 0.5 * HOUR, True),
        (PLACES, IN_LYON, HOUR, False),
        (PLACES, IN_BERLIN_TOO, timedelta(0), False),
        (PLACES, AT_HOME, timedelta(0), False),
        (without_places(), IN_LYON, 0.9 * HOUR, True),
        (without_places(), IN_LYON, 1.1 * HOUR, False),
        (AMERICA, IN_LOS_ANGELES, 2 * HOUR, True),
        (AMERICA, IN_LOS_ANGELES, 4 * HOUR, False),
    ],
)
def test_nobody_travels_faster_than_an_aeroplane(
    make_app: MakeApp, tmp_path: Path, in_a_while: Travel, places: Any, there: str, after: timedelta, is_noticed: bool
) -> None:
    """Berlin to Tokyo takes nine hours at 1000 km/h; with countries alone, one hour lies between two of them."""
    app = server(make_app, tmp_path, places)
    sign_in(at(app, IN_BERLIN)).sign_out()
    in_a_while(after)
    sign_in(at(app, there))
    assert (TRAVEL in counts(app)) == is_noticed


def test_travel_is_measured_from_the_last_use(world: Flask, in_a_while: Travel) -> None:
    """Not from the last sign-in: the session at home was used an hour ago."""
    home = sign_in(at(world, IN_BERLIN), remember="1")
    in_a_while(20 * HOUR)
    home.get("/account")
    in_a_while(HOUR)
    sign_in(at(world, IN_TOKYO))
    assert TRAVEL in counts(world)


@pytest.mark.parametrize(("setting", "is_asked"), [("second_factor", True), ("end_all", True), ("record", False)])
def test_impossible_travel_asks_a_trusted_browser_again(
    make_app: MakeApp, tmp_path: Path, in_a_while: Travel, setting: str, is_asked: bool
) -> None:
    """In the same country too; `record` lets it through. Once the code is shown, no browser is trusted any more."""
    app = server(make_app, tmp_path, AMERICA, watch_impossible_travel=setting)
    browser, phone = trusted(app, in_a_while, IN_NEW_YORK)
    browser.address = IN_LOS_ANGELES
    assert is_spared(browser) is not is_asked
    if is_asked:
        assert authenticator.answer(browser, browser.sign_in(), phone.code()).status_code == 303
        assert asserts.events_of(app, TRUST_ENDED)[-1].data == {"count": 1, "cause": "impossible_travel"}
        browser.sign_out()
        in_a_while(10 * HOUR)
        assert not is_spared(browser)
    assert TRAVEL in counts(app)


def test_a_new_country_ends_the_trust_everywhere(world: Flask, in_a_while: Travel) -> None:
    """Safe default: whoever has the password and is elsewhere must show the code, and the desk at home as well."""
    desk, phone = trusted(world, in_a_while)
    in_a_while(5 * HOUR)
    authenticator.answer(away := at(world, IN_LYON), away.sign_in(), phone.code())
    assert asserts.events_of(world, TRUST_ENDED)[-1].data == {"count": 1, "cause": "new_country"}
    assert not is_spared(desk)


def test_a_new_country_may_just_be_recorded(make_app: MakeApp, tmp_path: Path, in_a_while: Travel) -> None:
    """The twin: another browser's sign-in leaves the desk at home alone."""
    app = server(make_app, tmp_path, watch_new_country="record")
    desk, phone = trusted(app, in_a_while)
    in_a_while(5 * HOUR)
    authenticator.answer(away := at(app, IN_LYON), away.sign_in(), phone.code())
    assert counts(app) == {NEW_DEVICE: 1, NEW_COUNTRY: 1}
    in_a_while(5 * HOUR)
    assert is_spared(desk)


@pytest.mark.parametrize(("setting", "ends"), [("end_all", True), ("second_factor", False)])
def test_a_new_device_may_end_everything_else(make_app: MakeApp, setting: str, ends: bool) -> None:
    """Sessions and families of before, offline ones too; the sign-in itself goes on."""
    app = make_app(watch_new_device=setting)
    factories.person(app, "ada@example.org", "Ada Lovelace", roles=["administrator"])
    rp = RelyingParty(app, Browser(app), *factories.client(app))
    tokens = rp.tokens()
    newcomer = sign_in(at(app, IN_BERLIN))
    assert newcomer.get("/account").status_code == 200
    assert rp.browser.get("/account").status_code == (303 if ends else 200)
    assert rp.refresh(tokens["refresh_token"]).status_code == (400 if ends else 200)
    newcomer.sign_out()
    sign_in(newcomer)
    assert counts(app) == {NEW_DEVICE: 1}


@pytest.mark.parametrize(("setting", "is_kept"), [("second_factor", False), ("record", True)])
def test_a_recovery_code_ends_the_trust(
    make_app: MakeApp, tmp_path: Path, in_a_while: Travel, setting: str, is_kept: bool
) -> None:
    """The phone may be in other hands, and the trusted browser beside it."""
    app = server(make_app, tmp_path, watch_recovery_code=setting)
    first = sign_in(at(app, IN_BERLIN))
    phone, codes = authenticator.set_up(first)
    first.sign_out()
    in_a_while(timedelta(seconds=31))
    authenticator.answer(first, first.sign_in(), phone.code(), trust_device="1")
    other = at(app, IN_BERLIN)
    form = other.get(other.sign_in().headers["Location"].replace("method=app", "method=recovery"))
    assert other.submit(form, "/login/mfa", code=codes[0]).status_code == 303
    first.sign_out()
    assert is_spared(first) is is_kept


@pytest.mark.parametrize(("setting", "is_kept"), [("second_factor", False), ("record", True)])
def test_throttling_may_end_the_trust(
    make_app: MakeApp, tmp_path: Path, in_a_while: Travel, setting: str, is_kept: bool
) -> None:
    """By default not: any stranger can cause it."""
    app = server(make_app, tmp_path, watch_throttled=setting, login_rate_limit=Rate(2, HOUR))
    browser, _phone = trusted(app, in_a_while)
    stranger = at(app, IN_LYON)
    assert [stranger.sign_in(password="wrong").status_code for _try in range(3)] == [401, 401, 429]
    unknown = at(app, IN_TOKYO)
    assert [unknown.sign_in(email="nobody@example.org").status_code for _try in range(3)] == [401, 401, 429]
    assert is_spared(browser) is is_kept


def test_a_reused_refresh_token_ends_the_trust(world: Flask, in_a_while: Travel) -> None:
    """A theft that showed is a risk for everything of the person."""
    browser, _phone = trusted(world, in_a_while)
    rp = RelyingParty(world, browser, *factories.client(world))
    tokens = rp.tokens()
    browser.sign_out()
    assert rp.refresh(tokens["refresh_token"]).status_code == 200
    assert is_spared(browser)
    assert rp.refresh(tokens["refresh_token"]).status_code == 400
    assert not is_spared(browser)


def test_a_session_that_moves_is_recorded_once_and_lives(world: Flask) -> None:
    """The same cookie from another network and another kind of browser (SE-12)."""
    browser = sign_in(at(world, IN_BERLIN), remember="1")
    browser.address, browser.agent = IN_LYON, SAFARI
    assert [browser.get("/account").status_code for _time in range(3)] == [200] * 3
    (row,) = asserts.events_of(world, MOVED)
    assert row.subject == ada_of(world)
    assert row.data == {
        "browser": "Safari on iPhone",
        "browser_before": "Firefox on Linux",
        "country": "FR",
        "country_before": "DE",
        "network": "203.0.113.0/24",
    }


@pytest.mark.parametrize(
    ("address", "agent"),
    [(IN_LYON, FIREFOX), (IN_BERLIN, SAFARI), (IN_LYON, FIREFOX.replace("140", "141"))],
)
def test_a_phone_that_changes_its_network_has_not_moved(world: Flask, address: str, agent: str) -> None:
    """Nor has a browser that was updated, or another view of it in the same place."""
    browser = sign_in(at(world, IN_BERLIN))
    browser.address, browser.agent = address, agent
    assert browser.get("/account").status_code == 200
    assert asserts.events_of(world, MOVED) == []


@pytest.mark.parametrize(("most", "living"), [(2, 2), (0, 4), (1, 1)])
def test_one_session_too_many_ends_the_oldest(make_app: MakeApp, in_a_while: Travel, most: int, living: int) -> None:
    """`MAX_SESSIONS` (SE-13); 0 is no limit. The newest ones live, and nobody else's end."""
    app = make_app(max_sessions=most)
    factories.person(app, "ada@example.org", "Ada Lovelace", roles=["administrator"])
    factories.person(app, "ben@example.org", "Ben")
    neighbour = sign_in(Browser(app), email="ben@example.org")
    browsers = []
    for _number in range(4):
        browsers.append(sign_in(Browser(app)))
        in_a_while(timedelta(seconds=5))
    assert [browser.get("/account").status_code for browser in browsers] == [303] * (4 - living) + [200] * living
    assert neighbour.get("/account").status_code == 200
    ended = asserts.events_of(app, "session.ended")
    assert [row.data["cause"] for row in ended] == ["too_many"] * (4 - living)


def test_a_file_with_odd_rows_disturbs_no_sign_in(make_app: MakeApp, tmp_path: Path) -> None:
    """What the file says is believed only in its form."""
    app = server(make_app, tmp_path, {"192.0.2.0/24": {"country": {"iso_code": "<b>"}}})
    sign_in(at(app, IN_BERLIN))
    write(tmp_path / "places.mmdb", {})
    sign_in(at(app, IN_BERLIN))
    assert counts(app) == {NEW_DEVICE: 1}
