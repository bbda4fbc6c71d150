"""Signed authorization requests (RFC 9101): what the app's key has signed counts, and nothing beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from auth_server.infra import clock
from tests.support import assertion, asserts, factories, web_server
from tests.support.assertion import Signer
from tests.support.browser import Browser
from tests.support.dpop import DpopKey
from tests.support.rp import RelyingParty, answer_of, basic, payload
from tests.support.web_server import WebServer

ISSUER = "http://localhost:8421"
KEYS = {alg: assertion.signer(alg, kid=alg) for alg in ("RS256", "PS256", "ES256", "EdDSA")}
JWKS = {"keys": [key.jwk() for key in KEYS.values()]}


@pytest.fixture
def signing(app: Flask, browser: Browser) -> RelyingParty:
    """Return an app with registered keys."""
    return RelyingParty(app, browser, *factories.client(app, jwks=JWKS))


def signed(rp: RelyingParty, key: Signer = KEYS["ES256"], header: dict[str, Any] | None = None, **changed: Any) -> str:
    """Return the right request as an object; a value of None removes a claim."""
    now = clock.epoch_seconds(clock.now())
    about = {"iss": rp.client.client_id, "aud": ISSUER, "exp": now + 300, "iat": now, "nbf": now}
    claims = {**rp.request(), **about, **changed}
    kept = {name: value for name, value in claims.items() if value is not None}
    return key.token(kept, **{"typ": "oauth-authz-req+jwt", **(header or {})})


def bare(request: str) -> dict[str, Any]:
    """Return what is sent beside the object: nothing but the client."""
    names = ("redirect_uri", "response_type", "scope", "state", "nonce", "code_challenge", "code_challenge_method")
    return {"request": request, **dict.fromkeys(names)}


@pytest.mark.parametrize("alg", KEYS)
def test_a_signed_request_leads_to_a_code(signing: RelyingParty, alg: str) -> None:
    """By each advertised algorithm; what is signed comes back in the tokens."""
    answer = answer_of(signing.walk(**bare(signed(signing, KEYS[alg], state="signed", nonce="signed-nonce"))))
    assert answer["state"] == "signed"
    tokens = signing.exchange(answer["code"]).json
    assert payload(tokens["id_token"])["nonce"] == "signed-nonce"


def test_what_is_beside_it_does_not_count(signing: RelyingParty) -> None:
    """RFC 9101 §6.3: nobody on the way can add or change anything."""
    request = signed(signing, scope="openid", state="signed", nonce=None)
    beside = {"scope": "openid profile email offline_access", "state": "other", "nonce": "other", "prompt": "none"}
    answer = answer_of(signing.walk(request=request, redirect_uri="https://evil.example/", **beside))
    assert answer["state"] == "signed"
    tokens = signing.exchange(answer["code"]).json
    assert tokens["scope"] == "openid"
    assert "nonce" not in payload(tokens["id_token"])


def test_numbers_and_lists_are_parameters_too(app: Flask, browser: Browser) -> None:
    """RFC 9101 §4: `max_age` as a number, `resource` as a list."""
    factories.api(app)
    signing = RelyingParty(app, browser, *factories.client(app, jwks=JWKS, scope="openid orders:read"))
    request = signed(signing, max_age=300, resource=[factories.ORDERS], scope="openid")
    tokens = signing.exchange(answer_of(signing.walk(**bare(request)))["code"]).json
    assert factories.ORDERS in payload(tokens["access_token"])["aud"]


def test_the_steps_after_the_first_need_no_object(signing: RelyingParty) -> None:
    """The row keeps what was signed: sign-in and consent go on, even when the object has expired meanwhile."""
    page = signing.browser.follow(signing.authorize(**bare(signed(signing, exp=clock.epoch_seconds(clock.now()) + 1))))
    asserts.is_page(page, "login")
    assert "code" in answer_of(signing.walk_on(page))


STRANGER = assertion.signer("ES256", kid="ES256")
WRONG: dict[str, Callable[[RelyingParty], str]] = {
    "no token": lambda rp: "x",
    "alg none": lambda rp: signed(rp, header={"alg": "none"}).rsplit(".", 1)[0] + ".",
    "a stranger's key": lambda rp: signed(rp, STRANGER),
    "another kid": lambda rp: signed(rp, header={"kid": "unknown"}),
    "kid a number": lambda rp: signed(rp, header={"kid": 7}),
    "another alg than the key's": lambda rp: signed(rp, header={"alg": "RS256"}),
    "HS256 with the public key": lambda rp: signed(rp, assertion.Signer("HS256", KEYS["RS256"].private_pem(), "RS256")),
    "typ of an access token": lambda rp: signed(rp, header={"typ": "at+jwt"}),
    "a key along": lambda rp: signed(rp, STRANGER, header={"jwk": STRANGER.jwk()}),
    "a key's address": lambda rp: signed(rp, header={"jku": "https://evil.example/keys"}),
    "crit": lambda rp: signed(rp, header={"crit": ["exp"]}),
    "another iss": lambda rp: signed(rp, iss="another"),
    "no iss": lambda rp: signed(rp, iss=None),
    "another client_id": lambda rp: signed(rp, client_id="another"),
    "another aud": lambda rp: signed(rp, aud="https://other.example.org"),
    "no aud": lambda rp: signed(rp, aud=None),
    "expired": lambda rp: signed(rp, exp=clock.epoch_seconds(clock.now()) - 61),
    "exp a text": lambda rp: signed(rp, exp="soon"),
    "from the future": lambda rp: signed(rp, nbf=clock.epoch_seconds(clock.now()) + 120),
    "a client assertion": lambda rp: signed(rp, sub=rp.client.client_id),
    "request inside": lambda rp: signed(rp, request="x"),
    "request_uri inside": lambda rp: signed(rp, request_uri="https://x.example.org/"),
    "a flag": lambda rp: signed(rp, prompt=True),
    "claims that are a list": lambda rp: KEYS["ES256"].token([1]),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_object_is_a_page_and_never_a_redirect(signing: RelyingParty, what: str) -> None:
    """RFC 9101 §6.2, §10: nothing of it can be trusted, its redirect URI neither."""
    asserts.is_error_page(signing.authorize(request=WRONG[what](signing)), "invalid_request_object")
    pushed = {"request": WRONG[what](signing)}
    headers = basic(signing.client.client_id, signing.secret)
    asserts.is_oauth_error(signing.post("/oauth/par", pushed, headers=headers), "invalid_request_object")
    assert signing.authorize(**bare(signed(signing))).status_code == 303


def test_two_ways_at_once_are_refused(signing: RelyingParty) -> None:
    """An object beside a reference, or two objects."""
    good = signed(signing)
    asserts.is_error_page(signing.authorize(request=[good, good]), "invalid_request_object")
    asserts.is_error_page(signing.authorize(request=good, request_uri="urn:x"), "invalid_request_object")


def test_a_client_without_keys_can_sign_nothing(rp: RelyingParty) -> None:
    """What it never registered is never believed."""
    asserts.is_error_page(rp.authorize(request=signed(rp)), "invalid_request_object")


def test_a_client_may_have_to_sign(app: Flask, browser: Browser) -> None:
    """`require_signed_request_object` (RFC 9101 §10.5), with one algorithm; it starts anew at its own site."""
    about = {"jwks": JWKS, "require_signed_request_object": True, "request_object_signing_alg": "PS256"}
    rp = RelyingParty(app, browser, *factories.client(app, **about))
    asserts.is_redirect_error(rp.authorize(), "invalid_request")
    asserts.is_error_page(rp.authorize(request=signed(rp, KEYS["ES256"])), "invalid_request_object")
    done = rp.walk(**bare(signed(rp, KEYS["PS256"])))
    assert "code" in answer_of(done)


def test_a_signed_request_can_be_pushed(signing: RelyingParty) -> None:
    """RFC 9126 §3; the key of a DPoP proof is kept with what was signed."""
    key = DpopKey()
    headers = basic(signing.client.client_id, signing.secret) | {"DPoP": key.proof("/oauth/par")}
    answer = signing.post("/oauth/par", {"request": signed(signing, state="pushed")}, headers=headers)
    assert answer.status_code == 201, answer.text
    done = answer_of(signing.walk_on(signing.browser.follow(signing.bring(answer.json["request_uri"]))))
    assert done["state"] == "pushed"
    asserts.is_oauth_error(signing.exchange(done["code"]), "invalid_grant")


@pytest.fixture
def published() -> Iterator[WebServer]:
    with web_server.running(web_server.as_json(JWKS)) as server:
        yield server


def test_keys_may_be_published(make_app: Callable[..., Flask], published: WebServer) -> None:
    """`jwks_uri`: fetched once, while nothing is held."""
    app = make_app(outbound_allow_hosts=(f"127.0.0.1:{published.port}",))
    factories.person(app, "ada@example.org", roles=["administrator"])
    rp = RelyingParty(app, Browser(app), *factories.client(app, jwks_uri=published.url("/keys")))
    for _time in range(2):
        assert "code" in answer_of(rp.walk(**bare(signed(rp))))
    assert len(published.requests) == 1


def test_metadata(signing: RelyingParty) -> None:
    """RFC 9101 §10.5, OpenID Connect Discovery §3."""
    found = signing.machine.get("/.well-known/openid-configuration").json
    assert found["request_parameter_supported"] is True
    assert found["request_object_signing_alg_values_supported"] == ["RS256", "PS256", "ES256", "EdDSA"]
