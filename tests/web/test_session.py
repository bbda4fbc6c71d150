"""`current_user` over our own session rows."""

from __future__ import annotations

from collections.abc import Callable

import flask_login
from flask import Flask

from auth_server.accounts import users
from tests.support import factories
from tests.support.browser import Browser
from tests.support.database import dump
from tests.support.rp import RelyingParty


def test_current_user_is_who_is_signed_in(make_app: Callable[..., Flask]) -> None:
    """Flask-Login's proxy and `login_required` see our session, and nobody without one."""
    app = make_app()
    factories.person(app, roles=["administrator"])

    def who() -> str:
        user = flask_login.current_user
        return f"{user.email} {user.name} {user.get_id()}" if user.is_authenticated else "nobody"

    app.add_url_rule("/who", "who", who)
    app.add_url_rule("/private", "private", flask_login.login_required(who))
    browser = Browser(app)
    assert browser.get("/who").text == "nobody"
    assert browser.get("/private").status_code == 401
    browser.sign_in()
    assert browser.get("/who").text.startswith("ada@example.org Ada Lovelace ")
    assert browser.get("/private").status_code == 200
    browser.sign_out()
    assert browser.get("/who").text == "nobody"


def test_looking_changes_nothing(rp: RelyingParty, app: Flask, ada: users.User) -> None:
    """Every address by GET, signed in, with what its form would send: the database is as before."""
    rp.tokens()
    rp.browser.get("/account")
    before = dump(app)
    query = "decision=logout&decision=end_others&decision=disconnect_all&email=ada@example.org&password=x&token=x"
    paths = [rule.rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ()) and "<" not in rule.rule]
    paths += [path for path, methods in app.extensions["machines"].routes.items() if "GET" in methods]
    assert len(paths) > 10
    for path in paths:
        assert rp.browser.get(f"{path}?{query}").status_code < 500, path
        assert rp.browser.client.head(path, base_url="http://localhost:8421").status_code < 500, path
    after = dump(app)
    assert {name: set(after[name]) ^ set(before[name]) for name in after if after[name] != before[name]} == {}
    assert rp.browser.get("/account").status_code == 200
