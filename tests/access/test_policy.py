"""Which scopes a token has, which APIs it is for, in which form, and for how long."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import KeySet

from auth_server.access import apis
from auth_server.clients import client as clients
from auth_server.errors import RefusedInput
from auth_server.keys import keyring
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.factories import ORDERS
from tests.support.rp import RelyingParty, basic, payload

STOCK = "https://stock.example.org"
USERINFO = "http://localhost:8421/oauth/userinfo"
SCOPE = "openid email offline_access orders:read orders:write stock:read"


def header_of(token: str) -> dict[str, Any]:
    part = token.split(".")[0]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


@pytest.fixture
def shop(app: Flask, browser: Browser) -> RelyingParty:
    """Return an app that may use two APIs of the same form, for people and for itself."""
    factories.api(app)
    factories.api(app, STOCK, scopes={"stock:read": "See the stock"})
    grants = ["authorization_code", "refresh_token", "client_credentials"]
    return RelyingParty(app, browser, *factories.client(app, scope=SCOPE, grant_types=grants))


def audience(rp: RelyingParty, **request: Any) -> Any:
    return payload(rp.tokens(**request)["access_token"])["aud"]


def test_the_audience_follows_the_scopes(shop: RelyingParty) -> None:
    """The APIs that own the granted scopes, userinfo with `openid`, the issuer with neither."""
    assert audience(shop, scope="openid") == USERINFO
    assert audience(shop, scope="openid orders:read") == [ORDERS, USERINFO]
    assert audience(shop, scope="openid orders:read orders:write stock:read") == [ORDERS, STOCK, USERINFO]
    assert audience(shop, scope="orders:read") == ORDERS
    assert audience(shop, scope="email") == "http://localhost:8421"
    assert shop.client.client_id not in str(audience(shop))


def test_a_named_resource_is_in_the_audience(shop: RelyingParty) -> None:
    """Whether or not its scopes were asked; scopes of other APIs are dropped (RFC 8707 §2)."""
    assert audience(shop, scope="openid", resource=ORDERS) == [ORDERS, USERINFO]
    assert audience(shop, scope="openid", resource=[ORDERS, STOCK]) == [ORDERS, STOCK, USERINFO]
    assert audience(shop, scope="openid", resource=[ORDERS, ORDERS]) == [ORDERS, USERINFO]
    tokens = shop.tokens(scope="openid orders:read stock:read", resource=ORDERS)
    assert tokens["scope"] == "openid orders:read"
    assert payload(tokens["access_token"])["aud"] == [ORDERS, USERINFO]


def test_the_token_request_may_pick_among_the_granted_apis(shop: RelyingParty) -> None:
    """One token for each API, none that opens both (RFC 8707 §2.2)."""
    shop.walk(scope="openid orders:read stock:read")
    one = shop.exchange(shop.code(scope="openid orders:read stock:read"), resource=STOCK).json
    assert (payload(one["access_token"])["aud"], one["scope"]) == ([STOCK, USERINFO], "openid stock:read")
    code = shop.code(scope="openid orders:read")
    asserts.is_oauth_error(shop.exchange(code, resource=STOCK), "invalid_target")
    assert shop.exchange(code).status_code == 200


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_an_api_chooses_the_algorithm(app: Flask, browser: Browser, alg: str) -> None:
    """Its tokens are RFC 9068 JWTs that the published keys verify; the ID token keeps the client's algorithm."""
    factories.api(app, alg=alg)
    rp = RelyingParty(app, browser, *factories.client(app, scope="openid orders:read"))
    tokens = rp.tokens(scope="openid orders:read")
    token = tokens["access_token"]
    header = header_of(token)
    assert (header["alg"], header["typ"]) == (alg, "at+jwt")
    assert header_of(tokens["id_token"])["alg"] == "RS256"
    keys = KeySet.import_key_set(rp.machine.get("/.well-known/jwks.json").json)
    claims = jwt.decode(token, keys, algorithms=[alg]).claims
    assert set(claims) >= {"iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope", "sid", "auth_time"}
    assert rp.userinfo(token).status_code == 200
    assert rp.introspect(token)["active"]
    assert rp.revoke(token).status_code == 200
    assert rp.introspect(token) == {"active": False}


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_a_client_chooses_the_algorithm_of_its_id_tokens(app: Flask, browser: Browser, alg: str) -> None:
    """`id_token_signed_response_alg`; `kid` and `at_hash` are there for each."""
    rp = RelyingParty(app, browser, *factories.client(app, id_token_signed_response_alg=alg))
    first = rp.tokens()
    for tokens in (first, rp.refresh(first["refresh_token"]).json):
        header = header_of(tokens["id_token"])
        keys = KeySet.import_key_set(rp.machine.get("/.well-known/jwks.json").json)
        assert (header["alg"], header["typ"]) == (alg, "JWT")
        assert header["kid"] in {key.kid for key in keys.keys}
        claims = jwt.decode(tokens["id_token"], keys, algorithms=[alg]).claims
        assert claims["at_hash"] == at_hash(tokens["access_token"], alg)
        assert {"iss", "sub", "aud", "exp", "iat", "auth_time", "acr", "amr", "sid"} <= set(claims)


def at_hash(token: str, alg: str) -> str:
    """OpenID Connect Core §3.1.3.6, computed here on our own account."""
    whole = (hashlib.sha512 if alg == "EdDSA" else hashlib.sha256)(token.encode("ascii")).digest()
    return base64.urlsafe_b64encode(whole[: len(whole) // 2]).decode().rstrip("=")


def test_signing_follows_the_active_key(shop: RelyingParty) -> None:
    """With two published keys every token is signed by the current one."""
    shop.walk()

    def used() -> set[str]:
        return {header_of(shop.tokens(scope="openid orders:read")["access_token"])["kid"] for _time in range(4)}

    (first,) = used()
    factories.within(shop.app, keyring.rotate)
    (second,) = used()
    assert first != second
    published = [key["kid"] for key in shop.machine.get("/.well-known/jwks.json").json["keys"]]
    assert {first, second} < set(published)


def test_an_api_may_take_opaque_tokens(app: Flask, browser: Browser) -> None:
    """Random, stored as a digest, and known to introspection, userinfo and revocation like any other."""
    api, secret = factories.api(app, token_format="opaque")
    rp = RelyingParty(app, browser, *factories.client(app, scope="openid email orders:read offline_access"))
    tokens = rp.tokens(scope="openid email orders:read")
    token = tokens["access_token"]
    assert "." not in token
    assert len(token) == 43
    assert token not in repr(asserts.rows(app))
    found = rp.introspect(token, headers=basic(api.client_id, secret))
    assert (found["active"], found["scope"], found["aud"]) == (True, "openid email orders:read", [ORDERS, USERINFO])
    assert found["exp"] - found["iat"] == tokens["expires_in"]
    assert rp.userinfo(token).json["email"] == "ada@example.org"
    assert payload(tokens["id_token"])["at_hash"] == at_hash(token, "RS256")
    for cut in (token[:-1], token + "x", token.swapcase()):
        assert rp.userinfo(cut).status_code == 401
        assert rp.introspect(cut) == {"active": False}
    second = rp.refresh(tokens["refresh_token"]).json["access_token"]
    assert rp.revoke(token).status_code == 200
    assert rp.userinfo(token).status_code == 401
    assert rp.userinfo(second).status_code == 200
    rp.refresh(tokens["refresh_token"])
    assert rp.userinfo(second).status_code == 401


def test_apis_of_different_forms_need_tokens_of_their_own(shop: RelyingParty) -> None:
    """`invalid_target` in every place where both are asked at once; one at a time works."""
    factories.api(shop.app, "https://es.example.org", scopes={"es:read": "Read"}, alg="ES256")
    factories.api(shop.app, "https://opaque.example.org", scopes={"opaque:read": "Read"}, token_format="opaque")
    factories.within(shop.app, lambda: clients.change(shop.client, {"scope": f"{SCOPE} es:read opaque:read"}))
    for name in ("es", "opaque"):
        identifier = f"https://{name}.example.org"
        both = {"scope": f"openid orders:read {name}:read"}
        asserts.is_redirect_error(shop.authorize(**both), "invalid_target")
        asserts.is_redirect_error(shop.authorize(scope="openid", resource=[ORDERS, identifier]), "invalid_target")
        asserts.is_oauth_error(shop.token(grant_type="client_credentials", **both), "invalid_target")
        asserts.is_oauth_error(shop.token(grant_type="client_credentials"), "invalid_target")
        one = shop.tokens(scope=f"openid {name}:read")
        assert shop.introspect(one["access_token"])["aud"] == [identifier, USERINFO]
        assert audience(shop, resource=ORDERS, **both) == [ORDERS, USERINFO]


@pytest.mark.parametrize(
    ("client_life", "api_life", "expected"),
    [(None, None, 900), (None, 60, 60), (120, None, 120), (120, 60, 60), (60, 120, 60), (3600, None, 3600)],
)
def test_the_shortest_life_counts(
    app: Flask, browser: Browser, client_life: int | None, api_life: int | None, expected: int
) -> None:
    """Of client and API; `exp` equals `expires_in`; without the API its life does not count."""
    factories.api(app, token_ttl_seconds=api_life)
    rp = RelyingParty(app, browser, *factories.client(app, scope="openid orders:read", access_token_ttl=client_life))
    tokens = rp.tokens(scope="openid orders:read")
    claims = payload(tokens["access_token"])
    assert claims["exp"] - claims["iat"] == tokens["expires_in"] == expected
    plain = rp.tokens(scope="openid")
    assert plain["expires_in"] == (client_life or 900)


def test_no_life_is_longer_than_an_hour(domain: None) -> None:
    """Neither a client's nor an API's."""
    for ttl in (3601, 29, 0, -1):
        with pytest.raises(RefusedInput):
            apis.create("https://long.example.org", token_ttl_seconds=ttl)
    assert apis.create("https://long.example.org", token_ttl_seconds=3600)[0].token_ttl is not None


def test_an_unknown_scope_of_a_client_grants_nothing(app: Flask, browser: Browser) -> None:
    """A client may be registered for an API that comes later."""
    rp = RelyingParty(app, browser, *factories.client(app, scope="openid orders:read"))
    assert rp.tokens(scope="openid orders:read")["scope"] == "openid"
    factories.api(app)
    assert rp.tokens(scope="openid orders:read")["scope"] == "openid orders:read"
    factories.within(app, lambda: apis.remove(ORDERS))
    assert rp.tokens(scope="openid orders:read")["scope"] == "openid"


def test_a_restricted_scope_needs_one_of_its_roles(app: Flask, browser: Browser) -> None:
    """By name or by group; services are not asked for roles."""
    factories.api(app)
    factories.group(app, "staff")
    factories.role(app, "support", ["orders:read"], ["staff"])
    factories.role(app, "boss", ["orders:read", "orders:write"])
    factories.person(app, "eve@example.org", "Eve", groups=["staff"])
    factories.person(app, "dan@example.org", "Dan", roles=["boss"])
    grants = ["authorization_code", "client_credentials"]
    client, secret = factories.client(app, scope="openid orders:read orders:write", grant_types=grants)
    asked = "openid orders:read orders:write"
    expected = {"ada": "openid", "eve": "openid orders:read", "dan": asked}
    for name, granted in expected.items():
        rp = RelyingParty(app, Browser(app), client, secret)
        assert rp.tokens(email=f"{name}@example.org", scope=asked)["scope"] == granted
    service = RelyingParty(app, browser, client, secret)
    assert service.token(grant_type="client_credentials").json["scope"] == "orders:read orders:write"


def test_a_named_api_without_a_granted_scope_is_still_the_audience(app: Flask, browser: Browser) -> None:
    """`resource` says where the token goes; what it may do there is the scope's matter."""
    factories.api(app)
    factories.role(app, "support", ["orders:read", "orders:write"])
    rp = RelyingParty(app, browser, *factories.client(app, scope="openid orders:read"))
    tokens = rp.tokens(scope="openid orders:read", resource=ORDERS)
    assert tokens["scope"] == "openid"
    assert payload(tokens["access_token"])["aud"] == [ORDERS, USERINFO]
