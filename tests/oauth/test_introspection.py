"""Introspection: for the API that a token is meant for and the client that holds it; everybody else learns nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from auth_server.access import apis
from auth_server.access.apis import Api
from auth_server.accounts import users
from auth_server.keys import keyring
from auth_server.tokens import ending
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.factories import ORDERS
from tests.support.rp import RelyingParty, basic, payload

Travel = Callable[[timedelta], None]
INACTIVE = b'{"active":false}'


@pytest.fixture
def orders(app: Flask) -> tuple[Api, str]:
    """Return an API and the secret of its credentials."""
    return factories.api(app)


@pytest.fixture
def shop(app: Flask, browser: Browser, orders: tuple[Api, str]) -> RelyingParty:
    """Return an app that uses the API."""
    return RelyingParty(app, browser, *factories.client(app, scope="openid email orders:read offline_access"))


def of(api: tuple[Api, str]) -> dict[str, str]:
    """Return the credentials of an API."""
    return basic(api[0].client_id, api[1])


def test_the_api_learns_what_it_needs(shop: RelyingParty, orders: tuple[Api, str], ada: users.User) -> None:
    """RFC 7662 §2.2: who, for whom, how long, with which scopes; not to be stored."""
    token = shop.tokens(scope="openid orders:read")["access_token"]
    response = shop.post("/oauth/introspect", {"token": token}, headers=of(orders))
    claims = payload(token)
    assert response.headers["Cache-Control"] == "no-store"
    found = response.json
    assert found["active"] is True
    assert (found["sub"], found["client_id"], found["scope"]) == (ada.id, shop.client.client_id, "openid orders:read")
    assert (found["iss"], found["token_type"]) == ("http://localhost:8421", "Bearer")
    for name in ("aud", "exp", "iat", "jti", "sid", "auth_time", "acr", "amr"):
        assert found[name] == claims[name]
    assert "fam" not in found
    assert not {"email", "name"} & set(found)


def test_the_holder_may_ask_too(shop: RelyingParty) -> None:
    """The confidential client that a token was issued to."""
    assert shop.introspect(shop.tokens()["access_token"])["active"] is True


def test_strangers_learn_nothing(shop: RelyingParty, orders: tuple[Api, str]) -> None:
    """Another API and another client get the bare answer (CVE-2026-37979)."""
    stock = factories.api(shop.app, "https://stock.example.org", scopes={"stock:read": "See the stock"})
    other, secret = factories.client(shop.app, scope="openid orders:read")
    tokens = shop.tokens(scope="openid orders:read offline_access")
    for token in (tokens["access_token"], tokens["refresh_token"], tokens["id_token"]):
        for headers in (of(stock), basic(other.client_id, secret)):
            response = shop.post("/oauth/introspect", {"token": token}, headers=headers)
            assert (response.status_code, response.data) == (200, INACTIVE)
    assert shop.introspect(tokens["access_token"], headers=of(orders))["active"]


def test_a_token_for_no_api_is_not_meant_for_one(shop: RelyingParty, orders: tuple[Api, str]) -> None:
    """The audience decides, not the client's registration."""
    token = shop.tokens(scope="openid")["access_token"]
    assert shop.introspect(token, headers=of(orders)) == {"active": False}
    assert shop.introspect(token)["active"]


def test_everything_inactive_looks_the_same(shop: RelyingParty, orders: tuple[Api, str], in_a_while: Travel) -> None:
    """Unknown, malformed, cut, of another kind, expired: the same bytes (RFC 7662 §2.2)."""
    code = shop.code(scope="openid orders:read")
    tokens = shop.exchange(code).json
    header, body, signature = tokens["access_token"].split(".")
    dead = [code, tokens["id_token"], "x", "a.b.c", "..", "é", "x" * 8000, tokens["access_token"][:-1]]
    dead += [
        f"{header}.{body}.",
        f"{header}.{body}.{signature[::-1]}",
        f"{header}.{body}",
        tokens["access_token"] + ".",
    ]
    dead += [tokens["refresh_token"][:-1], " " + tokens["access_token"], "\\", '"']
    for token in dead:
        response = shop.post("/oauth/introspect", {"token": token}, headers=of(orders))
        assert (response.status_code, response.data) == (200, INACTIVE), token[:60]
    assert shop.introspect(tokens["access_token"], headers=of(orders))["active"]
    in_a_while(timedelta(minutes=15))
    expired = shop.post("/oauth/introspect", {"token": tokens["access_token"]}, headers=of(orders))
    assert (expired.status_code, expired.data) == (200, INACTIVE)


def test_a_refresh_token_is_never_taken_for_an_access_token(shop: RelyingParty, orders: tuple[Api, str]) -> None:
    """Only its holder learns of it, with its own type (ASVS 9.2.2)."""
    token = shop.tokens(scope="openid orders:read offline_access")["refresh_token"]
    assert shop.introspect(token, headers=of(orders)) == {"active": False}
    found = shop.introspect(token)
    assert (found["active"], found["token_type"]) == (True, "refresh_token")
    assert found["exp"] > 0
    shop.refresh(token)
    assert shop.introspect(token) == {"active": False}


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "unheard_of", "", "é", '"'])
def test_hints_change_nothing(shop: RelyingParty, hint: str) -> None:
    """Wrong and unknown ones are ignored (RFC 7662 §2.1)."""
    tokens = shop.tokens()
    for token in (tokens["access_token"], tokens["refresh_token"]):
        response = shop.post("/oauth/introspect", {"token": token, "token_type_hint": hint})
        assert response.json["active"] is True
    assert shop.post("/oauth/introspect", {"token": "x", "token_type_hint": hint}).data == INACTIVE


def test_the_caller_must_prove_who_it_is(shop: RelyingParty) -> None:
    """RFC 7662 §2.1: nobody, a public client, wrong credentials (ASVS 10.4.10)."""
    token = shop.tokens()["access_token"]
    public = factories.public_client(shop.app)
    machine = shop.machine
    for fields in ({}, {"client_id": public.client_id}, {"client_id": shop.client.client_id}):
        answer = machine.post("/oauth/introspect", data={"token": token, **fields})
        asserts.is_oauth_error(answer, "invalid_client", 401)
    bearer = machine.post("/oauth/introspect", data={"token": token}, headers={"Authorization": f"Bearer {token}"})
    asserts.is_oauth_error(bearer, "invalid_client", 401)
    assert shop.introspect(token)["active"]


def test_the_token_comes_in_the_body_by_post(shop: RelyingParty, orders: tuple[Api, str]) -> None:
    """Never in a URL that somebody logs (RFC 7662 §2.1)."""
    token = shop.tokens(scope="openid orders:read")["access_token"]
    get = shop.machine.get("/oauth/introspect", query_string={"token": token}, headers=of(orders))
    asserts.is_oauth_error(get, "invalid_request", 405)
    query = shop.machine.post("/oauth/introspect", query_string={"token": token}, data={"a": "b"}, headers=of(orders))
    asserts.is_oauth_error(query, "invalid_request")
    asserts.is_oauth_error(shop.post("/oauth/introspect", {"token": ""}, headers=of(orders)), "invalid_request")
    asserts.is_oauth_error(
        shop.post("/oauth/introspect", {"token": [token] * 2}, headers=of(orders)), "invalid_request"
    )
    as_json = shop.machine.post("/oauth/introspect", json={"token": token}, headers=of(orders))
    asserts.is_oauth_error(as_json, "invalid_request")
    assert shop.post("/oauth/introspect", {"token": token}, headers=of(orders)).json["active"]


def test_what_ends_a_token_shows_at_once(shop: RelyingParty, orders: tuple[Api, str], ben: users.User) -> None:
    """Family ended, app disconnected, person disabled, client disabled: the very next answer (ASVS 8.3.2)."""

    def fresh() -> str:
        own = RelyingParty(shop.app, Browser(shop.app), shop.client, shop.secret)
        token = own.tokens(email="ben@example.org", scope="openid orders:read")["access_token"]
        assert shop.introspect(token, headers=of(orders))["active"]
        return str(token)

    def disable() -> None:
        user = users.find(ben.id)
        assert user is not None
        ending.disable_user(user)

    for end in (
        lambda: ending.sign_out_everywhere(ben.id, "test"),
        lambda: ending.disconnect(ben.id, shop.client.client_id),
        disable,
    ):
        token = fresh()
        factories.within(shop.app, end)
        assert shop.introspect(token, headers=of(orders)) == {"active": False}
        factories.within(shop.app, lambda: users.enable(users.find(ben.id)))  # type: ignore[arg-type]
        assert shop.introspect(token, headers=of(orders)) == {"active": False}
    token = fresh()
    factories.within(shop.app, lambda: ending.disable_client(shop.client))
    assert shop.introspect(token, headers=of(orders)) == {"active": False}


def test_a_revoked_key_ends_its_tokens(shop: RelyingParty, orders: tuple[Api, str]) -> None:
    """What a compromised key signed is refused everywhere at once; rotation alone ends nothing."""
    token = shop.tokens(scope="openid orders:read")["access_token"]
    factories.within(shop.app, keyring.rotate)
    assert shop.introspect(token, headers=of(orders))["active"]
    new = shop.tokens(scope="openid orders:read")["access_token"]
    assert new.split(".")[0] != token.split(".")[0]

    def revoke() -> None:
        (old,) = [row["kid"] for row in keyring.listing() if row["state"] == "retiring" and row["alg"] == "RS256"]
        assert keyring.revoke(old)

    factories.within(shop.app, revoke)
    assert shop.introspect(token, headers=of(orders)) == {"active": False}
    assert shop.userinfo(token).status_code == 401
    assert shop.introspect(new, headers=of(orders))["active"]


def test_a_deleted_api_asks_no_more(shop: RelyingParty, orders: tuple[Api, str]) -> None:
    """Its credentials go with it."""
    token = shop.tokens(scope="openid orders:read")["access_token"]
    assert shop.introspect(token, headers=of(orders))["active"]
    factories.within(shop.app, lambda: apis.remove(ORDERS))
    answer = shop.post("/oauth/introspect", {"token": token}, headers=of(orders))
    asserts.is_oauth_error(answer, "invalid_client", 401)
