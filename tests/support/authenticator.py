"""An authenticator app: reads the key from the page, as a person would type it, and shows codes."""

from __future__ import annotations

import re
import time

import pyotp
from werkzeug.test import TestResponse

from tests.support import asserts
from tests.support.browser import Browser

SECURITY = "/account/security"
STEP_SECONDS = 30


class Authenticator:
    """A phone with one key."""

    def __init__(self, key: str) -> None:
        self._totp = pyotp.TOTP(key.replace(" ", ""))

    def code(self, steps: int = 0) -> str:
        """Return the code of now, or of so many steps later; each is good once."""
        return self._totp.generate_otp(int(time.time()) // STEP_SECONDS + steps)


def begin(browser: Browser) -> Authenticator:
    """Press the button and read the key; nothing is on yet."""
    page = asserts.is_page(browser.get(SECURITY), "account-security")
    browser.post(f"{SECURITY}/app", {**page.inputs, "decision": "begin"})
    return Authenticator(key_on(browser.get(f"{SECURITY}/app")))


def key_on(response: TestResponse) -> str:
    found = re.search(r'<code id="key"[^>]*>([A-Z2-7 ]+)</code>', response.text)
    assert found, response.text
    return found[1]


def set_up(browser: Browser) -> tuple[Authenticator, list[str]]:
    """Switch the app on for whoever is signed in; return it with the recovery codes. Uses up the code of now."""
    app = begin(browser)
    shown = browser.submit(browser.get(f"{SECURITY}/app"), f"{SECURITY}/app", decision="confirm", code=app.code())
    return app, codes_on(shown)


def codes_on(response: TestResponse) -> list[str]:
    asserts.is_page(response, "account-codes")
    found = re.search(r'<pre id="codes"[^>]*>(.*?)</pre>', response.text, re.DOTALL)
    assert found, response.text
    return found[1].split()


def answer(browser: Browser, response: TestResponse, code: str, **fields: str) -> TestResponse:
    """Follow a sign-in to its second step and send a code."""
    page = browser.follow(response)
    asserts.is_page(page, "mfa")
    return browser.submit(page, "/login/mfa", code=code, **fields)
