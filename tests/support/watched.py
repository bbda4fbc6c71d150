"""People who sign in from several places, on a server that knows where those are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from flask import Flask

from auth_server.accounts import users
from tests.support import authenticator, factories, geo
from tests.support.authenticator import Authenticator
from tests.support.browser import Browser, Page

Travel = Callable[[timedelta], None]
MakeApp = Callable[..., Flask]
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile Safari/604.1"
HOUR = timedelta(hours=1)


def server(make_app: MakeApp, folder: Path, places: Any = geo.PLACES, **settings: Any) -> Flask:
    """Return an application with a file of places, with Ada in it."""
    app = make_app(geoip_file=geo.write(folder / "places.mmdb", places), **settings)
    with app.app_context():
        known = users.find_by_email("ada@example.org")
    if known is None:
        factories.person(app, "ada@example.org", "Ada Lovelace", roles=["administrator"])
    return app


def at(app: Flask, address: str, agent: str = FIREFOX) -> Browser:
    """Return a new browser there."""
    return Browser(app, address, agent)


def trusted(app: Flask, in_a_while: Travel, address: str = geo.IN_BERLIN) -> tuple[Browser, Authenticator]:
    """Return a browser that Ada trusts, signed out, and her phone, whose next code is unused."""
    browser = at(app, address)
    browser.sign_in()
    phone, _codes = authenticator.set_up(browser)
    trust_again(browser, phone, in_a_while)
    assert is_spared(browser)
    return browser, phone


def trust_again(browser: Browser, phone: Authenticator, in_a_while: Travel) -> None:
    browser.sign_out()
    in_a_while(timedelta(seconds=31))
    assert authenticator.answer(browser, browser.sign_in(), phone.code(), trust_device="1").status_code == 303
    browser.sign_out()
    in_a_while(timedelta(seconds=31))


def is_spared(browser: Browser) -> bool:
    """Sign in with the password; tell whether that was enough. Nobody is signed in at the browser afterwards."""
    location = browser.sign_in().headers["Location"]
    if location.startswith("/login/mfa"):
        return False
    assert Page(browser.get("/account").text).marker == "account"
    browser.sign_out()
    return True
