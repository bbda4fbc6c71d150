"""The client credentials grant: a service acts for itself."""

from __future__ import annotations

import uuid

import pytest
from flask import Flask

from auth_server.clients import client as clients
from auth_server.tokens import ending
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.factories import ORDERS
from tests.support.rp import RelyingParty, payload

BOTH = "orders:read orders:write"
GRANT = "client_credentials"


@pytest.fixture
def job(app: Flask) -> RelyingParty:
    """Return a service that may use the orders API."""
    factories.api(app)
    return RelyingParty(app, Browser(app), *factories.service(app, BOTH))


def test_a_service_gets_an_access_token_and_nothing_else(job: RelyingParty) -> None:
    """No refresh token and no ID token (OAuth 2.1 §4.2.3); its `sub` is its client id, no person's claim is in it."""
    answer = job.token(grant_type=GRANT)
    assert set(answer.json) == {"access_token", "token_type", "expires_in", "scope"}
    claims = payload(answer.json["access_token"])
    assert claims["sub"] == claims["client_id"] == job.client.client_id
    assert not {"sid", "fam", "auth_time", "acr", "amr", "roles", "groups", "email", "name"} & set(claims)
    (event,) = asserts.events_of(job.app, "token.issued")
    assert (event.actor_kind, event.data["grant_type"]) == ("service", GRANT)


def test_a_token_lasts_as_long_as_it_says(job: RelyingParty) -> None:
    """`exp` equals `expires_in`: fifteen minutes by default."""
    answer = job.token(grant_type=GRANT).json
    claims = payload(answer["access_token"])
    assert claims["exp"] - claims["iat"] == answer["expires_in"] == 900


def test_without_scope_it_gets_what_it_is_registered_for(job: RelyingParty) -> None:
    """The audience is the API that owns the scopes."""
    answer = job.token(grant_type=GRANT).json
    assert answer["scope"] == BOTH
    assert payload(answer["access_token"])["aud"] == ORDERS


def test_scope_may_be_narrowed_and_foreign_ones_are_dropped(job: RelyingParty) -> None:
    """With nothing left it is `invalid_scope`."""
    answer = job.token(grant_type=GRANT, scope="orders:read admin openid offline_access").json
    assert answer["scope"] == payload(answer["access_token"])["scope"] == "orders:read"
    for foreign in ("admin", "openid", "openid profile offline_access", 'a"b', "é", "\\"):
        asserts.is_oauth_error(job.token(grant_type=GRANT, scope=foreign), "invalid_scope")


def test_identity_scopes_are_for_people_only(app: Flask) -> None:
    """Though the client is registered for them, a service has no identity (RFC 9700 §4.15)."""
    factories.api(app)
    client, secret = factories.service(app, "openid profile offline_access orders:read")
    job = RelyingParty(app, Browser(app), client, secret)
    assert job.token(grant_type=GRANT).json["scope"] == "orders:read"
    asserts.is_oauth_error(job.token(grant_type=GRANT, scope="openid"), "invalid_scope")


def test_a_service_without_apis_gets_a_token_for_the_issuer(app: Flask) -> None:
    """Neither API nor `openid`; such a token opens nothing."""
    job = RelyingParty(app, Browser(app), *factories.service(app))
    answer = job.token(grant_type=GRANT).json
    assert answer["scope"] == ""
    assert payload(answer["access_token"])["aud"] == "http://localhost:8421"
    assert job.userinfo(answer["access_token"]).status_code == 401


def test_a_resource_is_granted_by_itself(job: RelyingParty) -> None:
    """A named API is in `aud` whether or not its scopes were asked."""
    factories.api(job.app, "https://stock.example.org", scopes={"stock:read": "See the stock"})
    factories.within(job.app, lambda: clients.change(job.client, {"scope": BOTH + " stock:read"}))
    both = payload(job.token(grant_type=GRANT).json["access_token"])
    assert both["aud"] == [ORDERS, "https://stock.example.org"]
    one = job.token(grant_type=GRANT, resource=ORDERS).json
    assert (payload(one["access_token"])["aud"], one["scope"]) == (ORDERS, BOTH)
    two = job.token(grant_type=GRANT, resource=[ORDERS, "https://stock.example.org"]).json
    assert payload(two["access_token"])["aud"] == [ORDERS, "https://stock.example.org"]
    asserts.is_oauth_error(job.token(grant_type=GRANT, resource=ORDERS, scope="stock:read"), "invalid_scope")


@pytest.mark.parametrize(
    "resource", ["https://nobody.example.org", ORDERS + "/", ORDERS + "#x", "orders", '"', "é", "\\"]
)
def test_other_resources_are_refused(job: RelyingParty, resource: str) -> None:
    """`invalid_target` (RFC 8707 §2), for an API without registered scopes too."""
    asserts.is_oauth_error(job.token(grant_type=GRANT, resource=resource), "invalid_target")
    asserts.is_oauth_error(job.token(grant_type=GRANT, resource=[ORDERS, resource]), "invalid_target")
    factories.within(job.app, lambda: clients.change(job.client, {"scope": ""}))
    asserts.is_oauth_error(job.token(grant_type=GRANT, resource=ORDERS), "invalid_target")
    factories.within(job.app, lambda: clients.change(job.client, {"scope": "orders:read"}))
    assert job.token(grant_type=GRANT, resource=ORDERS).status_code == 200


def test_a_public_client_cannot_act_for_itself(app: Flask) -> None:
    """It proves nothing (OAuth 2.1 §4.2)."""
    rp = RelyingParty(app, Browser(app), factories.public_client(app))
    asserts.is_oauth_error(rp.token(grant_type=GRANT), "unauthorized_client")


def test_a_service_is_never_taken_for_a_person(app: Flask) -> None:
    """Its id cannot name a user: a client called like one gets no claims and no userinfo (RFC 9700 §4.15)."""
    factories.api(app)
    ada = factories.person(app, roles=["administrator"])
    client, secret = factories.service(app, "openid orders:read", client_id=ada.id)
    job = RelyingParty(app, Browser(app), client, secret)
    token = job.token(grant_type=GRANT).json["access_token"]
    assert payload(token)["sub"] == ada.id
    assert job.userinfo(token).status_code == 401
    assert "auth_time" not in job.introspect(token)
    assert "sid" not in job.introspect(token)
    assert uuid.UUID(ada.id).version == 4


def test_a_disabled_service_keeps_no_token(job: RelyingParty) -> None:
    """What it held is refused at once; new ones come after it is switched on."""
    token = job.token(grant_type=GRANT).json["access_token"]
    assert job.introspect(token)["active"]
    factories.within(job.app, lambda: ending.disable_client(job.client))
    asserts.is_oauth_error(job.token(grant_type=GRANT), "invalid_client", 401)
    factories.within(job.app, lambda: clients.switch(job.client, enabled=True))
    assert job.introspect(token) == {"active": False}
