"""Trusted browsers: for how long, where, for whom, and how the trust ends (MF-09)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from auth_server.accounts import browsers, users
from auth_server.tokens import ending
from tests.support import asserts, authenticator, factories
from tests.support.browser import Browser
from tests.support.database import dump
from tests.support.geo import AT_HOME, IN_BERLIN, IN_BERLIN_TOO, IN_LYON
from tests.support.watched import HOUR, SAFARI, Travel, at, is_spared, server, trust_again, trusted

MakeApp = Callable[..., Flask]
DAY = timedelta(days=1)


@pytest.fixture
def world(make_app: MakeApp, tmp_path: Path) -> Flask:
    """Return a server that knows where addresses are, and only records a new country."""
    return server(make_app, tmp_path, watch_new_country="record")


def ada(app: Flask) -> users.User:
    with app.app_context():
        found = users.find_by_email("ada@example.org")
    assert found
    return found


def listed(app: Flask) -> list[browsers.Trusted]:
    user = ada(app)
    return factories.within(app, lambda: browsers.trusted(user.id))


def test_trust_ends_after_its_time(world: Flask, in_a_while: Travel) -> None:
    """Thirty days, unless set shorter."""
    browser, _phone = trusted(world, in_a_while)
    in_a_while(29 * DAY)
    assert is_spared(browser)
    in_a_while(DAY)
    assert not is_spared(browser)
    assert listed(world) == []


def test_a_shorter_time_counts_for_trust_given_before(make_app: MakeApp, tmp_path: Path, in_a_while: Travel) -> None:
    """The operator's new rule holds at once, for the page as well."""
    browser, _phone = trusted(server(make_app, tmp_path), in_a_while)
    app = server(make_app, tmp_path, trusted_browser_ttl=7 * DAY)
    browser.app, browser.client.application = app, app
    (found,) = listed(app)
    assert found.until - found.since == 7 * DAY
    in_a_while(6 * DAY)
    assert len(listed(app)) == 1
    in_a_while(DAY)
    assert listed(app) == []


def test_trust_is_not_given_where_it_is_not_offered(make_app: MakeApp, tmp_path: Path, in_a_while: Travel) -> None:
    """`TRUSTED_BROWSER_TTL=0`: no box on the page, and a form that ticks it all the same is not believed."""
    app = server(make_app, tmp_path, trusted_browser_ttl=timedelta(0))
    browser = at(app, IN_BERLIN)
    browser.sign_in()
    phone, _codes = authenticator.set_up(browser)
    browser.sign_out()
    in_a_while(timedelta(seconds=31))
    assert 'name="trust_device"' not in browser.follow(browser.sign_in()).text
    trust_again(browser, phone, in_a_while)
    assert not is_spared(browser)
    assert asserts.events_of(app, "browser.trusted") == []


def test_trust_ends_in_another_country(world: Flask, in_a_while: Travel) -> None:
    """For good: at home the code is asked for again too. Another network of the same country changes nothing."""
    browser, _phone = trusted(world, in_a_while)
    browser.address = IN_BERLIN_TOO
    assert is_spared(browser)
    in_a_while(5 * HOUR)
    browser.address = IN_LYON
    assert not is_spared(browser)
    assert asserts.events_of(world, "browser.trust_ended")[-1].data == {"count": 1, "cause": "new_country"}
    browser.address = IN_BERLIN
    assert not is_spared(browser)


@pytest.mark.parametrize(("given", "used"), [(AT_HOME, IN_LYON), (IN_BERLIN, AT_HOME)])
def test_an_unknown_country_is_not_another_one(world: Flask, in_a_while: Travel, given: str, used: str) -> None:
    """Nobody is asked more often because the file is incomplete."""
    browser, _phone = trusted(world, in_a_while, given)
    in_a_while(5 * HOUR)
    browser.address = used
    assert is_spared(browser)


def test_trust_is_of_one_account(world: Flask, in_a_while: Travel) -> None:
    """The same browser, another person: asked (MF-09); a copy of the cookie elsewhere is the same browser."""
    browser, _phone = trusted(world, in_a_while)
    factories.person(world, "ben@example.org", "Ben")
    browser.sign_in(email="ben@example.org")
    authenticator.set_up(browser)
    browser.sign_out()
    assert browser.sign_in(email="ben@example.org").headers["Location"].startswith("/login/mfa")
    assert is_spared(browser)


def test_the_cookie_is_not_in_the_database(world: Flask, in_a_while: Travel) -> None:
    """Only its digest is: a copy of the database is not a trusted browser."""
    browser, _phone = trusted(world, in_a_while)
    cookie = browser.cookie("auth_server_browser")
    assert cookie
    assert cookie not in str(dump(world))


def test_trusted_browsers_end_one_by_one(world: Flask, in_a_while: Travel) -> None:
    """Each keeps its name and since when; a foreign or unknown handle ends nothing."""
    first, phone = trusted(world, in_a_while)
    second = at(world, IN_BERLIN, SAFARI)
    trust_again(second, phone, in_a_while)
    newest, oldest = listed(world)
    assert (newest.since > oldest.since, newest.country) == (True, "DE")
    assert ("iPhone" in newest.user_agent, "Firefox" in oldest.user_agent) == (True, True)
    user, other = ada(world), factories.person(world, "ben@example.org", "Ben")
    for user_id, handle in ((other.id, newest.handle), (user.id, "0" * 16), (user.id, "")):
        assert not factories.within(world, lambda u=user_id, h=handle: browsers.forget_one(u, h))
    assert factories.within(world, lambda: browsers.forget_one(user.id, newest.handle))
    assert asserts.events_of(world, "browser.trust_ended")[-1].data == {"count": 1, "cause": "taken_back"}
    assert (is_spared(first), is_spared(second)) == (True, False)


def test_what_ends_everything_ends_the_trust(world: Flask, in_a_while: Travel) -> None:
    """ "This wasn't me", a reset, a changed password: asked for again; recorded when there was trust to end."""
    browser, _phone = trusted(world, in_a_while)
    user = ada(world)
    for _time in range(2):
        factories.within(world, lambda: ending.sign_out_everywhere(user.id, "not_me"))
    assert not is_spared(browser)
    assert len(asserts.events_of(world, "browser.trust_ended")) == 1


def test_a_browser_that_only_typed_a_password_is_not_known(app: Flask, browser: Browser, in_a_while: Travel) -> None:
    """It becomes known with the finished sign-in."""
    browser.sign_in()
    authenticator.set_up(browser)
    stranger = Browser(app)
    stranger.sign_in()
    assert len(dump(app)["known_browser"]) == 1
