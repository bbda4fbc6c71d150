"""The first administrator: a one-time link instead of a default password."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.access import roles
from auth_server.accounts import users
from auth_server.pages import setup
from tests.support import asserts, factories
from tests.support.browser import Browser

ADMIN = {"email": "ada@example.org", "name": "Ada", "password": factories.PASSWORD}


def link(app: Flask) -> str:
    """Return the path of a new set-up link."""
    url = factories.within(app, setup.make_link)
    assert url is not None
    assert url.startswith("http://localhost:8421/setup?token=")
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def fill_in(browser: Browser, path: str, **changed: str) -> TestResponse:
    return browser.submit(browser.get(path), path, **{**ADMIN, **changed})


def people(app: Flask) -> list[str]:
    return factories.within(app, lambda: [user.email for user in users.listing()])


@pytest.mark.parametrize(
    "path", ["/", "/login", "/account", "/account/sessions", "/recover", "/logout", "/oauth/authorize", "/nowhere"]
)
def test_every_page_leads_to_the_setup(app: Flask, path: str) -> None:
    """Without an administrator there is nothing else to see; with one the way is free."""
    response = Browser(app).get(path)
    assert (response.status_code, response.headers["Location"]) == (303, "/setup")
    factories.person(app, roles=["administrator"])
    assert Browser(app).get(path).headers.get("Location") != "/setup"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/.well-known/openid-configuration"])
def test_machines_are_answered_before_the_setup(app: Flask, path: str) -> None:
    """Probes and metadata do not wait for a person."""
    assert app.test_client().get(path).status_code == 200


def test_without_the_link_there_is_no_form(app: Flask) -> None:
    """The page says where the link is; posting without one creates nobody."""
    browser = Browser(app)
    page = asserts.is_page(browser.get("/setup"), "setup")
    assert "auth-server setup-link" in page.text
    assert "password" not in page.text
    login = browser.get("/login")
    assert login.status_code == 303
    token = asserts.is_page(browser.get(link(app)), "setup").inputs["csrf_token"]
    asserts.is_page(browser.post("/setup", {**ADMIN, "csrf_token": token}), "setup")
    asserts.is_page(browser.post("/setup", {**ADMIN, "csrf_token": token, "token": "guessed"}), "setup", 403)
    assert people(app) == []


def test_the_link_creates_the_administrator_and_signs_in(app: Flask) -> None:
    """One form, one administrator, signed in; the event is recorded."""
    browser = Browser(app)
    response = fill_in(browser, link(app))
    assert (response.status_code, response.headers["Location"]) == (303, "/account")
    asserts.is_page(browser.get("/account"), "account")
    user = factories.within(app, lambda: users.find_by_email("ada@example.org"))
    assert user is not None
    assert user.email_verified
    assert factories.within(app, lambda: roles.of_user(user.id)) == ("administrator",)
    assert [row.subject for row in asserts.events_of(app, "setup.completed")] == [user.id]


def test_afterwards_the_setup_is_not_found(app: Flask) -> None:
    """Neither the used nor a made-up link opens anything."""
    path = link(app)
    fill_in(Browser(app), path)
    for target in (path, "/setup", "/setup?token=x"):
        asserts.is_error_page(Browser(app).get(target), "not_found", 404)
    browser = Browser(app)
    asserts.is_error_page(browser.submit(browser.get("/login"), path, **ADMIN), "not_found", 404)
    assert factories.within(app, setup.make_link) is None
    assert people(app) == ["ada@example.org"]


def test_looking_at_the_link_does_not_use_it(app: Flask) -> None:
    """Mail scanners and reloads follow links; only the form counts."""
    path = link(app)
    for _ in range(3):
        asserts.is_page(Browser(app).get(path), "setup")
    assert fill_in(Browser(app), path).status_code == 303


def test_a_new_link_replaces_the_old_one(app: Flask) -> None:
    """`setup-link` makes a new one, and an old print-out is worthless."""
    old, new = link(app), link(app)
    page = asserts.is_page(Browser(app).get(old), "setup", 403)
    assert "That link is too old or was already used." in page.text
    assert fill_in(Browser(app), new).status_code == 303


def test_the_link_ends_after_a_day(app: Flask, in_a_while: Callable[[timedelta], None]) -> None:
    """A day later it is worth nothing; shortly before it works."""
    old = link(app)
    in_a_while(timedelta(hours=24, seconds=1))
    asserts.is_page(Browser(app).get(old), "setup", 403)
    new = link(app)
    in_a_while(timedelta(hours=23))
    assert fill_in(Browser(app), new).status_code == 303


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"password": "short"}, "at least 15"),
        ({"password": "x" * 1025}, "at most 1024"),
        ({"password": "ada@example.org", "email": "ada@example.org"}, "too easy"),
        ({"email": "nonsense"}, "not an e-mail address"),
        ({"email": ""}, "not an e-mail address"),
        ({"email": "a\x00@example.org"}, "not an e-mail address"),
        ({"name": "x" * 201}, "at most 200 characters"),
        ({"name": "nul\x00"}, "no control characters"),
    ],
)
def test_a_refused_form_is_shown_again_and_the_link_stays_good(app: Flask, changed: dict[str, str], words: str) -> None:
    """What was typed is kept but for the password, the mistake is named, nothing is written."""
    browser, path = Browser(app), link(app)
    response = fill_in(browser, path, **changed)
    page = asserts.is_page(response, "setup", 422)
    assert words in page.text
    assert changed.get("password", factories.PASSWORD) not in page.text.replace('value="ada@example.org"', "")
    assert people(app) == []
    assert browser.submit(response, path, **ADMIN).status_code == 303


def test_what_was_typed_is_shown_as_text(app: Flask) -> None:
    """Markup in a field comes back escaped."""
    page = fill_in(Browser(app), link(app), name='"><script>alert(1)</script>', email="x")
    assert "<script>alert(1)" not in page.text
    assert "&lt;script&gt;alert(1)" in page.text


def test_of_twenty_parallel_setups_one_wins(app: Flask) -> None:
    """One administrator, and nobody else: the losers leave no half-made account."""
    path = link(app)
    browsers = [Browser(app) for _ in range(20)]
    pages = [browser.get(path) for browser in browsers]
    statuses: list[int] = []

    def run(number: int) -> None:
        fields = {**ADMIN, "email": f"admin{number}@example.org"}
        statuses.append(browsers[number].submit(pages[number], path, **fields).status_code)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses.count(303) == 1
    assert set(statuses) <= {303, 400, 403, 404, 503}
    assert len(people(app)) == 1
    assert len(asserts.events_of(app, "setup.completed")) == 1
    assert [browser.get("/account").status_code for browser in browsers].count(200) == 1


def test_an_ordinary_account_is_no_administrator(app: Flask) -> None:
    """People made by command do not end the set-up; an administrator does."""
    factories.person(app, "ben@example.org")
    browser = Browser(app)
    assert browser.get("/login").headers["Location"] == "/setup"
    assert fill_in(browser, link(app)).status_code == 303


def test_a_taken_address_is_told_and_the_link_stays_good(app: Flask) -> None:
    """Somebody's account is not taken over by the set-up."""
    factories.person(app, "ada@example.org", password="another long password")
    browser, path = Browser(app), link(app)
    page = asserts.is_page(fill_in(browser, path), "setup", 422)
    assert "has an account already" in page.text
    assert fill_in(browser, path, email="admin@example.org").status_code == 303
