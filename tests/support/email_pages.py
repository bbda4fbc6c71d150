"""What the tests of the page of the address share."""

from __future__ import annotations

from flask import Flask
from werkzeug.test import TestResponse

from auth_server.accounts import users
from tests.support import factories
from tests.support.browser import Browser

PATH, CHANGE, CONFIRM, UNDO = "/account/email", "/account/email/change", "/account/email/confirm", "/recover/email"
OLD, NEW = "ben@example.org", "benjamin@example.org"


def again(app: Flask, user: users.User) -> users.User:
    return factories.within(app, lambda: factories.again(user))


def ask(browser: Browser, email: str = NEW) -> TestResponse:
    """Ask for another address, and return the page that takes the code."""
    response = browser.submit(browser.get(CHANGE), CHANGE, email=email)
    assert response.status_code == 303, response.text
    return browser.get(response.headers["Location"])


def confirm(browser: Browser, path: str) -> TestResponse:
    return browser.submit(browser.get(path), CONFIRM)
