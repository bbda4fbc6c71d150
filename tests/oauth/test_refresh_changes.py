"""What a refresh gives when something has changed since: less, never more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from auth_server.access import apis, groups
from auth_server.accounts import users
from auth_server.clients import client as clients
from auth_server.tokens import ending
from tests.support import asserts, factories
from tests.support.asserts import refused
from tests.support.browser import Browser
from tests.support.factories import ORDERS
from tests.support.rp import RelyingParty, payload

Travel = Callable[[timedelta], None]


def test_scope_may_narrow_and_not_widen(rp: RelyingParty) -> None:
    """RFC 6749 §6; what was narrowed once is there again next time."""
    first = rp.tokens(scope="openid profile email")
    narrow = rp.refresh(first["refresh_token"], scope="openid email").json
    assert narrow["scope"] == "openid email"
    assert payload(narrow["access_token"])["scope"] == "openid email"
    assert "name" not in rp.userinfo(narrow["access_token"]).json
    for wider in ("openid profile email groups", "offline_access", "administrator"):
        asserts.is_oauth_error(rp.refresh(narrow["refresh_token"], scope=wider), "invalid_scope")
    whole = rp.refresh(narrow["refresh_token"]).json
    assert whole["scope"] == "openid profile email"
    assert rp.userinfo(whole["access_token"]).json["name"] == "Ada Lovelace"


def test_without_openid_a_refresh_gives_no_id_token(rp: RelyingParty) -> None:
    """Narrowed scopes narrow the answer as a whole."""
    first = rp.tokens()
    narrow = rp.refresh(first["refresh_token"], scope="email").json
    assert "id_token" not in narrow
    assert rp.userinfo(narrow["access_token"]).status_code != 200
    assert "id_token" in rp.refresh(narrow["refresh_token"]).json


def test_a_refreshed_id_token_tells_of_the_original_sign_in(rp: RelyingParty, in_a_while: Travel) -> None:
    """Same `iss`, `sub`, `aud`, `auth_time`, `acr`, `sid`; no nonce (OpenID Connect Core §12.2)."""
    first = rp.tokens()
    in_a_while(timedelta(hours=3))
    second = rp.refresh(first["refresh_token"]).json
    old, new = payload(first["id_token"]), payload(second["id_token"])
    for name in ("iss", "sub", "aud", "auth_time", "acr", "amr", "sid"):
        assert new[name] == old[name]
    assert "nonce" not in new
    assert new["iat"] >= old["iat"] + 3 * 3600
    assert payload(second["access_token"])["auth_time"] == old["auth_time"]


def test_a_disabled_person_gets_nothing(rp: RelyingParty, ben: users.User) -> None:
    """Looked at again at every refresh (CVE-2026-43983); switched on again, a new sign-in is needed."""
    bens = RelyingParty(rp.app, Browser(rp.app), rp.client, rp.secret)
    token = bens.tokens(email="ben@example.org")["refresh_token"]

    def switch(act: Callable[[users.User], object]) -> None:
        user = users.find(ben.id)
        assert user is not None
        act(user)

    factories.within(rp.app, lambda: switch(ending.disable_user))
    refused(bens, token, "the authorization has ended")
    factories.within(rp.app, lambda: switch(users.enable))
    refused(bens, token, "the authorization has ended")
    assert bens.refresh(bens.tokens(email="ben@example.org")["refresh_token"]).status_code == 200


def test_a_disabled_client_gets_nothing(rp: RelyingParty) -> None:
    """It cannot even authenticate; what it held stays ended (CVE-2025-64521)."""
    tokens = rp.tokens()
    factories.within(rp.app, lambda: ending.disable_client(rp.client))
    asserts.is_oauth_error(rp.refresh(tokens["refresh_token"]), "invalid_client", 401)
    factories.within(rp.app, lambda: clients.switch(rp.client, enabled=True))
    refused(rp, tokens["refresh_token"], "the authorization has ended")


def test_a_scope_taken_from_the_client_is_gone(rp: RelyingParty) -> None:
    """And with nothing left there is no token (GHSA-895x-rfqp-jh5c)."""
    tokens = rp.tokens(scope="openid email offline_access")
    factories.within(rp.app, lambda: clients.change(rp.client, {"scope": "openid"}))
    narrower = rp.refresh(tokens["refresh_token"]).json
    assert narrower["scope"] == "openid"
    factories.within(rp.app, lambda: clients.change(rp.client, {"scope": "phone"}))
    refused(rp, narrower["refresh_token"], "nothing of the granted scope is allowed any more")
    factories.within(rp.app, lambda: clients.change(rp.client, {"scope": "openid email"}))
    assert rp.refresh(narrower["refresh_token"]).json["scope"] == "openid email"


@pytest.mark.parametrize("loss", ["the client's scope", "the API"])
def test_an_api_that_is_gone_leaves_the_rest(app: Flask, browser: Browser, loss: str) -> None:
    """A narrower token without its scopes and audience; naming it is refused (CVE-2026-43983)."""
    factories.api(app)
    rp = RelyingParty(app, browser, *factories.client(app, scope="openid orders:read"))
    first = rp.tokens(scope="openid orders:read", resource=ORDERS)
    assert payload(first["access_token"])["aud"] == [ORDERS, "http://localhost:8421/oauth/userinfo"]
    lose = {
        "the client's scope": lambda: clients.change(rp.client, {"scope": "openid"}),
        "the API": lambda: apis.remove(ORDERS),
    }
    factories.within(app, lose[loss])
    second = rp.refresh(first["refresh_token"]).json
    assert second["scope"] == "openid"
    assert payload(second["access_token"])["aud"] == "http://localhost:8421/oauth/userinfo"
    asserts.is_oauth_error(rp.refresh(second["refresh_token"], resource=ORDERS), "invalid_target")


def test_a_grant_type_taken_from_the_client_is_gone(rp: RelyingParty) -> None:
    """`unauthorized_client` (RFC 6749 §5.2)."""
    token = rp.tokens()["refresh_token"]
    factories.within(rp.app, lambda: clients.change(rp.client, {"grant_types": ["authorization_code"]}))
    asserts.is_oauth_error(rp.refresh(token), "unauthorized_client")
    grants = ["authorization_code", "refresh_token"]
    factories.within(rp.app, lambda: clients.change(rp.client, {"grant_types": grants}))
    assert rp.refresh(token).status_code == 200


def test_groups_and_roles_are_those_of_now(app: Flask, browser: Browser) -> None:
    """A group taken away is gone from the next tokens (Pocket ID's CVE-2026-43983)."""
    factories.group(app, "staff")
    factories.role(app, "support", [], ["staff"])
    eve = factories.person(app, "eve@example.org", "Eve", groups=["staff"])
    rp = RelyingParty(app, browser, *factories.client(app, scope="openid groups roles"))
    first = rp.tokens(email="eve@example.org", scope="openid groups roles")
    for token in (first["access_token"], first["id_token"]):
        assert (payload(token)["groups"], payload(token)["roles"]) == (["staff"], ["support"])
    factories.within(app, lambda: groups.put(eve.id, []))
    second = rp.refresh(first["refresh_token"]).json
    for token in (second["access_token"], second["id_token"]):
        assert (payload(token)["groups"], payload(token)["roles"]) == ([], [])
    assert rp.userinfo(second["access_token"]).json["groups"] == []


def test_a_role_taken_away_takes_its_scopes_along(app: Flask, browser: Browser) -> None:
    """Scopes that a role names are asked about at every refresh."""
    factories.api(app)
    factories.group(app, "staff")
    factories.role(app, "support", ["orders:write"], ["staff"])
    eve = factories.person(app, "eve@example.org", "Eve", groups=["staff"])
    rp = RelyingParty(app, browser, *factories.client(app, scope="openid orders:read orders:write"))
    first = rp.tokens(email="eve@example.org", scope="openid orders:read orders:write")
    assert first["scope"] == "openid orders:read orders:write"
    factories.within(app, lambda: groups.put(eve.id, []))
    assert rp.refresh(first["refresh_token"]).json["scope"] == "openid orders:read"


def test_resources_narrow_and_do_not_widen(app: Flask, browser: Browser) -> None:
    """`resource` picks among what was granted (RFC 8707 §2.2), and only its scopes come along."""
    factories.api(app)
    factories.api(app, "https://stock.example.org", scopes={"stock:read": "See the stock"})
    rp = RelyingParty(app, browser, *factories.client(app, scope="openid orders:read stock:read"))
    first = rp.tokens(scope="openid orders:read stock:read")
    assert ORDERS in payload(first["access_token"])["aud"]
    one = rp.refresh(first["refresh_token"], resource=ORDERS).json
    assert payload(one["access_token"])["aud"] == [ORDERS, "http://localhost:8421/oauth/userinfo"]
    assert one["scope"] == "openid orders:read"
    for wrong in ("https://nobody.example.org", "x", '"'):
        asserts.is_oauth_error(rp.refresh(one["refresh_token"], resource=wrong), "invalid_target")
    both = rp.refresh(one["refresh_token"]).json
    assert both["scope"] == "openid orders:read stock:read"
