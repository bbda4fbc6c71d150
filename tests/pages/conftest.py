"""What the tests of several pages begin with."""

from __future__ import annotations

import pytest
from flask import Flask

from auth_server.accounts import users
from tests.support import authenticator, passkey
from tests.support.browser import Browser
from tests.support.email_pages import OLD
from tests.support.passkey import Passkey


@pytest.fixture
def key(browser: Browser) -> Passkey:
    """Ada has a passkey on her device; her browser is signed out again."""
    browser.sign_in()
    made, shown = passkey.add(browser)
    browser.recovery_codes = authenticator.codes_on(shown)  # type: ignore[attr-defined]
    browser.sign_out()
    return made


@pytest.fixture
def bens(app: Flask, browser: Browser, ben: users.User) -> Browser:
    """Return a browser where Ben is signed in."""
    browser.sign_in(OLD)
    return browser
