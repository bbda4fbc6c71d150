"""Where and how somebody signed in, as the account's pages say it; trusted browsers end one by one there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from tests.support import asserts, authenticator, factories
from tests.support.browser import Browser, Page
from tests.support.geo import AT_HOME, IN_BERLIN, IN_LYON
from tests.support.rp import RelyingParty
from tests.support.watched import HOUR, SAFARI, Travel, at, is_spared, server, trust_again, trusted

SECURITY, SESSIONS, EVENTS = "/account/security", "/account/sessions", "/account/security/events"


@pytest.fixture
def world(make_app: Callable[..., Flask], tmp_path: Path) -> Flask:
    """Return a server that knows where addresses are."""
    return server(make_app, tmp_path)


def rows(text: str) -> list[str]:
    """Return the text of each row of the page's table."""
    found = re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)[1:]
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row)) for row in found]


def test_a_session_says_how_and_where(world: Flask, in_a_while: Travel) -> None:
    """Browser and system, methods, address, country; the address is the one of the last use."""
    desk, phone = trusted(world, in_a_while)
    desk.sign_in(remember="1")
    mobile = at(world, AT_HOME, SAFARI)
    authenticator.answer(mobile, mobile.sign_in(), phone.code())
    page = asserts.is_page(mobile.get(SESSIONS), "account-sessions")
    newest, oldest = rows(page.text)
    for part in ("Safari on iPhone", "This browser", "Password, code", AT_HOME):
        assert part in newest
    for part in ("Firefox on Linux", "Password", IN_BERLIN, "Germany"):
        assert part in oldest
    assert "code" not in oldest
    in_a_while(HOUR / 2)
    desk.address = IN_LYON
    desk.get("/account")
    (moved,) = [row for row in rows(desk.get(SESSIONS).text) if "Firefox" in row]
    assert (IN_LYON in moved, "France" in moved, IN_BERLIN in moved) == (True, True, False)


def test_trusted_browsers_are_listed_and_end_one_by_one(world: Flask, in_a_while: Travel) -> None:
    """With their name, since when and until when; the other one stays trusted."""
    desk, phone = trusted(world, in_a_while)
    mobile = at(world, IN_BERLIN, SAFARI)
    trust_again(mobile, phone, in_a_while)
    desk.sign_in()
    page = asserts.is_page(desk.get(SECURITY), "account-security")
    for part in ("Firefox on Linux", "Safari on iPhone", "Germany", "Trusted since: ", "Trust none of them"):
        assert part in page.text
    assert page.text.count('value="forget_one"') == 2
    handles = re.findall(r'name="browser" value="([0-9a-f]{16})"', page.text)
    done = desk.post(SECURITY, {**page.inputs, "browser": handles[0], "decision": "forget_one"})
    assert (done.status_code, done.headers["Location"]) == (303, SECURITY)
    text = desk.get(SECURITY).text
    assert ("Safari on iPhone" in text, "Firefox on Linux" in text) == (False, True)
    assert (is_spared(mobile), is_spared(desk)) == (False, True)


def test_another_persons_browser_is_not_found(world: Flask, in_a_while: Travel) -> None:
    """Nor is one that is not trusted any more; nothing changes."""
    desk, _phone = trusted(world, in_a_while)
    desk.sign_in()
    (handle,) = re.findall(r'name="browser" value="([0-9a-f]{16})"', desk.get(SECURITY).text)
    factories.person(world, "ben@example.org", "Ben")
    ben = Browser(world)
    ben.sign_in(email="ben@example.org")
    for fields in ({"browser": handle}, {"browser": ""}, {}):
        inputs = Page(ben.get("/logout").text).inputs
        answer = ben.post(SECURITY, {**inputs, **fields, "decision": "forget_one"})
        asserts.is_error_page(answer, "not_found", 404)
    desk.sign_out()
    assert is_spared(desk)


def test_the_events_say_where(world: Flask, in_a_while: Travel) -> None:
    """A first sign-in somewhere is in the person's list, with browser and country in words."""
    at(world, IN_BERLIN).sign_in()
    away = at(world, IN_LYON, SAFARI)
    away.sign_in()
    found = rows(away.get(EVENTS).text)
    for what in (
        "A browser signed in for the first time",
        "Signed in from a country for the first time",
        "Signed in from far away, sooner than anybody travels",
        "Signed in",
    ):
        assert any(row.strip().startswith(what) and "Safari on iPhone, France" in row for row in found), what
    assert any("Firefox on Linux, Germany" in row for row in found)


def test_a_refused_app_is_in_the_events(world: Flask) -> None:
    """By its name; a phone that changes its network is not."""
    client = factories.public_client(world)
    rp = RelyingParty(world, at(world, IN_BERLIN), client)
    for address, status in ((AT_HOME, 200), (IN_LYON, 400)):
        rp.machine.environ_base = {**rp.machine.environ_base, "REMOTE_ADDR": IN_BERLIN}
        token = rp.tokens()["refresh_token"]
        rp.machine.environ_base = {**rp.machine.environ_base, "REMOTE_ADDR": address}
        assert rp.refresh(token).status_code == status
    found = [row for row in rows(rp.browser.get(EVENTS).text) if "two places" in row]
    assert len(found) == 1
    assert "Wiki" in found[0]
