"""DPoP (RFC 9449): tokens bound to a key are worth nothing to whoever steals them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.infra import clock
from auth_server.keys import dpop
from auth_server.values import Rate
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.dpop import DpopKey
from tests.support.rp import RelyingParty, answer_of, basic, payload

USERINFO = "/oauth/userinfo"


@pytest.fixture
def key() -> DpopKey:
    return DpopKey()


@pytest.fixture
def spa(app: Flask, browser: Browser) -> RelyingParty:
    """Return a public app."""
    return RelyingParty(app, browser, factories.public_client(app))


def redeem(rp: RelyingParty, code: str, proof: str | None, **changed: Any) -> TestResponse:
    fields = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": rp.client.redirect_uris[0],
        "code_verifier": rp.verifier,
        **changed,
    }
    return send(rp, fields, proof)


def refresh(rp: RelyingParty, refresh_token: str, proof: str | None) -> TestResponse:
    return send(rp, {"grant_type": "refresh_token", "refresh_token": refresh_token}, proof)


def send(rp: RelyingParty, fields: dict[str, Any], proof: str | None) -> TestResponse:
    headers = basic(rp.client.client_id, rp.secret) if rp.secret else {}
    if not rp.secret:
        fields = {**fields, "client_id": rp.client.client_id}
    if proof is not None:
        headers["DPoP"] = proof
    return rp.post("/oauth/token", fields, headers=headers)


def bound(rp: RelyingParty, key: DpopKey) -> dict[str, Any]:
    """Return tokens that are bound to a key."""
    answer = redeem(rp, rp.code(), key.proof())
    assert answer.status_code == 200, answer.text
    return dict(answer.json)


def ask(rp: RelyingParty, token: str, proof: str | None, scheme: str = "DPoP") -> TestResponse:
    headers = {"Authorization": f"{scheme} {token}"} | ({"DPoP": proof} if proof else {})
    return rp.machine.get(USERINFO, headers=headers, base_url="http://localhost:8421")


@pytest.mark.parametrize("alg", dpop.ALGORITHMS)
def test_a_bound_token_works_with_its_key_alone(rp: RelyingParty, alg: str) -> None:
    """`cnf.jkt` in the token, `token_type` DPoP; userinfo wants a proof over the token (RFC 9449 §5, §6.1, §7)."""
    key = DpopKey(alg)
    found = bound(rp, key)
    token = found["access_token"]
    assert found["token_type"] == "DPoP"
    assert payload(token)["cnf"] == {"jkt": key.jkt}
    assert ask(rp, token, key.proof(USERINFO, "GET", access_token=token)).status_code == 200
    other = DpopKey(alg)
    refused = ask(rp, token, other.proof(USERINFO, "GET", access_token=token))
    asserts.is_oauth_error(refused, "invalid_token", 401)


@pytest.mark.parametrize("scheme", ["dpop", "DPOP", "DPoP"])
def test_the_scheme_has_any_case(rp: RelyingParty, key: DpopKey, scheme: str) -> None:
    """RFC 9110 §11.1 (access-token-type-header-case-sensitivity)."""
    token = bound(rp, key)["access_token"]
    assert ask(rp, token, key.proof(USERINFO, "GET", access_token=token), scheme).status_code == 200


def test_a_bound_token_is_no_bearer_token(rp: RelyingParty, key: DpopKey) -> None:
    """RFC 9449 §7.2; nor is a bearer token a bound one."""
    token = bound(rp, key)["access_token"]
    refused = ask(rp, token, None, "Bearer")
    asserts.is_oauth_error(refused, "invalid_token", 401)
    assert refused.headers["WWW-Authenticate"].startswith('DPoP realm="oauth", algs="ES256 EdDSA PS256 RS256"')
    plain = rp.tokens()["access_token"]
    proof = key.proof(USERINFO, "GET", access_token=plain)
    asserts.is_oauth_error(ask(rp, plain, proof), "invalid_token", 401)
    assert rp.userinfo(plain).status_code == 200


def test_an_opaque_token_is_bound_too(app: Flask, browser: Browser, key: DpopKey) -> None:
    """What it is bound to is kept with it and told to whoever introspects."""
    factories.api(app, token_format="opaque")
    rp = RelyingParty(app, browser, *factories.client(app, scope="orders:read"))
    found = redeem(rp, rp.code(scope="orders:read", resource=factories.ORDERS), key.proof()).json
    answer = rp.introspect(found["access_token"])
    assert (answer["token_type"], answer["cnf"]) == ("DPoP", {"jkt": key.jkt})


WRONG: dict[str, dict[str, Any]] = {
    "htm": {"htm": "GET"},
    "htm missing": {"htm": None},
    "htu": {"htu": "http://localhost:8421/oauth/par"},
    "htu of another host": {"htu": "https://elsewhere.example/oauth/token"},
    "htu malformed": {"htu": "http://[/oauth/token"},
    "htu a number": {"htu": 7},
    "htu missing": {"htu": None},
    "jti missing": {"jti": None},
    "jti empty": {"jti": ""},
    "jti a list": {"jti": ["x"]},
    "iat missing": {"iat": None},
    "iat a text": {"iat": "now"},
    "iat infinite": {"iat": 1e300},
    "iat true": {"iat": True},
    "nonce a number": {"nonce": 7},
    "typ": {"header": {"typ": "JWT"}},
    "typ missing": {"header": {"typ": None}},
    "alg none": {"header": {"alg": "none"}},
    "alg HS256": {"header": {"alg": "HS256"}},
    "alg missing": {"header": {"alg": None}},
    "alg of another key": {"header": {"alg": "RS256"}},
    "jwk missing": {"header": {"jwk": None}},
    "jwk a text": {"header": {"jwk": "x"}},
    "jwk empty": {"header": {"jwk": {}}},
    "jwk of another curve": {"header": {"jwk": {"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}}},
    "jwk off the curve": {"header": {"jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}}},
    "jwk symmetric": {"header": {"jwk": {"kty": "oct", "k": "c2VjcmV0"}}},
    "crit": {"header": {"crit": ["exp"]}},
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_proof_is_refused_and_changes_nothing(rp: RelyingParty, key: DpopKey, what: str) -> None:
    """RFC 9449 §4.3 (dpop-negative-tests); the code is still good for the right proof."""
    code = rp.code()
    asserts.is_oauth_error(redeem(rp, code, key.proof(**WRONG[what])), "invalid_dpop_proof")
    assert redeem(rp, code, key.proof()).status_code == 200


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "....", "é.é.é", "e30.e30.e30", "x" * 20_000])
def test_what_is_no_proof_is_refused(rp: RelyingParty, text: str) -> None:
    """Malformed, empty, oversized."""
    refused = redeem(rp, "code", text.encode().decode("latin-1"))
    asserts.is_oauth_error(refused, "invalid_dpop_proof")


def test_two_proofs_a_private_key_and_a_foreign_signature_are_refused(rp: RelyingParty, key: DpopKey) -> None:
    """One header only; the key's secret must not be in it; the signature is of the key in the header."""
    code = rp.code()
    asserts.is_oauth_error(redeem(rp, code, f"{key.proof()},{key.proof()}"), "invalid_dpop_proof")
    private = key.proof(header={"jwk": key.key.as_dict(private=True)})
    asserts.is_oauth_error(redeem(rp, code, private), "invalid_dpop_proof")
    foreign = {name: value for name, value in DpopKey().key.as_dict(private=False).items() if name != "kid"}
    asserts.is_oauth_error(redeem(rp, code, key.proof(header={"jwk": foreign})), "invalid_dpop_proof")
    assert redeem(rp, code, key.proof()).status_code == 200


def test_short_rsa_keys_are_refused(rp: RelyingParty) -> None:
    """NIST SP 800-131A: 2048 bits or more."""
    short = {"kty": "RSA", "e": "AQAB", "n": "x" * 171}
    refused = redeem(rp, rp.code(), DpopKey("RS256").proof(header={"jwk": short}))
    asserts.is_oauth_error(refused, "invalid_dpop_proof")
    assert "2048" in refused.json["error_description"]


def test_the_address_is_compared_normalised(rp: RelyingParty, key: DpopKey) -> None:
    """Query and fragment do not matter, nor the host's case (RFC 9449 §4.3); extra nbf and exp neither."""
    proof = key.proof(htu="HTTP://LOCALHOST:8421/oauth/token?x=1#y", nbf=0, exp=1)
    assert redeem(rp, rp.code(), proof).status_code == 200


@pytest.mark.parametrize(("seconds", "accepted"), [(-50, True), (50, True), (-70, False), (70, False), (3600, False)])
def test_a_proof_is_of_now(rp: RelyingParty, key: DpopKey, seconds: int, accepted: bool) -> None:
    """Clocks may differ by a minute, both ways (RFC 9449 §11.1)."""
    answer = redeem(rp, rp.code(), key.proof(iat=clock.epoch_seconds(clock.now()) + seconds))
    assert answer.status_code == (200 if accepted else 400)


def test_a_proof_counts_once(rp: RelyingParty, key: DpopKey) -> None:
    """RFC 9449 §11.1; another key may use the same `jti`, and its length does not matter."""
    proof = key.proof(jti="j" * 4000)
    assert redeem(rp, rp.code(), proof).status_code == 200
    code = rp.code()
    asserts.is_oauth_error(redeem(rp, code, proof), "invalid_dpop_proof")
    assert redeem(rp, code, DpopKey().proof(jti="j" * 4000)).status_code == 200


def test_a_proof_counts_once_at_userinfo(rp: RelyingParty, key: DpopKey) -> None:
    """And it must be over the token that it comes with (RFC 9449 §4.3, `ath`)."""
    token = bound(rp, key)["access_token"]
    proof = key.proof(USERINFO, "GET", access_token=token)
    assert ask(rp, token, proof).status_code == 200
    again = ask(rp, token, proof)
    asserts.is_oauth_error(again, "invalid_dpop_proof", 401)
    assert 'error="invalid_dpop_proof"' in again.headers["WWW-Authenticate"]
    for wrong in (None, key.proof(USERINFO, "GET"), key.proof(USERINFO, "GET", access_token="other")):
        asserts.is_oauth_error(ask(rp, token, wrong), "invalid_dpop_proof", 401)


def test_a_code_can_be_for_one_key(rp: RelyingParty, key: DpopKey) -> None:
    """RFC 9449 §10 (ensure-mismatched-dpop-jkt-fails): with another key, or none, it is spent in vain."""
    assert redeem(rp, rp.code(dpop_jkt=key.jkt), key.proof()).status_code == 200
    asserts.is_oauth_error(redeem(rp, rp.code(dpop_jkt=key.jkt), DpopKey().proof()), "invalid_grant")
    asserts.is_oauth_error(redeem(rp, rp.code(dpop_jkt=key.jkt), None), "invalid_grant")


def test_a_malformed_thumbprint_is_told_to_the_app(rp: RelyingParty) -> None:
    """`dpop_jkt` is 43 characters of base64url."""
    assert answer_of(rp.authorize(dpop_jkt="short"))["error"] == "invalid_request"


def test_a_public_apps_refresh_token_is_for_its_key(spa: RelyingParty, key: DpopKey) -> None:
    """RFC 9449 §5: with another key, or none, it is refused, and nothing ends by a stranger's try."""
    first = bound(spa, key)["refresh_token"]
    asserts.is_oauth_error(refresh(spa, first, None), "invalid_grant")
    asserts.is_oauth_error(refresh(spa, first, DpopKey().proof()), "invalid_grant")
    second = refresh(spa, first, key.proof())
    assert second.status_code == 200, second.text
    assert second.json["token_type"] == "DPoP"
    asserts.is_oauth_error(refresh(spa, second.json["refresh_token"], DpopKey().proof()), "invalid_grant")
    assert refresh(spa, second.json["refresh_token"], key.proof()).status_code == 200


def test_a_confidential_app_may_change_its_key(rp: RelyingParty, key: DpopKey) -> None:
    """RFC 9449 §5: its refresh tokens are bound to the client; each access token to the key of its own proof."""
    other = DpopKey()
    answer = refresh(rp, bound(rp, key)["refresh_token"], other.proof())
    assert payload(answer.json["access_token"])["cnf"] == {"jkt": other.jkt}


@pytest.mark.parametrize("grant_type", ["authorization_code", "refresh_token", "client_credentials"])
def test_a_client_that_must_prove_gets_nothing_without(
    app: Flask, browser: Browser, key: DpopKey, grant_type: str
) -> None:
    """`dpop_bound_access_tokens` (RFC 9449 §5.2), on every grant."""
    factories.api(app)
    grants = ["authorization_code", "refresh_token", "client_credentials"]
    about = {"dpop_bound_access_tokens": True, "grant_types": grants, "scope": "openid offline_access orders:read"}
    rp = RelyingParty(app, browser, *factories.client(app, **about))
    fields: dict[str, Any] = {
        "authorization_code": lambda: {"code": rp.code(), "code_verifier": rp.verifier},
        "refresh_token": lambda: {"refresh_token": bound(rp, key)["refresh_token"]},
        "client_credentials": dict,
    }[grant_type]()
    fields["grant_type"] = grant_type
    asserts.is_oauth_error(send(rp, fields, None), "invalid_dpop_proof")
    assert send(rp, fields, key.proof()).status_code == 200


def test_without_rotation_a_bound_confidential_client_keeps_its_token(
    app: Flask, browser: Browser, key: DpopKey, in_a_while: Callable[[timedelta], None]
) -> None:
    """`refresh_token_rotation: false`: the same token works again and lives on from each use."""
    about = {"dpop_bound_access_tokens": True, "refresh_token_rotation": False, "refresh_token_idle_ttl": 3600}
    rp = RelyingParty(app, browser, *factories.client(app, **about))
    token = bound(rp, key)["refresh_token"]
    for _ in range(3):
        in_a_while(timedelta(minutes=40))
        answer = refresh(rp, token, key.proof())
        assert answer.status_code == 200, answer.text
        assert "refresh_token" not in answer.json
    in_a_while(timedelta(minutes=61))
    asserts.is_oauth_error(refresh(rp, token, key.proof()), "invalid_grant")


def test_nonces(make_app: Callable[..., Flask], ada: Any, in_a_while: Callable[[timedelta], None]) -> None:
    """RFC 9449 §8: demanded where the setting says so; they age; asking for one is no refusal that counts."""
    app = make_app(dpop_nonce=True, endpoint_rate_limit=Rate(2, timedelta(minutes=1)))
    rp, key = RelyingParty(app, Browser(app), *factories.client(app)), DpopKey()
    code = rp.code()
    for _ in range(4):
        wanted = redeem(rp, code, key.proof())
        asserts.is_oauth_error(wanted, "use_dpop_nonce")
    nonce = wanted.headers["DPoP-Nonce"]
    asserts.is_oauth_error(redeem(rp, code, key.proof(nonce="made up")), "use_dpop_nonce")
    found = redeem(rp, code, key.proof(nonce=nonce)).json
    token = found["access_token"]
    there = ask(rp, token, key.proof(USERINFO, "GET", access_token=token))
    asserts.is_oauth_error(there, "use_dpop_nonce", 401)
    assert 'error="use_dpop_nonce"' in there.headers["WWW-Authenticate"]
    fresh = there.headers["DPoP-Nonce"]
    assert ask(rp, token, key.proof(USERINFO, "GET", access_token=token, nonce=fresh)).status_code == 200
    in_a_while(timedelta(minutes=11))
    stale = refresh(rp, found["refresh_token"], key.proof(nonce=nonce))
    asserts.is_oauth_error(stale, "use_dpop_nonce")
    assert refresh(rp, found["refresh_token"], key.proof(nonce=stale.headers["DPoP-Nonce"])).status_code == 200


def test_metadata_names_the_algorithms(rp: RelyingParty) -> None:
    """RFC 9449 §5.1."""
    found = rp.machine.get("/.well-known/oauth-authorization-server").json
    assert found["dpop_signing_alg_values_supported"] == ["ES256", "EdDSA", "PS256", "RS256"]


def test_a_request_without_token_is_told_both_schemes(rp: RelyingParty) -> None:
    """RFC 9449 §7.1."""
    answer = rp.machine.get(USERINFO)
    assert [value.split()[0] for value in answer.headers.getlist("WWW-Authenticate")] == ["Bearer", "DPoP"]
