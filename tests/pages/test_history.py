"""What happened in the account, in words, and "this wasn't me"."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from flask import Flask

from auth_server.accounts import users
from auth_server.infra.events import FAILURES, Event
from auth_server.pages import history, recover
from tests.support import asserts, authenticator, factories
from tests.support.browser import Browser
from tests.support.database import dump
from tests.support.factories import PASSWORD
from tests.support.rp import RelyingParty

EVENTS = "/account/security/events"


def test_it_says_in_words_what_happened(app: Flask, browser: Browser, rp: RelyingParty) -> None:
    """Sign-ins and wrong tries with their address, apps by name; nothing of anybody else."""
    Browser(app, address="203.0.113.9").sign_in(password="wrong")
    Browser(app, address="203.0.113.9").sign_in(email="ben@example.org", password="wrong")
    rp.tokens()
    authenticator.set_up(browser)
    page = browser.get(EVENTS)
    asserts.is_page(page, "account-events")
    for part in ("Signed in", "Wrong password", "203.0.113.9", "App allowed", "Wiki", "Authenticator app set up"):
        assert part in page.text
    assert page.text.count("Wrong password") == 1
    assert page.text.index("Authenticator app set up") < page.text.index("Wrong password")
    assert "token.issued" not in page.text


def test_it_reaches_back_90_days(browser: Browser, ben: users.User, in_a_while: Callable[[timedelta], None]) -> None:
    browser.sign_in(email=ben.email, password="wrong")
    in_a_while(timedelta(days=91))
    browser.sign_in(email=ben.email)
    page = browser.get(EVENTS).text
    assert ("Wrong password" in page, "Signed in" in page) == (False, True)


def test_what_an_operator_did_is_said(app: Flask, browser: Browser, ada: users.User) -> None:
    factories.within(app, lambda: recover.make_link(ada))
    browser.sign_in()
    page = browser.get(EVENTS).text
    assert "Link made that sets a new password" in page
    assert "by an operator" in page


def test_every_refusal_of_a_person_has_words(app: Flask) -> None:
    """Of the failures, those of a person's own proofs and of what an app did with theirs are shown."""
    with app.test_request_context():
        shown = set(history._words())
    of_machines = {
        *(Event.AUTHORIZATION_REFUSED, Event.TOKEN_REFUSED, Event.REGISTRATION_REFUSED),
        *(Event.CLIENT_AUTHENTICATION_FAILED, Event.INTROSPECTION_REFUSED),
        *(Event.DELIVERY_FAILED, Event.DELIVERY_GIVEN_UP),
    }
    assert shown >= FAILURES - of_machines


def test_this_was_not_me_ends_everything(app: Flask, browser: Browser, rp: RelyingParty, ada: users.User) -> None:
    """It asks first; then sessions, families, links and trust are gone, and the way leads to a new password."""
    tokens = rp.tokens()
    thief = Browser(app)
    thief.sign_in()
    link = factories.within(app, lambda: recover.make_link(ada))
    asked = browser.submit(browser.get(EVENTS), EVENTS, decision="ask")
    asserts.is_page(asked, "account-confirm")
    assert browser.get("/account").status_code == 200
    done = browser.submit(asked, EVENTS, decision="confirm")
    asserts.is_page(done, "done")
    assert browser.get("/account").status_code == thief.get("/account").status_code == 303
    assert rp.refresh(tokens["refresh_token"]).status_code == 400
    assert rp.userinfo(tokens["access_token"]).status_code == 401
    asserts.is_error_page(browser.get(link), "flow_expired")
    assert dump(app)["session"] == []
    page = browser.get("/login?next=/account/security/password")
    back = browser.submit(page, "/login", email="ada@example.org", password=PASSWORD)
    assert back.headers["Location"] == "/account/security/password"


def test_an_odd_decision_changes_nothing(browser: Browser) -> None:
    browser.sign_in()
    page = browser.get(EVENTS)
    asserts.is_error_page(browser.submit(page, EVENTS, decision="maybe"), "invalid_request")
    assert browser.get("/account").status_code == 200
