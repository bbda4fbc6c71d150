"""How the tests of the sign-up ask for an account, and end the way to it."""

from __future__ import annotations

from flask import Flask
from werkzeug.test import TestResponse

from auth_server.accounts import users
from tests.support import factories
from tests.support.browser import Browser
from tests.support.factories import PASSWORD

GRACE = {"email": "grace@example.org", "name": "Grace Hopper"}
FINISH, SENT = "/signup/finish", "/signup/sent"


def ask(browser: Browser, path: str = "/signup", **changed: str) -> TestResponse:
    return browser.submit(browser.get(path), "/signup", **{**GRACE, **changed})


def asked(browser: Browser, **changed: str) -> TestResponse:
    """Ask for an account and return the page that says where the mail went."""
    response = ask(browser, **changed)
    assert response.status_code == 303, response.text
    return browser.get(response.headers["Location"])


def finish(browser: Browser, path: str, **changed: str) -> TestResponse:
    return browser.submit(browser.get(path), FINISH, **{"name": GRACE["name"], "password": PASSWORD, **changed})


def people(app: Flask) -> list[str]:
    return factories.within(app, lambda: [user.email for user in users.listing()])


def found(app: Flask, email: str) -> users.User:
    user = factories.within(app, lambda: users.find_by_email(email))
    assert user is not None
    return user
