"""What the tests of the authorization endpoint share."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from werkzeug.test import TestResponse

from tests.support.browser import Browser
from tests.support.factories import PASSWORD


def flow_of(response: TestResponse) -> str:
    """Return the local URL of the waiting request that a redirect to the login page carries."""
    return parse_qs(urlsplit(response.headers["Location"]).query)["next"][0]


def leads_to_login(response: TestResponse) -> bool:
    return response.status_code == 303 and response.headers["Location"].startswith("/login?next=%2Foauth%2Fauthorize")


def sign_in(browser: Browser, at: TestResponse, email: str = "ada@example.org") -> TestResponse:
    """Sign in on the login page and follow where it leads."""
    return browser.follow(browser.submit(at, "/login", email=email, password=PASSWORD))
