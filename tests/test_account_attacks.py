"""Attacks on people's accounts: what is planted, raced, flooded, or left over from before.

Each test does what somebody hostile would do over HTTP; beside it stands the same act by whoever may do it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from flask import Flask

from tests.support import asserts, authenticator
from tests.support.authenticator import SECURITY
from tests.support.browser import Browser

Travel = Callable[[timedelta], None]
ADA, BEN, GRACE = "ada@example.org", "ben@example.org", "grace@example.org"
NEW, THIEFS = "a brand new long password", "the thief's own long password"
LATE = timedelta(minutes=11)


def test_a_key_that_a_thief_has_begun_with_is_never_shown_to_the_owner(app: Flask, browser: Browser) -> None:
    """A set-up that was begun in one sign-in cannot be ended in another: whoever began it knows the key."""
    thief, owner = Browser(app), Browser(app)
    thief.sign_in()
    planted = authenticator.begin(thief)
    owner.sign_in()
    page = owner.get(f"{SECURITY}/app")
    confirmed = owner.submit(page, f"{SECURITY}/app", decision="confirm", code=planted.code())
    for shown in (page, confirmed):
        asserts.is_page(shown, "account-app")
        assert 'id="key"' not in shown.text
    phone, codes = authenticator.set_up(owner)
    assert phone.code(1) != planted.code(1)
    assert len(codes) == 10
    assert authenticator.answer(browser, browser.sign_in(), phone.code(1)).status_code == 303
