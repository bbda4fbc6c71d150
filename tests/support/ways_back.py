"""The ways back into an account, as the tests of attacks go them."""

from __future__ import annotations

from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from auth_server import config
from auth_server.accounts import users
from auth_server.tokens import recovery
from auth_server.tokens.recovery import Started
from tests.support import asserts, factories
from tests.support.browser import Browser

NEW = "a brand new long password"
BEN = "ben@example.org"
RESET, NOT_ME, RECOVERY, STOP = "/recover/reset", "/recover/not-me", "/recover/account", "/recover/stop"


def ask(browser: Browser, email: str = BEN) -> TestResponse:
    """Ask for a mail; return the page with the field for its code."""
    page = browser.get("/recover")
    answer = browser.submit(page, "/recover", email=email)
    assert answer.status_code == 303
    shown = browser.follow(answer)
    asserts.is_page(shown, "recover")
    return shown


def set_password(browser: Browser, path: str, password: str = NEW) -> TestResponse:
    return browser.submit(browser.get(path), path, password=password)


def works(app: Flask, password: str, email: str = BEN) -> bool:
    return Browser(app).sign_in(email=email, password=password).status_code == 303


def start(app: Flask, person: users.User, **options: Any) -> Started:
    return factories.within(app, lambda: recovery.start(users.find(person.id) or person, "passport", **options))


def path_of(url: str) -> str:
    return url.removeprefix(config.current().issuer)
