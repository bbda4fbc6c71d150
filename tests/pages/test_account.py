"""The account: where the person is signed in, and which apps may use the account."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.accounts import sessions, users
from auth_server.clients.client import Client
from tests.support import asserts, factories
from tests.support.browser import Browser, Page
from tests.support.rp import RelyingParty

SESSIONS, APPS = "/account/sessions", "/account/apps"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def session_ids(app: Flask, user: users.User) -> list[str]:
    return factories.within(app, lambda: [row.id for row in sessions.listing(user.id)])


def signed_in(app: Flask, email: str = "ada@example.org") -> Browser:
    browser = Browser(app)
    assert browser.sign_in(email=email).status_code == 303
    return browser


def send(browser: Browser, path: str, **fields: Any) -> TestResponse:
    """Post with this browser's own token."""
    token = Page(browser.get("/logout").text).inputs["csrf_token"]
    return browser.post(path, {"csrf_token": token, **fields})


def is_in(browser: Browser) -> bool:
    return browser.get("/account").status_code == 200


@pytest.mark.parametrize("path", ["/account", SESSIONS, APPS])
def test_only_signed_in_people_see_the_account(browser: Browser, path: str) -> None:
    """A stranger signs in first; a form is not even looked at."""
    assert browser.get(path).headers["Location"].startswith("/login?next=")
    token = Page(browser.get("/login").text).inputs["csrf_token"]
    posted = browser.post(path, {"csrf_token": token, "decision": "end_others"})
    assert posted.status_code in (303, 405)
    browser.sign_in()
    assert browser.get(path).status_code == 200


def test_the_pages_are_marked(browser: Browser) -> None:
    """The pages' markers."""
    browser.sign_in()
    asserts.is_page(browser.get("/account"), "account")
    asserts.is_page(browser.get(SESSIONS), "account-sessions")
    asserts.is_page(browser.get(APPS), "account-apps")


def test_the_person_sees_each_browser(app: Flask, ada: users.User, ben: users.User) -> None:
    """Kind, address, times, and which one is this; nobody else's."""
    here, there = Browser(app, "192.0.2.7"), Browser(app, "192.0.2.8")
    here.sign_in()
    fields = {"email": "ada@example.org", "password": factories.PASSWORD, **Page(there.get("/login").text).inputs}
    there.post("/login", fields, headers={"User-Agent": FIREFOX})
    signed_in(app, "ben@example.org")
    text = asserts.is_page(here.get(SESSIONS), "account-sessions").text
    assert "Firefox on Linux" in text
    assert "192.0.2.7" in text
    assert "192.0.2.8" in text
    assert text.count("This browser") == 1
    assert text.count('name="session"') == 1
    assert not any(session_id in text for session_id in session_ids(app, ben))


def test_one_session_can_be_ended(app: Flask, ada: users.User) -> None:
    """That browser is out at once, the others stay."""
    here, there, third = signed_in(app), signed_in(app), signed_in(app)
    page = here.get(SESSIONS)
    chosen = Page(page.text).inputs["session"]
    response = here.submit(page, SESSIONS, decision="end")
    assert (response.status_code, response.headers["Location"]) == (303, SESSIONS)
    assert chosen not in session_ids(app, ada)
    assert is_in(here)
    assert [is_in(there), is_in(third)].count(True) == 1
    assert [row.session for row in asserts.events_of(app, "session.ended")] == [chosen]


def test_all_others_can_be_ended(app: Flask, ada: users.User, ben: users.User) -> None:
    """Only this browser stays, and other people's."""
    here, there, third, bens = signed_in(app), signed_in(app), signed_in(app), signed_in(app, "ben@example.org")
    assert send(here, SESSIONS, decision="end_others").status_code == 303
    assert [is_in(browser) for browser in (here, there, third, bens)] == [True, False, False, True]


def test_somebody_elses_session_is_not_found(app: Flask, ada: users.User, ben: users.User) -> None:
    """Like an unknown one: 404, and nothing ends."""
    here, bens = signed_in(app), signed_in(app, "ben@example.org")
    (foreign,) = session_ids(app, ben)
    for chosen in (foreign, "unknown", "", "\x00", "'"):
        asserts.is_error_page(send(here, SESSIONS, decision="end", session=chosen), "not_found", 404)
    assert is_in(bens)
    (own,) = session_ids(app, ada)
    assert send(here, SESSIONS, decision="end", session=own).status_code == 303
    assert not is_in(here)


@pytest.mark.parametrize("path", [SESSIONS, APPS])
@pytest.mark.parametrize("decision", ["", "nonsense", "logout"])
def test_a_form_without_a_known_decision_is_refused(browser: Browser, path: str, decision: str) -> None:
    """400, and everything stays; the button's own value is taken."""
    browser.sign_in()
    asserts.is_error_page(send(browser, path, decision=decision), "invalid_request")
    assert is_in(browser)
    assert send(browser, SESSIONS, decision="end_others").status_code == 303


def second_app(rp: RelyingParty) -> RelyingParty:
    client, secret = factories.client(rp.app, client_name="Chat")
    return RelyingParty(rp.app, rp.browser, client, secret)


def test_connected_apps_are_shown_in_words(rp: RelyingParty, app: Flask) -> None:
    """What was allowed, in the words of the consent page, and where the app lives."""
    assert "No apps yet" in signed_in(app).get(APPS).text
    rp.tokens()
    text = asserts.is_page(rp.browser.get(APPS), "account-apps").text
    for words in ("Wiki", "wiki.example.org", "See your e-mail address", "Stay connected when you are away"):
        assert words in text
    assert "offline_access" not in text


def test_a_first_party_app_is_shown_too(rp: RelyingParty, app: Flask) -> None:
    """Nobody was asked, yet it holds tokens: it can be seen and disconnected."""
    client, secret = factories.client(app, client_name="House app", first_party=True)
    house = RelyingParty(app, rp.browser, client, secret)
    tokens = house.tokens()
    assert "House app" in rp.browser.get(APPS).text
    send(rp.browser, APPS, decision="disconnect", app=client.client_id)
    assert "House app" not in rp.browser.get(APPS).text
    asserts.is_oauth_error(house.refresh(tokens["refresh_token"]), "invalid_grant")


def test_one_app_can_be_disconnected(rp: RelyingParty) -> None:
    """Its tokens end and it must ask again; the other app notices nothing."""
    chat = second_app(rp)
    wikis, chats = rp.tokens(), chat.tokens()
    response = send(rp.browser, APPS, decision="disconnect", app=rp.client.client_id)
    assert (response.status_code, response.headers["Location"]) == (303, APPS)
    assert rp.userinfo(wikis["access_token"]).status_code == 401
    asserts.is_oauth_error(rp.refresh(wikis["refresh_token"]), "invalid_grant")
    assert chat.userinfo(chats["access_token"]).status_code == 200
    assert chat.refresh(chats["refresh_token"]).status_code == 200
    asserts.is_page(rp.browser.follow(rp.authorize()), "consent")
    assert "Chat" in rp.browser.get(APPS).text
    assert [row.client_id for row in asserts.events_of(rp.app, "app.disconnected")] == [rp.client.client_id]


def test_all_apps_can_be_disconnected(rp: RelyingParty) -> None:
    """Every app of this person, the person stays signed in."""
    chat = second_app(rp)
    wikis, chats = rp.tokens(), chat.tokens()
    assert send(rp.browser, APPS, decision="disconnect_all").status_code == 303
    assert rp.userinfo(wikis["access_token"]).status_code == 401
    assert chat.userinfo(chats["access_token"]).status_code == 401
    assert "No apps yet" in rp.browser.get(APPS).text


def test_what_another_person_connected_is_not_found(
    rp: RelyingParty, app: Flask, ben: users.User, wiki: tuple[Client, str]
) -> None:
    """Ben cannot disconnect Ada's app, nor one that does not exist."""
    tokens = rp.tokens()
    bens = signed_in(app, "ben@example.org")
    for chosen in (wiki[0].client_id, "unknown", "", "\x00"):
        asserts.is_error_page(send(bens, APPS, decision="disconnect", app=chosen), "not_found", 404)
    asserts.is_error_page(send(bens, APPS, decision="disconnect_all"), "not_found", 404)
    assert rp.userinfo(tokens["access_token"]).status_code == 200
    assert rp.refresh(tokens["refresh_token"]).status_code == 200


def test_fields_that_nobody_asked_for_change_nothing(rp: RelyingParty, app: Flask, ben: users.User) -> None:
    """A form cannot name another person."""
    bens = signed_in(app, "ben@example.org")
    rp.browser.sign_in()
    response = send(rp.browser, SESSIONS, decision="end_others", user_id=ben.id, user=ben.id, id=ben.id)
    assert response.status_code == 303
    assert is_in(bens)


def test_names_with_markup_are_text(app: Flask) -> None:
    """The person's, the app's and the browser's name are escaped."""
    evil = '"><script>alert(1)</script>'
    factories.person(app, "ada@example.org", evil, roles=["administrator"])
    client, secret = factories.client(app, client_name=evil)
    rp = RelyingParty(app, Browser(app), client, secret)
    rp.tokens()
    for path in ("/account", SESSIONS, APPS, "/logout"):
        text = rp.browser.get(path).text
        assert "<script>alert(1)" not in text
        assert re.search(r"&lt;script&gt;|ada@example\.org", text)
