"""The end of an account by its owner: asked twice, complete, and never the last administrator's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from flask import Flask

from auth_server.access import roles
from auth_server.accounts import users
from auth_server.pages import recover
from tests.support import asserts, authenticator, factories
from tests.support.browser import Browser
from tests.support.database import dump
from tests.support.factories import PASSWORD
from tests.support.rp import RelyingParty
from tests.support.site import at_once

DELETE = "/account/delete"


@pytest.fixture
def bens(app: Flask, ada: users.User, ben: users.User) -> Browser:
    """Return the browser of somebody who is no administrator."""
    browser = Browser(app)
    browser.sign_in("ben@example.org")
    return browser


def test_it_says_what_will_happen(app: Flask, bens: Browser) -> None:
    """Apps by name, browsers by number, what stays; looking changes nothing."""
    client, secret = factories.client(app, client_name="Wiki <b>")
    RelyingParty(app, bens, client, secret).tokens(email="ben@example.org")
    Browser(app).sign_in("ben@example.org")
    before = asserts.rows(app)
    text = asserts.is_page(bens.get(DELETE), "account-delete").text
    for words in (
        "cannot be undone",
        "Wiki &lt;b&gt;",
        "signed out in 2 browsers",
        "a random number",
        "ben@example.org",
    ):
        assert words in text, words
    assert 'value="ben@example.org"' not in text
    assert asserts.rows(app) == before


def test_everything_ends(app: Flask, bens: Browser, ben: users.User) -> None:
    """Account, sessions, tokens, links and the cookie are gone; the record stays under the random id alone."""
    rp = RelyingParty(app, bens, *factories.client(app))
    tokens = rp.tokens(email="ben@example.org")
    authenticator.set_up(bens)
    link = factories.within(app, lambda: recover.make_link(users.find(ben.id) or ben))
    elsewhere = RelyingParty(app, Browser(app), rp.client, rp.secret)
    done = bens.submit(bens.get(DELETE), DELETE, email=" BEN@example.org ")
    asserts.is_page(done, "done")
    assert "Your account is deleted" in done.text
    assert bens.cookie("auth_server") is None
    assert bens.get("/account").headers["Location"].startswith("/login?next=")
    assert elsewhere.userinfo(tokens["access_token"]).status_code == 401
    asserts.is_oauth_error(elsewhere.refresh(tokens["refresh_token"]), "invalid_grant")
    asserts.is_error_page(bens.get(link), "flow_expired")
    assert bens.sign_in("ben@example.org").status_code == 401
    (row,) = asserts.events_of(app, "user.deleted")
    assert (row.subject, row.actor, row.actor_kind) == (ben.id, ben.id, "person")
    left = {name: rows for name, rows in dump(app).items() if any("ben@example.org" in line for line in rows)}
    assert left == {}
    named = {name for name, rows in dump(app).items() if any(ben.id in line for line in rows)}
    assert named <= {
        "audit_event",
        "family",
        "outbox",
    }  # a family is kept until its last token has expired, a letter until it arrives
    assert factories.person(app, "ben@example.org").id != ben.id


@pytest.mark.parametrize("typed", ["", "ada@example.org", "ben@example.or", "yes", "\x00", "ben@example.org,"])
def test_a_wrong_address_changes_nothing(app: Flask, bens: Browser, typed: str) -> None:
    """422; the right one is taken afterwards."""
    page = bens.get(DELETE)
    before = asserts.rows(app)
    refused = bens.submit(page, DELETE, email=typed)
    asserts.is_page(refused, "account-delete", 422)
    assert "This is not the address of this account." in refused.text
    assert asserts.rows(app) == before
    assert bens.get("/account").status_code == 200
    asserts.is_page(bens.submit(page, DELETE, email="ben@example.org"), "done")


def test_the_last_administrator_stays(app: Flask, browser: Browser, ada: users.User, ben: users.User) -> None:
    """The page says why and has no form; a form that is sent anyway is refused. With another one, it works."""
    browser.sign_in()
    token = asserts.is_page(browser.get("/account/profile"), "account-profile").inputs["csrf_token"]
    page = asserts.is_page(browser.get(DELETE), "account-delete")
    assert "You are the last administrator here." in page.text
    assert 'name="email"' not in page.text
    before = asserts.rows(app)
    fields = {"csrf_token": token, "email": "ada@example.org"}
    refused = asserts.is_page(browser.post(DELETE, fields), "account-delete", 422)
    assert "You are the last administrator here." in refused.text
    assert asserts.rows(app) == before
    factories.within(app, lambda: roles.put(ben.id, [roles.ADMINISTRATOR]))
    asserts.is_page(browser.post(DELETE, fields), "done")
    assert factories.within(app, roles.has_administrator)


def test_of_two_administrators_at_once_one_stays(app: Flask, ada: users.User) -> None:
    """Each counts on the other; one is refused."""
    factories.person(app, "grace@example.org", roles=["administrator"])
    browsers = {email: Browser(app) for email in ("ada@example.org", "grace@example.org")}
    pages = {}
    for email, browser in browsers.items():
        browser.sign_in(email)
        pages[email] = browser.get(DELETE)
    statuses = at_once(
        *(
            lambda email=email: browsers[email].submit(pages[email], DELETE, email=email).status_code
            for email in browsers
        )
    )
    assert sorted(statuses) == [200, 422]
    assert factories.within(app, roles.has_administrator)


def test_of_ten_at_once_one_deletes(app: Flask, bens: Browser) -> None:
    """However often the button is pressed, it happened once."""
    others = [Browser(app) for _ in range(9)]
    for other in others:
        other.sign_in("ben@example.org")
    browsers = [bens, *others]
    pages = [browser.get(DELETE) for browser in browsers]
    statuses = at_once(
        *(
            lambda browser=browser, page=page: browser.submit(page, DELETE, email="ben@example.org").status_code
            for browser, page in zip(browsers, pages, strict=True)
        )
    )
    assert 200 in statuses
    assert set(statuses) <= {200, 303, 404}
    assert len(asserts.events_of(app, "user.deleted")) == 1
    assert factories.within(app, users.count) == 1


def test_an_operator_may_keep_it_to_administrators(make_app: Callable[..., Flask]) -> None:
    """SELF_DELETE=off: no link, no page, and a form does nothing; the profile says whom to ask."""
    app = make_app(self_delete="off")
    factories.person(app, roles=["administrator"])
    factories.person(app, "ben@example.org")
    browser = Browser(app)
    browser.sign_in("ben@example.org")
    page = browser.get("/account/profile")
    assert DELETE not in page.text
    assert "Only an administrator" in page.text
    asserts.is_error_page(browser.get(DELETE), "not_found", 404)
    asserts.is_error_page(browser.submit(page, DELETE, email="ben@example.org"), "not_found", 404)
    assert browser.get("/account").status_code == 200


def test_it_needs_a_fresh_sign_in_and_keeps_what_was_typed(
    bens: Browser, in_a_while: Callable[[timedelta], None]
) -> None:
    """The form comes back filled in, and says so; nothing has happened meanwhile (USR-23)."""
    page = bens.get(DELETE)
    in_a_while(timedelta(minutes=10, seconds=1))
    asked = bens.submit(page, DELETE, email="ben@example.org")
    parts = urlsplit(asked.headers["Location"])
    assert (asked.status_code, parts.path) == (303, "/login")
    assert unquote(parse_qs(parts.query)["next"][0]).startswith(f"{DELETE}?email=ben@example.org&kept=")
    back = bens.submit(bens.follow(asked), "/login", email="ben@example.org", password=PASSWORD)
    page = bens.follow(back)
    asserts.is_page(page, "account-delete")
    assert "What you typed is still here." in page.text
    assert 'value="ben@example.org"' in page.text
    asserts.is_page(bens.submit(page, DELETE, email="ben@example.org"), "done")


def test_a_link_from_elsewhere_fills_nothing_in(app: Flask, bens: Browser, ada: users.User) -> None:
    """Only what this browser has typed comes back; another's seal, or none, is worth nothing."""
    for query in ("email=ben@example.org", "email=ben@example.org&kept=", "email=ben@example.org&kept=" + "0" * 64):
        page = bens.get(f"{DELETE}?{query}")
        asserts.is_page(page, "account-delete")
        assert 'value="ben@example.org"' not in page.text
        assert "still here" not in page.text
