"""Token exchange (RFC 8693): who gets which token for which, never a wider one, and what ends it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from auth_server.access import apis
from auth_server.accounts import users
from auth_server.clients import client as clients
from auth_server.clients.metadata import DEVICE_CODE, TOKEN_EXCHANGE
from auth_server.errors import InvalidClientMetadata
from auth_server.keys import jose, keyring
from tests.support import asserts, exchange, factories
from tests.support.browser import Browser
from tests.support.dpop import DpopKey
from tests.support.exchange import ACCESS_TOKEN, FILES, JWT, SCOPE, STORE, TOKEN_TYPE, Service, token
from tests.support.factories import ORDERS
from tests.support.rp import RelyingParty, basic, bearer, payload

Travel = Callable[[timedelta], None]


@pytest.fixture
def shop(app: Flask, browser: Browser) -> RelyingParty:
    """Return the app whose tokens are exchanged; the APIs are there."""
    return exchange.shop(app, browser)


@pytest.fixture
def backend(app: Flask, shop: RelyingParty) -> Service:
    """Return the service of the orders, which may exchange for the files."""
    found = exchange.service(app)
    exchange.rule(app)
    return found


def is_refused(backend: Service, error: str, sentence: str, subject: str, **changed: Any) -> None:
    """Refused with this error and these words."""
    answer = backend.exchange(subject, **changed)
    asserts.is_oauth_error(answer, error)
    assert sentence in answer.json["error_description"], answer.text


def signed(app: Flask, claims: dict[str, Any], typ: str = "at+jwt") -> str:
    """Return a token that this server might have signed."""
    return factories.within(app, lambda: jose.sign(claims, keyring.signer("RS256"), typ=typ))


def test_a_narrower_token_for_another_api(shop: RelyingParty, backend: Service) -> None:
    """RFC 8693 §2.2: the same person, the one API, the rule's scopes, the service as `act`; no refresh token."""
    subject = token(shop)
    answer = backend.exchange(subject)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    body = answer.json
    assert set(body) == {"access_token", "token_type", "expires_in", "scope", "issued_token_type"}
    assert (body["token_type"], body["issued_token_type"]) == ("Bearer", ACCESS_TOKEN)
    assert set(body["scope"].split()) == {"files:read", "roles"}
    before, after = payload(subject), payload(body["access_token"])
    assert (after["aud"], after["client_id"], after["act"]) == (FILES, "orders-backend", {"sub": "orders-backend"})
    for name in ("sub", "sid", "fam", "auth_time", "acr", "amr", "status", "iss"):
        assert after[name] == before[name], name
    assert after["exp"] <= before["exp"]
    assert after["jti"] != before["jti"]
    assert after["roles"] == ["administrator"]


def test_it_is_off_until_a_rule_and_a_client_say_otherwise(app: Flask, shop: RelyingParty) -> None:
    """TX-01: neither known nor advertised before; a rule for a client without the grant is not possible."""
    path = "/.well-known/openid-configuration"

    def advertised() -> bool:
        return TOKEN_EXCHANGE in app.test_client().get(path).json["grant_types_supported"]

    backend, subject = exchange.service(app), token(shop)
    asserts.is_oauth_error(backend.exchange(subject), "unsupported_grant_type")
    assert not advertised()
    exchange.rule(app)
    assert advertised()
    assert backend.exchange(subject).status_code == 200
    factories.within(app, lambda: clients.change(backend.client, {"grant_types": ["client_credentials"]}))
    asserts.is_oauth_error(backend.exchange(subject), "unsupported_grant_type")
    assert not advertised()


def test_a_client_without_the_grant_is_refused(shop: RelyingParty, backend: Service) -> None:
    """The app itself holds the token and may not exchange it (ASVS 10.4.4); a wrong secret may nothing."""
    subject = token(shop)
    fields = {"grant_type": TOKEN_EXCHANGE, "subject_token": subject, "subject_token_type": ACCESS_TOKEN}
    asserts.is_oauth_error(shop.token(**fields, resource=FILES), "unauthorized_client")
    wrong = Service(backend.app, backend.client, "wrong")
    asserts.is_oauth_error(wrong.exchange(subject), "invalid_client", 401)
    assert backend.exchange(subject).status_code == 200


def test_a_public_client_cannot_have_the_grant(app: Flask) -> None:
    """Whoever exchanges proves who it is."""
    with pytest.raises(InvalidClientMetadata, match="invalid_client_metadata"):
        factories.service(app, grant_types=[TOKEN_EXCHANGE], token_endpoint_auth_method="none")
    factories.service(app, grant_types=[TOKEN_EXCHANGE])


@pytest.mark.parametrize(
    ("changed", "error", "sentence"),
    [
        ({"subject_token": None}, "invalid_request", "subject_token is missing"),
        ({"subject_token_type": None}, "invalid_request", "subject_token_type is missing"),
        ({"subject_token_type": TOKEN_TYPE + "refresh_token"}, "invalid_request", "subject_token_type: possible"),
        ({"subject_token_type": TOKEN_TYPE + "id_token"}, "invalid_request", "subject_token_type: possible"),
        ({"subject_token_type": "jwt"}, "invalid_request", "subject_token_type: possible"),
        ({"subject_token": "opaque", "subject_token_type": JWT}, "invalid_request", "is no JWT"),
        ({"actor_token_type": ACCESS_TOKEN}, "invalid_request", "without actor_token"),
        ({"actor_token": "x"}, "invalid_request", "actor_token_type is missing"),
        ({"actor_token": "x", "actor_token_type": TOKEN_TYPE + "saml2"}, "invalid_request", "actor_token_type:"),
        ({"requested_token_type": TOKEN_TYPE + "refresh_token"}, "invalid_request", "requested_token_type"),
        ({"requested_token_type": TOKEN_TYPE + "id_token"}, "invalid_request", "requested_token_type"),
        ({"resource": None}, "invalid_request", "resource is missing"),
        ({"resource": [FILES, STORE]}, "invalid_target", "one API"),
        ({"audience": STORE}, "invalid_target", "one API"),
        ({"resource": FILES + "#x"}, "invalid_target", "fragment"),
        ({"resource": "files"}, "invalid_target", "absolute URI"),
        ({"resource": None, "audience": "orders-backend"}, "invalid_target", "absolute URI"),
        ({"resource": "https://fïles.example.org"}, "invalid_target", "absolute URI"),
        ({"resource": "https://nobody.example.org"}, "invalid_target", "no rule"),
        ({"resource": "http://localhost:8421/oauth/userinfo"}, "invalid_target", "no rule"),
        ({"resource": ORDERS}, "invalid_target", "no rule"),
        ({"resource": STORE}, "invalid_target", "no rule"),
        ({"subject_token": ["a", "b"]}, "invalid_request", "repeated"),
        ({"subject_token": "a" * 9000}, "invalid_request", "too long"),
        ({"scope": "files:write"}, "invalid_scope", "rule"),
        ({"scope": "openid"}, "invalid_scope", "rule"),
        ({"scope": "offline_access"}, "invalid_scope", "rule"),
        ({"scope": "unknown"}, "invalid_scope", "subject token"),
        ({"scope": "files:read orders:write"}, "invalid_scope", "subject token"),
        ({"scope": "roles"}, "invalid_scope", "no scope of this API"),
        ({"scope": " "}, "invalid_scope", "no scope of this API"),
    ],
)
def test_bad_input_is_told_precisely(
    shop: RelyingParty, backend: Service, changed: dict[str, Any], error: str, sentence: str
) -> None:
    """One sentence for each cause, and no row; the same request put right is answered."""
    subject = token(shop)
    before = asserts.rows(backend.app)
    is_refused(backend, error, sentence, subject, **changed)
    assert asserts.rows(backend.app) == before
    assert backend.exchange(subject).status_code == 200


@pytest.mark.parametrize("target", [{"resource": FILES}, {"resource": None, "audience": FILES}, {"audience": FILES}])
@pytest.mark.parametrize("kind", [ACCESS_TOKEN, JWT])
def test_both_names_of_the_target_and_both_types(
    shop: RelyingParty, backend: Service, target: dict[str, Any], kind: str
) -> None:
    """RFC 8693 §2.1: `resource` and `audience` may name the API, and a JWT may be called one."""
    answer = backend.exchange(token(shop), **target, subject_token_type=kind, requested_token_type=kind)
    assert (answer.status_code, answer.json["issued_token_type"]) == (200, kind)
    assert payload(answer.json["access_token"])["aud"] == FILES


def test_unknown_foreign_and_other_tokens_get_one_sentence(app: Flask, shop: RelyingParty, backend: Service) -> None:
    """Made up, of another key, an ID token, a refresh token, for another API, expired: nobody learns which."""
    tokens = shop.tokens(scope=SCOPE)
    good = tokens["access_token"]
    claims = payload(good)
    elsewhere = str(shop.tokens(scope="store:read")["access_token"])
    head, body, signature = good.split(".")
    for subject in (
        *("x", "a.b.c", f"{head}.{body}.", f"{head}.{body}.{signature[::-1]}", "ü", tokens["id_token"]),
        *(tokens["refresh_token"], elsewhere, signed(app, {**claims, "iss": "https://evil.example.org"})),
        *(signed(app, claims, typ="JWT"), signed(app, {**claims, "exp": claims["iat"] - 10})),
        signed(app, {**claims, "client_id": "nobody"}),
    ):
        is_refused(backend, "invalid_request", "the subject token is unknown, has ended, or is not one", subject)
    assert backend.exchange(good).status_code == 200


def test_a_rule_is_for_one_client(app: Flask, shop: RelyingParty, backend: Service) -> None:
    """Another one that has the grant too learns nothing about the token (TX-01, CVE-2026-9097)."""
    other, subject = exchange.service(app, "other-backend"), token(shop)
    is_refused(other, "invalid_request", "the subject token is unknown", subject)
    exchange.rule(app, "other", client_id="other-backend", from_audience=STORE)
    is_refused(other, "invalid_request", "the subject token is unknown", token(shop, "orders:read files:read"))
    assert other.exchange(subject).status_code == 200  # it is for the store as well


def test_a_rule_may_name_the_apps(app: Flask, browser: Browser, shop: RelyingParty, backend: Service) -> None:
    """`from_clients`: tokens of others are as unknown."""
    exchange.rule(app, from_clients=("shop",))
    other = RelyingParty(app, browser, *factories.client(app, client_name="Other", scope=SCOPE))
    is_refused(backend, "invalid_request", "the subject token is unknown", token(other))
    assert backend.exchange(token(shop)).status_code == 200


def test_the_first_rule_by_name_holds_and_none_are_mixed(app: Flask, shop: RelyingParty, backend: Service) -> None:
    """Two that lead to the same API do not add up."""
    exchange.rule(app, "a-rule-before", scopes=("files:write",), impersonation=True)
    subject = token(shop)
    answer = backend.exchange(subject)
    assert answer.json["scope"] == "files:write"
    is_refused(backend, "invalid_scope", "rule", subject, scope="files:read")
    assert "act" not in payload(answer.json["access_token"])


def test_scopes_only_shrink(app: Flask, shop: RelyingParty, backend: Service) -> None:
    """Of the subject token, of the rule, and what was asked; nothing for the API is nothing at all."""
    exchange.rule(app, scopes=("files:read", "files:write"))
    assert backend.exchange(token(shop, "orders:read files:read")).json["scope"] == "files:read"
    both = token(shop)
    assert backend.exchange(both).json["scope"] == "files:read files:write"
    assert backend.exchange(both, scope="files:write").json["scope"] == "files:write"
    is_refused(backend, "invalid_scope", "no scope of this API", token(shop, "orders:read store:read"))
    is_refused(backend, "invalid_scope", "no scope of this API", token(shop, resource=ORDERS))


def test_what_app_and_person_may_no_longer_have_is_left_out(app: Flask, shop: RelyingParty, backend: Service) -> None:
    """A role that came to name the scope, and a registration that lost it."""
    exchange.rule(app, scopes=("files:read", "files:write"))
    subject = token(shop)
    assert backend.exchange(subject).json["scope"] == "files:read files:write"
    factories.role(app, "clerk", ["files:write"])
    assert backend.exchange(subject).json["scope"] == "files:read"
    is_refused(backend, "invalid_scope", "no scope of this API", subject, scope="files:write")
    factories.within(app, lambda: clients.change(shop.client, {"scope": "openid orders:read"}))
    is_refused(backend, "invalid_scope", "no scope of this API", subject)


@pytest.mark.parametrize("whose", ["app", "service"])
def test_a_demand_that_was_raised_holds(app: Flask, shop: RelyingParty, backend: Service, whose: str) -> None:
    """`minimum_acr` of either client, as at a refresh; `scope_acr` below."""
    subject = token(shop)
    client = shop.client if whose == "app" else backend.client
    factories.within(app, lambda: clients.change(client, {"minimum_acr": "aal2"}))
    is_refused(backend, "invalid_scope", "not strong enough", subject)
    factories.within(app, lambda: clients.change(client, {"minimum_acr": None}))
    assert backend.exchange(subject).status_code == 200


def test_a_target_that_demands_more_than_the_sign_in(app: Flask, browser: Browser) -> None:
    """RFC 9470: a scope that needs two factors is not got around by an exchange."""
    exchange.apis(app)
    shop = RelyingParty(app, browser, *factories.client(app, scope=SCOPE))
    backend = exchange.service(app)
    exchange.rule(app, scopes=("files:read", "files:write"))
    subject = token(shop)

    def demand() -> None:
        found = apis.register().by_identifier[FILES]
        apis.change(
            found, name="Files", scopes=found.scopes, token_format="jwt", alg="RS256", token_ttl_seconds=None,
            minimum_acr=None, scope_acr={"files:write": "aal2"},
        )  # fmt: skip

    assert backend.exchange(subject).json["scope"] == "files:read files:write"
    factories.within(app, demand)
    assert backend.exchange(subject).json["scope"] == "files:read"


def test_it_lives_no_longer_than_what_it_was_exchanged_for(
    app: Flask, shop: RelyingParty, backend: Service, in_a_while: Travel
) -> None:
    """Down to the last second; another exchange on top gets no more, and an expired one gives nothing."""
    subject = token(shop)
    exp = payload(subject)["exp"]
    in_a_while(timedelta(minutes=10))
    answer = backend.exchange(subject)
    assert payload(answer.json["access_token"])["exp"] == exp
    assert answer.json["expires_in"] <= 300
    factories.within(app, lambda: clients.change(backend.client, {"access_token_ttl": 30}))
    assert backend.exchange(subject).json["expires_in"] == 30
    in_a_while(timedelta(minutes=5, seconds=1))
    is_refused(backend, "invalid_request", "the subject token is unknown, has ended", subject)


def test_a_services_own_token_is_not_exchanged(app: Flask, shop: RelyingParty, backend: Service) -> None:
    """It acts for no person."""
    client, secret = factories.service(app, scope="orders:read files:read")
    answer = app.test_client().post(
        "/oauth/token", data={"grant_type": "client_credentials"}, headers=basic(client.client_id, secret)
    )
    is_refused(backend, "invalid_request", "acts for no person", answer.json["access_token"])


def test_impersonation_only_where_the_rule_says_so(app: Flask, shop: RelyingParty, backend: Service) -> None:
    """Without `act`; a service that shows itself as the actor is named all the same (RFC 8693 §1.1)."""
    subject = token(shop)
    assert payload(backend.exchanged(subject))["act"] == {"sub": "orders-backend"}
    exchange.rule(app, impersonation=True)
    assert "act" not in payload(backend.exchanged(subject))
    actor = {"actor_token": backend.own_token(), "actor_token_type": ACCESS_TOKEN}
    assert payload(backend.exchanged(subject, **actor))["act"] == {"sub": "orders-backend"}


def test_the_actor_is_the_client_itself(app: Flask, shop: RelyingParty, backend: Service) -> None:
    """A person's token, another service's, a dead one: none makes somebody else the actor."""
    subject, other = token(shop), exchange.service(app, "other-backend")
    own = backend.own_token()
    for actor in (subject, other.own_token(), "x", backend.exchanged(subject)):
        fields = {"actor_token": actor, "actor_token_type": ACCESS_TOKEN}
        is_refused(backend, "invalid_request", "the actor token is unknown", subject, **fields)
    good = {"actor_token": own, "actor_token_type": JWT}
    assert backend.exchange(subject, **good).status_code == 200
    assert backend.post("/oauth/revoke", {"token": own}).status_code == 200
    is_refused(backend, "invalid_request", "the actor token is unknown", subject, **good)


def test_may_act_is_respected(app: Flask, shop: RelyingParty, backend: Service) -> None:
    """RFC 8693 §4.4: a token that says who may act is for nobody else, and goes on saying so."""
    claims = payload(token(shop))
    for named in (
        *({"sub": "other-backend"}, {}, "orders-backend", None, ["orders-backend"]),
        {"sub": "orders-backend", "iss": "https://evil.example.org"},
    ):
        subject = signed(app, {**claims, "may_act": named})
        is_refused(backend, "invalid_request", "names another actor", subject)
    allowed = {"sub": "orders-backend", "iss": "http://localhost:8421"}
    assert payload(backend.exchanged(signed(app, {**claims, "may_act": allowed})))["may_act"] == allowed


def test_chains_nest_and_end(app: Flask, shop: RelyingParty, backend: Service) -> None:
    """RFC 8693 §4.1: the present actor outside, the former ones inside; four exchanges in a row, no fifth."""
    files = exchange.service(app, "files-backend")
    there = {"client_id": "files-backend", "from_audience": FILES, "to_audience": FILES, "scopes": ("files:read",)}
    exchange.rule(app, "files-to-files", **there)
    current, expected = backend.exchanged(token(shop)), {"sub": "orders-backend"}
    for _step in range(3):
        current = files.exchanged(current)
        expected = {"sub": "files-backend", "act": expected}
        assert payload(current)["act"] == expected
    is_refused(files, "invalid_request", "too often", current)
    exchange.rule(app, "files-to-files", **there, impersonation=True)
    again = files.exchanged(backend.exchanged(token(shop)))
    assert payload(again)["act"] == {"sub": "orders-backend"}  # who acted before is never left out
    current = files.exchanged(files.exchanged(again))
    is_refused(files, "invalid_request", "too often", current)


@pytest.mark.parametrize("token_format", ["jwt", "opaque"])
def test_introspection_tells_the_actor(app: Flask, browser: Browser, token_format: str) -> None:
    """To the API that it is for, in both forms; and what it came from stays with us (RFC 7662, RFC 8693 §4.1)."""
    for identifier, scopes in ((ORDERS, {"orders:read": "See"}), (FILES, {"files:read": "See"})):
        _api, secret = factories.api(app, identifier, scopes=scopes, token_format=token_format)
    shop = RelyingParty(app, browser, *factories.client(app, scope="orders:read files:read"))
    backend = exchange.service(app)
    exchange.rule(app, scopes=("files:read",))
    subject = token(shop, "orders:read files:read")
    made = backend.exchanged(subject)
    assert ("." in made) == (token_format == "jwt")
    with app.app_context():
        api = apis.register().by_identifier[FILES]
    found = shop.introspect(made, headers=basic(api.client_id, secret))
    assert (found["active"], found["aud"], found["act"]) == (True, FILES, {"sub": "orders-backend"})
    assert found["exp"] <= shop.introspect(subject)["exp"]
    assert "via" not in found
    assert backend.introspect(made)["active"]
    assert shop.introspect(made) == {"active": False}
    if token_format == "opaque":
        fields = {"requested_token_type": JWT}
        is_refused(backend, "invalid_request", "opaque", subject, **fields)


def test_it_opens_neither_userinfo_nor_anything_of_the_app(shop: RelyingParty, backend: Service) -> None:
    """No `openid`, and no refresh with it."""
    made = backend.exchanged(token(shop))
    assert shop.userinfo(made).status_code == 401
    asserts.is_oauth_error(backend.post("/oauth/token", {"grant_type": "refresh_token"}), "unauthorized_client")


def test_a_bound_token_only_where_the_rule_says_so(app: Flask, shop: RelyingParty, backend: Service) -> None:
    """RFC 9449: the service holds another key, so an operator trusts it with the check; what it gets is bound again."""
    key, own = DpopKey(), DpopKey()
    headers = basic(shop.client.client_id, shop.secret) | {"DPoP": key.proof()}
    subject = shop.exchange(shop.code(scope=SCOPE), headers=headers).json["access_token"]
    for proof in (None, own.proof(), key.proof()):
        is_refused(backend, "invalid_request", "bound to a key, and the rule does not", subject, dpop=proof)
    exchange.rule(app, bound_tokens=True)
    is_refused(backend, "invalid_dpop_proof", "send a DPoP proof", subject)
    answer = backend.exchange(subject, own.proof())
    assert answer.json["token_type"] == "DPoP"
    assert payload(answer.json["access_token"])["cnf"] == {"jkt": own.jkt}
    assert payload(backend.exchanged(token(shop)))["aud"] == FILES  # a bearer token needs no proof


def test_a_proof_binds_what_is_given(shop: RelyingParty, backend: Service) -> None:
    """Once: the same proof a second time is refused (RFC 9449 §11.1)."""
    key, subject = DpopKey(), token(shop)
    proof = key.proof()
    answer = backend.exchange(subject, proof)
    assert (answer.json["token_type"], payload(answer.json["access_token"])["cnf"]) == ("DPoP", {"jkt": key.jkt})
    asserts.is_oauth_error(backend.exchange(subject, proof), "invalid_dpop_proof")


def test_a_bound_actor_token_needs_its_proof(shop: RelyingParty, backend: Service) -> None:
    """Whoever found it is no actor."""
    key, subject = DpopKey(), token(shop)
    actor = {"actor_token": backend.own_token(key.proof()), "actor_token_type": ACCESS_TOKEN}
    for proof in (None, DpopKey().proof()):
        is_refused(backend, "invalid_dpop_proof", "actor token is bound", subject, dpop=proof, **actor)
    assert backend.exchange(subject, key.proof(), **actor).status_code == 200


def test_the_audit_says_who_exchanged_what(app: Flask, shop: RelyingParty, ada: users.User, backend: Service) -> None:
    """The person, the client, the family, the rule, and the token it came from; refusals with their cause."""
    subject = token(shop)
    made = backend.exchanged(subject)
    (row,) = [row for row in asserts.events_of(app, "token.issued") if row.data["grant_type"] == TOKEN_EXCHANGE]
    assert (row.subject, row.client_id, row.family) == (ada.id, "orders-backend", payload(subject)["fam"])
    assert (row.data["rule"], row.data["from_client"]) == ("orders-to-files", "shop")
    assert (row.data["from_jti"], row.data["jti"]) == (payload(subject)["jti"], payload(made)["jti"])
    assert row.data["act"] == {"sub": "orders-backend"}
    backend.exchange("x.y.z")
    refused = asserts.events_of(app, "token.refused")[-1]
    assert (refused.client_id, refused.reason) == (
        "orders-backend", "unknown, malformed, expired or ended subject token",
    )  # fmt: skip


def test_the_person_sees_it_and_ends_it(shop: RelyingParty, backend: Service) -> None:
    """Beside the app that they allowed, by the names of service and API; disconnecting the app ends it."""
    assert "Orders backend" not in shop.browser.get("/account/apps").text
    made = backend.exchanged(token(shop))
    page = shop.browser.get("/account/apps")
    assert "<bdi>Orders backend</bdi> used <bdi>Files</bdi> in your name" in page.text
    assert backend.introspect(made)["active"]
    shop.browser.submit(page, "/account/apps", decision="disconnect", app="shop")
    assert backend.introspect(made) == {"active": False}
    assert "Orders backend" not in shop.browser.get("/account/apps").text


def test_no_client_registers_itself_for_it(make_app: Callable[..., Flask]) -> None:
    """The grant is an operator's to give (RFC 7591 §5)."""
    app = make_app(registration="open")
    factories.person(app, roles=["administrator"])
    about: dict[str, Any] = {"redirect_uris": ["https://app.example.org/callback"]}
    post = app.test_client().post
    refused = post("/oauth/register", json={**about, "grant_types": ["authorization_code", TOKEN_EXCHANGE]})
    asserts.is_oauth_error(refused, "invalid_client_metadata")
    assert (
        post("/oauth/register", json={**about, "grant_types": ["authorization_code", DEVICE_CODE]}).status_code == 201
    )


def test_a_token_of_the_app_is_not_changed_by_it(shop: RelyingParty, backend: Service) -> None:
    """It may be exchanged again and again, and used."""
    subject = token(shop)
    assert len({payload(backend.exchanged(subject))["jti"] for _ in range(3)}) == 3
    assert shop.machine.get("/oauth/userinfo", headers=bearer(subject)).status_code == 200
