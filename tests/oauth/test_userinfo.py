"""Userinfo: what granted scopes release about the person, and no more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from auth_server.accounts import users
from auth_server.tokens import ending
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.rp import RelyingParty, bearer, payload

STANDARD = {
    "name": "Eve Example",
    "family_name": "Example",
    "given_name": "Eve",
    "middle_name": "M",
    "nickname": "evie",
    "preferred_username": "eve",
    "profile": "https://eve.example.org",
    "picture": "https://eve.example.org/eve.png",
    "website": "https://eve.example.org/www",
    "gender": "female",
    "birthdate": "1990-01-01",
    "zoneinfo": "Europe/Paris",
    "locale": "fr-FR",
    "address": {"country": "France", "locality": "Paris"},
    "phone_number": "+33 1 55 55 01 00",
    "phone_number_verified": True,
}
EVERY_SCOPE = "openid profile email address phone groups roles offline_access"


@pytest.fixture
def eve(app: Flask, browser: Browser) -> RelyingParty:
    """Return an app that may ask everything, with Eve's tokens to come."""
    factories.group(app, "staff")
    held = {name: value for name, value in STANDARD.items() if name != "name"} | {"department": "R&D", "updated": "x"}
    factories.person(app, "eve@example.org", "Eve Example", groups=["staff"], roles=["auditor"], claims=held)
    return RelyingParty(app, browser, *factories.client(app, scope=EVERY_SCOPE))


def told(rp: RelyingParty, scope: str) -> dict[str, object]:
    """Return what userinfo says with these scopes."""
    answer = rp.userinfo(rp.tokens(email="eve@example.org", scope=scope)["access_token"])
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    return dict(answer.json)


def test_each_scope_releases_its_claims(eve: RelyingParty) -> None:
    """OpenID Connect Core §5.4; the operator's own claims come with `profile`."""
    assert set(told(eve, "openid")) == {"sub"}
    assert set(told(eve, "openid email")) == {"sub", "email", "email_verified"}
    assert told(eve, "openid address")["address"] == STANDARD["address"]
    assert set(told(eve, "openid phone")) == {"sub", "phone_number", "phone_number_verified"}
    assert told(eve, "openid groups")["groups"] == ["staff"]
    assert told(eve, "openid roles")["roles"] == ["auditor"]
    profile = told(eve, "openid profile")
    assert profile["department"] == "R&D"
    for name in set(STANDARD) - {"address", "phone_number", "phone_number_verified"}:
        assert profile[name] == STANDARD[name]
    assert isinstance(profile["updated_at"], int)
    assert not {"email", "address", "phone_number", "groups", "roles"} & set(profile)


def test_userinfo_and_id_token_agree(eve: RelyingParty) -> None:
    """The same person, the same words (OpenID Connect Core §5.3.2)."""
    tokens = eve.tokens(email="eve@example.org", scope=EVERY_SCOPE)
    said = eve.userinfo(tokens["access_token"]).json
    assert said.items() <= payload(tokens["id_token"]).items()


def test_an_access_token_carries_no_more_than_it_must(eve: RelyingParty) -> None:
    """No name, no address: the API asks userinfo where it needs them (RFC 9068 §6)."""
    claims = payload(eve.tokens(email="eve@example.org", scope="openid profile email address phone")["access_token"])
    allowed = {"iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope", "sid", "fam", "auth_time", "acr", "amr"}
    assert set(claims) == allowed | {"status"}


def test_post_is_answered_like_get(rp: RelyingParty) -> None:
    """By header or, for POST, in the form (OpenID Connect Core §5.3.1)."""
    token = rp.tokens()["access_token"]
    by_get = rp.userinfo(token).json
    assert rp.machine.post("/oauth/userinfo", headers=bearer(token)).json == by_get
    assert rp.machine.post("/oauth/userinfo", data={"access_token": token}).json == by_get


def test_the_subject_outlives_every_change(rp: RelyingParty, ada: users.User) -> None:
    """`sub` is a random UUID: a new address does not change it; a new account never has an old one's."""
    token = rp.tokens()["access_token"]
    assert rp.userinfo(token).json["sub"] == ada.id

    def move() -> None:
        user = users.find(ada.id)
        assert user is not None
        users.change(user, email="countess@example.org")

    factories.within(rp.app, move)
    said = rp.userinfo(token).json
    assert (said["sub"], said["email"], said["email_verified"]) == (ada.id, "countess@example.org", False)
    again = factories.person(rp.app, "ada@example.org", "Another Ada")
    assert again.id != ada.id


def test_an_address_is_verified_only_when_it_was(app: Flask, browser: Browser) -> None:
    """`email_verified` is never true by itself (CVE-2026-27946)."""
    factories.person(app, "mallory@example.org", "Mallory", verified=False, claims={"locale": "en"})
    rp = RelyingParty(app, browser, *factories.client(app))
    tokens = rp.tokens(email="mallory@example.org")
    assert rp.userinfo(tokens["access_token"]).json["email_verified"] is False
    assert payload(tokens["id_token"])["email_verified"] is False
    assert rp.userinfo(RelyingParty(app, Browser(app), rp.client, rp.secret).tokens()["access_token"]).json[
        "email_verified"
    ]


def test_without_openid_there_is_no_userinfo(rp: RelyingParty) -> None:
    """The token is not meant for it."""
    for scope in ("email", "profile email"):
        answer = rp.userinfo(rp.tokens(scope=scope)["access_token"])
        asserts.is_oauth_error(answer, "invalid_token", 401)
    assert rp.userinfo(rp.tokens(scope="openid")["access_token"]).status_code == 200


@pytest.mark.parametrize("end", ["disable_user", "delete_user"])
def test_somebody_who_is_gone_is_not_told_about(rp: RelyingParty, ben: users.User, end: str) -> None:
    """401 at once (CVE-2026-1609)."""
    own = RelyingParty(rp.app, Browser(rp.app), rp.client, rp.secret)
    token = own.tokens(email="ben@example.org")["access_token"]
    assert own.userinfo(token).status_code == 200
    act: Callable[[users.User], None] = getattr(ending, end)

    def gone() -> None:
        user = users.find(ben.id)
        assert user is not None
        act(user)

    factories.within(rp.app, gone)
    asserts.is_oauth_error(own.userinfo(token), "invalid_token", 401)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_do_not_exist(rp: RelyingParty, method: str) -> None:
    """405 in JSON."""
    answer = rp.machine.open("/oauth/userinfo", method=method, headers=bearer(rp.tokens()["access_token"]))
    asserts.is_oauth_error(answer, "invalid_request", 405)
