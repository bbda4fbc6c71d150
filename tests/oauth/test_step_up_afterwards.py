"""What a demand for a stronger sign-in does to tokens that exist already."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from auth_server.access import apis
from auth_server.clients import client as clients
from tests.support import asserts, authenticator, factories
from tests.support.browser import Browser
from tests.support.factories import ORDERS
from tests.support.rp import basic, payload
from tests.support.shop import A_CODE_LATER, ORDINARY, Shop

Travel = Callable[[timedelta], None]


def test_acr_and_amr_are_true_for_every_way_in(shop: Shop, in_a_while: Travel) -> None:
    """Password, password and code, recovery code, trusted browser, step-up; `auth_time` is that of the last step."""
    rp = shop.app_with()
    browser = shop.browser

    def seen() -> tuple[str, list[str], int]:
        claims = payload(rp.tokens(**ORDINARY)["access_token"])
        return claims["acr"], claims["amr"], claims["auth_time"]

    two = ["pwd", "otp", "mfa"]
    shop.sign_in()
    assert seen()[:2] == ("aal1", ["pwd"])
    browser.sign_out()
    phone = shop.set_up()
    in_a_while(A_CODE_LATER)
    authenticator.answer(browser, shop.sign_in(), phone.code(), trust_device="1")
    assert seen()[:2] == ("aal2", two)
    browser.sign_out()
    shop.sign_in()
    acr, amr, before = seen()
    assert (acr, amr) == ("aal1", ["pwd"])
    in_a_while(A_CODE_LATER)
    authenticator.answer(browser, browser.get("/login/step-up?next=/account"), phone.code())
    acr, amr, after = seen()
    assert (acr, amr) == ("aal2", two)
    assert after >= before + 31
    stranger = Browser(shop.app)
    waiting = stranger.follow(shop.sign_in(stranger))
    recovery = stranger.get(waiting.request.full_path.replace("method=app", "method=recovery"))
    stranger.submit(recovery, "/login/mfa", code=shop.codes[0])
    rp.browser = stranger
    assert seen()[:2] == ("aal2", two)


def change_api(identifier: str, **changed: Any) -> None:
    api = next(api for api in apis.listing() if api.identifier == identifier)
    values = {"name": api.name, "scopes": api.scopes, "token_format": api.token_format, "alg": api.alg}
    strengths = {"minimum_acr": api.minimum_acr, "scope_acr": api.scope_acr}
    apis.change(api, **{**values, "token_ttl_seconds": None, **strengths, **changed})


def test_a_demand_that_was_raised_takes_the_scope_from_weaker_families(shop: Shop) -> None:
    """At the next refresh it is left out; the rest goes on; one of two factors keeps it."""
    weak = shop.app_with()
    shop.sign_in()
    tokens = weak.tokens(scope="openid offline_access orders:read")
    authenticator.set_up(shop.browser)
    strong = weak.tokens(scope="openid offline_access orders:read")
    factories.within(shop.app, lambda: change_api(ORDERS, scope_acr={"orders:read": "aal2"}))
    assert weak.refresh(tokens["refresh_token"]).json["scope"] == "openid offline_access"
    assert weak.refresh(strong["refresh_token"]).json["scope"] == "openid offline_access orders:read"


def test_an_api_that_demands_more_by_now_is_left_out(shop: Shop) -> None:
    """Its audience and its scopes; named, it is `invalid_target`; with nothing left, `invalid_grant`."""
    rp = shop.app_with()
    shop.sign_in()
    asked = {"scope": "openid offline_access orders:read", "resource": ORDERS}
    tokens = [rp.tokens(**asked)["refresh_token"] for _ in range(2)]
    only = rp.tokens(scope="orders:read")["refresh_token"]
    still = rp.refresh(tokens[0], resource=ORDERS)
    assert payload(still.json["access_token"])["aud"] == [ORDERS, "http://localhost:8421/oauth/userinfo"]
    factories.within(shop.app, lambda: change_api(ORDERS, minimum_acr="aal2"))
    asserts.is_oauth_error(rp.refresh(tokens[1], resource=ORDERS), "invalid_target")
    left = rp.refresh(tokens[1]).json
    assert left["scope"] == "openid offline_access"
    assert payload(left["access_token"])["aud"] == "http://localhost:8421/oauth/userinfo"
    asserts.is_oauth_error(rp.refresh(only), "invalid_grant")


def test_a_client_that_demands_more_by_now_gets_nothing_for_weaker_families(shop: Shop) -> None:
    """Neither for a code nor for a refresh token; it must ask the person again."""
    rp = shop.app_with()
    shop.sign_in()
    tokens = rp.tokens(**ORDINARY)
    code = rp.code(**ORDINARY)
    assert rp.refresh(tokens["refresh_token"]).status_code == 200
    tokens = rp.tokens(**ORDINARY)
    factories.within(shop.app, lambda: clients.change(rp.client, {"minimum_acr": "aal2"}))
    asserts.is_oauth_error(rp.exchange(code), "invalid_grant")
    refused = rp.refresh(tokens["refresh_token"])
    asserts.is_oauth_error(refused, "invalid_grant")
    assert refused.json["error_description"] == "this client needs a stronger sign-in by now"
    factories.within(shop.app, lambda: clients.change(rp.client, {"minimum_acr": None}))
    assert rp.refresh(tokens["refresh_token"]).status_code == 200


def test_a_strength_is_asked_of_people_alone(shop: Shop) -> None:
    """A service that is registered for the scope gets it; its token has no `acr`, so a route may still refuse."""
    client, secret = factories.service(shop.app, scope="orders:refund vault:open")
    answer = shop.app.test_client(use_cookies=False).post(
        "/oauth/token",
        data={"grant_type": "client_credentials", "scope": "orders:refund"},
        headers=basic(client.client_id, secret),
    )
    assert answer.json["scope"] == "orders:refund"
    assert not {"acr", "auth_time", "amr"} & payload(answer.json["access_token"]).keys()
