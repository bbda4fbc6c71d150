"""Nobody learns from an answer whether an address has an account, or what kind: status, headers and body are the same.

How long answers take is compared by a benchmark (`python -m benchmarks enumeration`), because no test asks for a time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.accounts import users
from tests.support import asserts, authenticator, factories
from tests.support.authenticator import Authenticator
from tests.support.browser import Browser
from tests.support.factories import PASSWORD
from tests.support.sameness import Seen, normalised

Travel = Callable[[timedelta], None]
Try = Callable[[Browser, str], TestResponse]
KINDS = ("unknown", "disabled", "passwordless", "unverified", "protected")
TRIES_UNTIL_THROTTLED = 7


def try_to_sign_in(browser: Browser, email: str) -> TestResponse:
    return browser.sign_in(email=email, password="a wrong password")


def try_to_sign_in_once_more(browser: Browser, email: str) -> TestResponse:
    """The form of the page that a failed try has answered with."""
    return browser.sign_in(email=email, password="a wrong password", failed="1")


def try_to_sign_in_again(browser: Browser, email: str) -> TestResponse:
    """The page that asks for a fresh sign-in."""
    page = browser.get("/login?fresh=1&next=/account/security")
    return browser.submit(page, "/login", email=email, password="a wrong password")


CASES: dict[str, Try] = {
    "sign-in": try_to_sign_in,
    "second sign-in": try_to_sign_in_once_more,
    "fresh sign-in": try_to_sign_in_again,
}
"""What a stranger may do with an address; each gets the browser and the address, and returns the answer."""


@pytest.fixture
def people(app: Flask, ada: users.User) -> None:
    """Ada is the known one; beside her one person of each kind."""
    for kind in KINDS[1:]:
        password = None if kind == "passwordless" else PASSWORD
        user = factories.person(app, f"{kind}@example.org", password=password, verified=kind != "unverified")
        if kind == "disabled":
            factories.within(app, lambda user=user: users.disable(users.find(user.id) or user))
    browser = Browser(app)
    browser.sign_in(email="protected@example.org")
    authenticator.set_up(browser)


def answers(app: Flask, case: str, email: str, address: str) -> list[Seen]:
    """Return what a stranger sees, try after try, until the limit and beyond."""
    browser = Browser(app, address)
    return [normalised(CASES[case](browser, email), email) for _try in range(TRIES_UNTIL_THROTTLED)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_account_gets_the_same_answers(app: Flask, people: None, case: str, kind: str) -> None:
    """Before the limit and beyond it: unknown, disabled, without a password, unverified, with a second factor."""
    known = answers(app, case, "ada@example.org", "203.0.113.1")
    other = answers(app, case, f"{kind}@example.org", "203.0.113.2")
    assert known == other
    assert [status for status, _body, _headers in known] == [401] * 5 + [429] * 2


def test_what_is_compared_can_differ(app: Flask, people: None) -> None:
    """The twin: a right password, another status, header or word is seen."""
    wrong = normalised(Browser(app, "203.0.113.1").sign_in(password="wrong"), "ada@example.org")
    right = normalised(Browser(app, "203.0.113.2").sign_in(), "ada@example.org")
    assert wrong != right
    assert wrong != normalised(Browser(app, "203.0.113.3").get("/login"), "ada@example.org")
    again = try_to_sign_in_once_more(Browser(app, "203.0.113.4"), "ada@example.org")
    assert wrong != normalised(again, "ada@example.org")  # the way back in is offered


@pytest.mark.parametrize("kind", ["disabled", "passwordless"])
def test_the_right_password_of_who_may_not_sign_in_is_a_wrong_one(app: Flask, people: None, kind: str) -> None:
    """Whoever knows it learns nothing about the account."""
    email = f"{kind}@example.org"
    wrong = normalised(
        Browser(app, "203.0.113.1").sign_in(email="ada@example.org", password="wrong"), "ada@example.org"
    )
    assert normalised(Browser(app, "203.0.113.2").sign_in(email=email, password=PASSWORD), email) == wrong


@pytest.mark.usefixtures("still_clock")  # an answer may say how many seconds to wait
def test_the_second_step_does_not_tell_why_a_code_is_wrong(app: Flask, people: None, in_a_while: Travel) -> None:
    """A used code, an old one, a number, a wrong recovery code's kind: one sentence; and no account is named."""
    browser = Browser(app)
    browser.sign_in(email="ada@example.org")
    phone, codes = authenticator.set_up(browser)
    used = phone.code()
    browser.sign_out()
    seen = [second_step(app, number, code) for number, code in enumerate((used, phone.code(-9), "000000", "x", ""))]
    assert seen == [seen[0]] * 5
    assert "ada@example.org" not in seen[0][1]
    assert "Ada" not in seen[0][1]
    recovery = [second_step(app, number, code, "recovery") for number, code in ((10, "x"), (11, "ABCDE-" * 5))]
    assert recovery[0][1:] == recovery[1][1:]
    in_a_while(timedelta(minutes=16))
    assert authenticator.answer(browser, browser.sign_in(), phone.code()).status_code == 303
    assert len(codes) == 10


def second_step(app: Flask, number: int, code: str, method: str = "app") -> Seen:
    """Send one code from a browser that is new to Ada's account."""
    browser = Browser(app, f"203.0.113.{number}")
    page = browser.follow(browser.sign_in())
    answer = browser.submit(page, "/login/mfa", code=code, method=method)
    pending = asserts.is_page(page, "mfa").inputs["pending"]
    return normalised(answer, pending)


def test_a_waiting_sign_in_of_others_looks_like_none(app: Flask, people: None, in_a_while: Travel) -> None:
    """Made up, somebody else's, over: one page, whoever it belongs to."""
    owner = Browser(app)
    place = owner.sign_in(email="protected@example.org").headers["Location"]
    stranger = Browser(app)
    stranger.get("/login")
    handle = asserts.is_page(owner.get(place), "mfa").inputs["pending"]
    foreign = normalised(stranger.get(place), handle)
    made_up = normalised(stranger.get(place.replace(handle, "x" * 43)), "x" * 43)
    assert foreign == made_up
    in_a_while(timedelta(minutes=11))
    assert normalised(stranger.get(place), handle) == foreign
    assert foreign[0] == 400


def test_guesses_at_the_second_step_are_limited_alike(app: Flask, people: None) -> None:
    """Five, then 429 with the time to wait: also for whom the right code would have let in."""
    browser = Browser(app)
    browser.sign_in()
    phone: Authenticator = authenticator.set_up(browser)[0]
    seen = [second_step(app, number, "000000") for number in range(5)]
    assert [status for status, *_rest in seen] == [401] * 5
    beyond = [second_step(app, 6, "000000"), second_step(app, 7, phone.code(1))]
    assert [status for status, *_rest in beyond] == [429, 429]
    assert beyond[0][1] == beyond[1][1]
