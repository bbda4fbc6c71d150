"""FAPI 2.0 Security Profile (`profile: fapi2`). Tests bear the names of the plan's modules, of which all begin with
`fapi2-security-profile-final-`."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.infra import clock
from auth_server.keys import jose
from tests.support import assertion, asserts, factories, fapi
from tests.support.assertion import signer
from tests.support.browser import Browser, Page
from tests.support.certificate import certificate
from tests.support.dpop import DpopKey
from tests.support.fapi import CALLBACK, KEYS, OTHER_CALLBACK, PAR, USERINFO, Fapi
from tests.support.rp import RelyingParty, answer_of, payload

MakeApp = Callable[..., Flask]
Travel = Callable[[timedelta], None]
ISSUER = "http://localhost:8421"
RSA = signer("RS256")


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """An application that can see certificates."""
    return make_app(**fapi.SETTINGS)


@pytest.fixture
def here(app: Flask) -> Browser:
    factories.person(app, roles=["administrator"])
    return Browser(app)


@pytest.fixture
def one(app: Flask, here: Browser) -> Fapi:
    """The first client of the plan: private_key_jwt and DPoP."""
    return fapi.party(app, here)


@pytest.fixture
def two(app: Flask, here: Browser) -> Fapi:
    """The second client of the plan, with keys of its own and an address with a query."""
    return fapi.party(app, here, by=KEYS[1], redirect_uris=[OTHER_CALLBACK])


@pytest.fixture(params=fapi.COMBINATIONS)
def any_of_them(request: pytest.FixtureRequest, app: Flask, here: Browser) -> Fapi:
    """A client of each variant: how it proves itself, and what binds its tokens."""
    return fapi.party(app, here, **fapi.COMBINATIONS[request.param])


def bits(secret: str) -> int:
    return len(base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))) * 8


def alg_of(token: str) -> str:
    return str(jose.header(token)["alg"])


def is_refused_client(answer: TestResponse) -> None:
    asserts.is_oauth_error(answer, "invalid_client", 401)


def test_discovery_end_point_verification(app: Flask) -> None:
    """What the plan looks for is told, and what FAPI wants is among it; a client of the profile may use no more."""
    found = app.test_client().get("/.well-known/openid-configuration").json
    assert found["pushed_authorization_request_endpoint"] == ISSUER + PAR
    assert found["authorization_response_iss_parameter_supported"] is True
    assert found["code_challenge_methods_supported"] == ["S256"]
    assert found["tls_client_certificate_bound_access_tokens"] is True
    assert {"PS256", "ES256", "EdDSA"} <= set(found["token_endpoint_auth_signing_alg_values_supported"])
    assert {"PS256", "ES256"} <= set(found["dpop_signing_alg_values_supported"])
    assert {"private_key_jwt", "self_signed_tls_client_auth"} <= set(found["token_endpoint_auth_methods_supported"])
    assert {"ES256", "EdDSA"} <= set(found["id_token_signing_alg_values_supported"])
    assert "jwt" in found["response_modes_supported"]


def test_happy_flow(any_of_them: Fapi) -> None:
    """All four variants: reference, `iss`, bound tokens, nothing signed with RS256, and the resource."""
    party = any_of_them
    pushed = party.push()
    assert (pushed.status_code, set(pushed.json)) == (201, {"request_uri", "expires_in"})
    assert 5 <= pushed.json["expires_in"] < 600
    assert bits(pushed.json["request_uri"].rpartition(":")[2]) >= 128
    answer = answer_of(party.walk_on(party.bring(pushed.json["request_uri"])))
    assert (answer["iss"], answer["state"]) == (ISSUER, "the-state")
    tokens = party.exchange(answer["code"]).json
    assert min(map(bits, (answer["code"], tokens["refresh_token"]))) >= 128
    assert tokens["token_type"] == ("DPoP" if party.key else "Bearer")
    bound = {"jkt": party.key.jkt} if party.key else {"x5t#S256": party.holder.thumbprint if party.holder else ""}
    assert payload(tokens["access_token"])["cnf"] == bound
    assert (alg_of(tokens["id_token"]), alg_of(tokens["access_token"])) == ("ES256", "ES256")
    assert party.userinfo(tokens["access_token"]).json["sub"] == payload(tokens["id_token"])["sub"]
    query = f"{USERINFO}?access_token={tokens['access_token']}"
    headers = {**party.shown(), **party.proof(USERINFO, "GET", access_token=tokens["access_token"])}
    assert party.machine.get(query, headers=headers, base_url=ISSUER).status_code in (400, 401)


def test_happy_flow_of_the_second_client(one: Fapi, two: Fapi) -> None:
    """Its address keeps its query; the first client's key is none of its own."""
    location = two.walk().headers["Location"]
    assert location.startswith(OTHER_CALLBACK + "&")
    assert answer_of(two.walk())["dummy1"] == "lorem"
    assert two.tokens()["access_token"]
    is_refused_client(two.push(client_assertion=two.assertion(by=one.by), client_assertion_type=assertion.TYPE))


def test_client_credentials_grant_happy_flow(app: Flask, here: Browser) -> None:
    """The variant fapi_client_credentials_grant: bound as well, without a person."""
    factories.api(app)
    for about in fapi.COMBINATIONS.values():
        service = {"grant_types": ["client_credentials"], "redirect_uris": [], "scope": "orders:read"}
        party = fapi.party(app, here, **about, **service)
        answer = party.token(grant_type="client_credentials")
        assert answer.status_code == 200, answer.text
        assert len(payload(answer.json["access_token"])["cnf"]) == 1


def test_user_rejects_authentication(two: Fapi) -> None:
    """`access_denied` with `state`, `iss` and the address's own query."""
    two.browser.sign_in()
    page = two.browser.follow(two.bring(two.reference()))
    denied = two.browser.submit(page, page.request.full_path, decision="deny")
    asserts.is_redirect_error(denied, "access_denied")
    assert denied.headers["Location"].startswith(OTHER_CALLBACK + "&")


@pytest.mark.parametrize(
    "given",
    [{"state": None}, {"nonce": None}, {"nonce": "n" * 64}, {"nonce": "n" * 384}, {"state": "s" * 384}],
    ids=["without-state-success", "without-nonce-success", "with-64-char-nonce-success", "long-nonce", "long-state"],
)
def test_ensure_authorization_request(one: Fapi, given: dict[str, Any]) -> None:
    """What may be left out may; what is long comes back whole."""
    answer = answer_of(one.walk(**given))
    assert answer.get("state") == given.get("state", "the-state")
    assert payload(one.exchange(answer["code"]).json["id_token"]).get("nonce") == given.get("nonce", "the-nonce")


def test_ensure_other_scope_order_succeeds(one: Fapi) -> None:
    """The order of scopes does not matter."""
    assert "email" in one.tokens(scope="email offline_access openid")["scope"]


def test_test_claims_parameter_identity_claims(one: Fapi) -> None:
    """`claims` is honoured or ignored."""
    assert one.tokens(claims='{"id_token":{"name":{"essential":true}}}')["id_token"]


@pytest.mark.parametrize("scheme", ["dpop", "DPOP", "dPoP"])
def test_access_token_type_header_case_sensitivity(one: Fapi, scheme: str) -> None:
    """RFC 9110 §11.1."""
    token = one.tokens()["access_token"]
    headers = {"Authorization": f"{scheme} {token}", **one.proof(USERINFO, "GET", access_token=token)}
    assert one.machine.get(USERINFO, headers=headers, base_url=ISSUER).status_code == 200


def redeemed(party: Fapi, proof: dict[str, str], code: str | None = None, **changed: Any) -> TestResponse:
    """Redeem a code with another proof than the client's usual one."""
    fields = {"grant_type": "authorization_code", "code": code or party.code(), "code_verifier": party.verifier}
    return party.post("/oauth/token", {**fields, "redirect_uri": party.client.redirect_uris[0], **changed}, proof)


@pytest.mark.parametrize(
    "changed", [{"nbf": 0, "exp": 2**31}, {"iat": -10}, {"iat": 10}], ids=["nbf-exp", "iat-10-before", "iat-10-after"]
)
def test_check_dpop_proof_nbf_exp_and_ensure_dpopproof_with_iat_10seconds_succeeds(
    one: Fapi, changed: dict[str, int]
) -> None:
    """Claims that nobody asked for do not matter, and clocks differ."""
    if "iat" in changed:
        changed = {"iat": clock.epoch_seconds(clock.now()) + changed["iat"]}
    assert redeemed(one, one.proof(**changed)).status_code == 200


def test_ensure_mismatched_dpop_jkt_fails(one: Fapi) -> None:
    """`dpop_jkt` beside a proof of another key, at the pushed request."""
    proof = one.proof(PAR)
    answer = one.post(PAR, one.request(dpop_jkt=DpopKey().jkt), proof)
    asserts.is_oauth_error(answer, "invalid_dpop_proof")


def test_ensure_token_endpoint_fails_with_mismatched_dpop_jkt(one: Fapi) -> None:
    """The code is for the key of the authorization request."""
    asserts.is_oauth_error(one.exchange(one.code(dpop_jkt=DpopKey().jkt)), "invalid_grant")


def test_ensure_token_endpoint_fails_with_mismatched_dpop_proof_jkt(one: Fapi) -> None:
    """And for the key of the proof that came with the pushed request."""
    pushed = one.post(PAR, one.request(), {"DPoP": DpopKey().proof(PAR)})
    answer = answer_of(one.walk_on(one.bring(pushed.json["request_uri"])))
    asserts.is_oauth_error(one.exchange(answer["code"]), "invalid_grant")


def test_ensure_dpopproof_at_par_endpoint_binding_success_and_ensure_dpop_auth_code_binding_success(one: Fapi) -> None:
    """Both ways of binding, with the right key."""
    pushed = one.post(PAR, one.request(), one.proof(PAR))
    code = answer_of(one.walk_on(one.bring(pushed.json["request_uri"])))["code"]
    assert one.exchange(code).status_code == 200
    assert one.exchange(one.code(dpop_jkt=one.key.jkt if one.key else None)).status_code == 200


def test_ensure_different_nonce_and_state_inside_and_outside_request_object(one: Fapi) -> None:
    """What stands beside the reference is not looked at."""
    outside = {"state": "outside", "nonce": "outside", "redirect_uri": "https://evil.test/", "response_type": "token"}
    answer = answer_of(one.walk_on(one.bring(one.reference(), **outside)))
    assert answer["state"] == "the-state"
    assert payload(one.exchange(answer["code"]).json["id_token"])["nonce"] == "the-nonce"


def test_state_only_outside_request_object_not_used(one: Fapi) -> None:
    """A `state` that was not pushed does not come back."""
    assert "state" not in answer_of(one.walk_on(one.bring(one.reference(state=None), state="outside")))


def test_ensure_request_object_without_redirect_uri_fails(one: Fapi) -> None:
    """Refused where it is pushed."""
    asserts.is_oauth_error(one.push(redirect_uri=None), "invalid_request")


@pytest.mark.parametrize(
    "uri",
    [
        CALLBACK + "/",
        CALLBACK + "?x=1",
        CALLBACK.upper(),
        "https://wiki.example.org:443/callback",
        "https://evil.test/",
    ],
)
def test_ensure_registered_redirect_uri(one: Fapi, uri: str) -> None:
    """Exactly the registered one; a new one is refused, though RFC 9126 would allow it."""
    asserts.is_oauth_error(one.push(redirect_uri=uri), "invalid_request")


def test_ensure_unsigned_authorization_request_without_using_par_fails(one: Fapi) -> None:
    """What a browser brings by itself is refused, whatever it is; signed or not makes no difference."""
    asserts.is_redirect_error(one.authorize(), "invalid_request")
    one.browser.sign_in()
    asserts.is_redirect_error(one.authorize(), "invalid_request")
    assert one.by
    now = int(clock.now().timestamp())
    claims = {**one.request(), "iss": one.client.client_id, "aud": ISSUER, "nbf": now, "exp": now + 60}
    asserts.is_redirect_error(one.authorize(request=one.by.token(claims)), "invalid_request")


@pytest.mark.parametrize("response_type", ["code id_token", "token", "id_token", "code token", "none"])
def test_ensure_response_type_code_idtoken_fails_and_token_fails(one: Fapi, response_type: str) -> None:
    """`code` alone."""
    asserts.is_oauth_error(one.push(response_type=response_type), "unsupported_response_type")


def test_ensure_client_id_in_token_endpoint_and_ensure_client_assertion_in_token_endpoint(any_of_them: Fapi) -> None:
    """Neither the id alone nor another method proves anything; the code is still good."""
    party, code = any_of_them, any_of_them.code()
    fields = {"grant_type": "authorization_code", "code": code, "code_verifier": party.verifier}
    nameless = party.machine.post("/oauth/token", data=fields, headers=party.proof(), base_url=ISSUER)
    is_refused_client(nameless)
    named = {**fields, "client_id": party.client.client_id}
    is_refused_client(party.machine.post("/oauth/token", data=named, headers=party.proof(), base_url=ISSUER))
    secret = {**named, "client_secret": "x" * 43}
    is_refused_client(party.machine.post("/oauth/token", data=secret, headers=party.proof(), base_url=ISSUER))
    assert party.exchange(code).status_code == 200


def test_ensure_holder_of_key_required(any_of_them: Fapi) -> None:
    """Without the proof, or without the certificate, there is no token, and no bearer token either."""
    party = any_of_them
    kept = {} if party.by else party.shown()
    refused = redeemed(party, kept)
    if party.key:
        asserts.is_oauth_error(refused, "invalid_dpop_proof")
    elif party.by:
        asserts.is_oauth_error(refused, "invalid_request")
    else:
        assert refused.status_code == 200  # the certificate that proves the client is the one that binds
    other = RelyingParty(party.app, party.browser, party.client)
    is_refused_client(other.token(grant_type="authorization_code", code="x"))


def test_ensure_authorization_code_is_bound_to_client(one: Fapi, two: Fapi) -> None:
    """Another client with a proof of its own gets nothing, and costs the owner nothing."""
    code = one.code()
    asserts.is_oauth_error(redeemed(two, two.proof(), code, code_verifier=one.verifier), "invalid_grant")
    assert one.exchange(code).status_code == 200


def test_attempt_reuse_authorization_code_after_one_second(one: Fapi, in_a_while: Travel) -> None:
    """Refused, and what the first use gave has ended."""
    code = one.code()
    token = one.exchange(code).json["access_token"]
    in_a_while(timedelta(seconds=1))
    asserts.is_oauth_error(one.exchange(code), "invalid_grant")
    assert one.userinfo(token).status_code == 401


def test_ensure_token_endpoint_fails_with_expired_auth_code(one: Fapi, in_a_while: Travel) -> None:
    """After 62 seconds; a minute's code is good for almost a minute."""
    early, late = one.code(), one.code()
    in_a_while(timedelta(seconds=50))
    assert one.exchange(early).status_code == 200
    in_a_while(timedelta(seconds=12))
    asserts.is_oauth_error(one.exchange(late), "invalid_grant")


ASSERTIONS: dict[str, dict[str, Any]] = {
    "ensure-signed-client-assertion-with-exp-is-5-minutes-in-past-fails": {"exp": -300},
    "ensure-signed-client-assertion-with-wrong-aud-fails": {"aud": "https://other.example.org"},
    "ensure-signed-client-assertion-with-no-sub-fails": {"sub": None},
    "par-test-array-as-audience-fails": {"aud": [ISSUER]},
    "par-test-par-endpoint-url-as-audience-fails": {"aud": ISSUER + PAR},
    "par-test-token-endpoint-url-as-audience-fails": {"aud": ISSUER + "/oauth/token"},
    "the issuer and a slash": {"aud": ISSUER + "/"},
    "no audience": {"aud": None},
    "par-ensure-jwt-client-assertions-nbf-over-60-seconds-in-the-future-fails": {"nbf": 75},
    "an hour's life": {"exp": 3600},
    "no jti": {"jti": None},
    "another issuer": {"iss": "wiki"},
}


@pytest.mark.parametrize("path", [PAR, "/oauth/token"])
@pytest.mark.parametrize("what", ASSERTIONS)
def test_client_assertions(one: Fapi, what: str, path: str) -> None:
    """Each is refused at both endpoints; the right one beside it is taken."""
    assert one.by
    claims = assertion.claims(one.client.client_id, ISSUER, **ASSERTIONS[what])
    wrong = {"client_assertion": one.by.token(claims), "client_assertion_type": assertion.TYPE}
    factories_of = {PAR: one.request, "/oauth/token": lambda: {"grant_type": "refresh_token", "refresh_token": "x"}}
    is_refused_client(one.post(path, {**factories_of[path](), **wrong}))
    assert one.post(path, factories_of[path]()).status_code in (201, 400)


def test_ensure_signed_client_assertion_with_rs256_fails(app: Flask, here: Browser) -> None:
    """Though the key could: without an algorithm of its own it is for PS256 alone."""
    party = Fapi(app, here, by=signer("PS256"), key=DpopKey(), jwks={"keys": [RSA.jwk(alg=None)]})
    good = assertion.Signer("PS256", RSA.native)
    assert party.push(**assertion.fields(party.assertion(by=good))).status_code == 201
    is_refused_client(party.push(**assertion.fields(party.assertion(by=RSA))))
    is_refused_client(party.push(**assertion.fields(party.assertion({"alg": "none"}, by=good))))


def test_par_ensure_jwt_client_assertions_nbf_8_seconds_in_the_future_is_accepted(one: Fapi) -> None:
    """Clocks differ."""
    assert one.push(**assertion.fields(one.assertion(nbf=8, iat=8))).status_code == 201


PROOFS: dict[str, dict[str, Any]] = {
    **{f"no {name}": {name: None} for name in ("jti", "htm", "htu", "iat")},
    **{f"header without {name}": {"header": {name: None}} for name in ("typ", "alg", "jwk")},
    **{f"alg {alg}": {"header": {"alg": alg}} for alg in ("none", "HS256", "ES384", "RS256", "PS256")},
    "wrong typ": {"header": {"typ": "JWT"}},
    "wrong htm": {"htm": "GET"},
    "wrong htu": {"htu": ISSUER + PAR},
    "htu of another": {"htu": "https://other.example.org/oauth/token"},
    "iat an hour ago": {"iat": 1},
    "iat in an hour": {"iat": 2**32},
}


@pytest.mark.parametrize("what", PROOFS)
def test_dpop_negative_tests(one: Fapi, what: str) -> None:
    """At the token endpoint; `test_dpop.py` has more of them."""
    code = one.code()
    asserts.is_oauth_error(redeemed(one, one.proof(**PROOFS[what]), code), "invalid_dpop_proof")
    assert one.exchange(code).status_code == 200


def test_dpop_negative_tests_rs256(app: Flask, here: Browser) -> None:
    """A good proof with an algorithm that the profile rules out, at all three places; PS256 of that key is good."""
    rsa, party = DpopKey("RS256"), fapi.party(app, here)
    asserts.is_oauth_error(party.post(PAR, party.request(), {"DPoP": rsa.proof(PAR)}), "invalid_dpop_proof")
    code = party.code()
    asserts.is_oauth_error(redeemed(party, {"DPoP": rsa.proof()}, code), "invalid_dpop_proof")
    party.key = rsa
    rsa.alg = "PS256"
    token = party.exchange(code).json["access_token"]
    assert party.userinfo(token).status_code == 200
    rsa.alg = "RS256"
    asserts.is_oauth_error(party.userinfo(token), "invalid_dpop_proof", 401)


def test_dpop_negative_tests_at_the_resource(one: Fapi) -> None:
    """No proof, another key, another token's proof, twice, and the downgrade to a bearer token."""
    token = one.tokens()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    asserts.is_oauth_error(one.machine.get(USERINFO, headers=headers, base_url=ISSUER), "invalid_token", 401)
    once = one.proof(USERINFO, "GET", access_token=token)
    assert one.machine.get(USERINFO, headers={"Authorization": f"DPoP {token}", **once}).status_code == 200
    for proof in (
        {},
        once,
        one.proof(USERINFO, "GET"),
        one.proof(USERINFO, "GET", access_token="another"),
        one.proof(USERINFO, "POST", access_token=token),
        {"DPoP": DpopKey().proof(USERINFO, "GET", access_token=token)},
    ):
        answer = one.machine.get(USERINFO, headers={"Authorization": f"DPoP {token}", **proof}, base_url=ISSUER)
        assert answer.status_code == 401


def test_refresh_token(any_of_them: Fapi, two: Fapi, in_a_while: Travel) -> None:
    """It is kept, works again, with a new key too, for its client alone, and never without what binds the new token."""
    party, tokens = any_of_them, any_of_them.tokens()
    kept = tokens["refresh_token"]
    in_a_while(timedelta(seconds=30))
    first = party.refresh(kept)
    assert first.status_code == 200
    assert "refresh_token" not in first.json
    assert payload(first.json["id_token"])["sub"] == payload(tokens["id_token"])["sub"]
    assert payload(first.json["id_token"])["iat"] > payload(tokens["id_token"])["iat"]
    asserts.is_oauth_error(two.refresh(kept), "invalid_grant")
    fields = {"grant_type": "refresh_token", "refresh_token": kept}
    without = party.post("/oauth/token", fields, {} if party.by else party.shown())
    assert without.status_code == (200 if not party.by and not party.key else 400)
    if party.key:
        party.key = DpopKey()
    elif party.by:
        party.holder = certificate()
    renewed = party.refresh(kept)
    assert renewed.status_code == 200
    assert party.userinfo(renewed.json["access_token"]).status_code == 200


def test_par_ensure_reused_request_uri_prior_to_auth_completion_succeeds(one: Fapi) -> None:
    """The same browser may come with it twice before the end."""
    reference = one.reference()
    assert one.browser.follow(one.bring(reference)).status_code == 200
    assert "code" in answer_of(one.walk_on(one.bring(reference)))


def test_par_attempt_reuse_request_uri(one: Fapi) -> None:
    """After the end it opens nothing."""
    reference = one.reference()
    assert "code" in answer_of(one.walk_on(one.bring(reference)))
    asserts.is_error_page(one.bring(reference), "flow_expired")


def test_par_attempt_to_use_expired_request_uri(one: Fapi, in_a_while: Travel) -> None:
    """A page, and no redirect."""
    reference = one.reference()
    in_a_while(timedelta(seconds=92))
    asserts.is_error_page(one.bring(reference), "invalid_request_uri")


def test_par_attempt_to_use_request_uri_for_different_client(one: Fapi, two: Fapi) -> None:
    """Whose it is counts."""
    asserts.is_error_page(two.bring(one.reference()), "invalid_request_uri")


def test_par_authorization_request_containing_request_uri_form_param(one: Fapi) -> None:
    """A reference cannot be pushed."""
    asserts.is_oauth_error(one.push(request_uri=one.reference()), "invalid_request")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_par_attempt_invalid_http_method(one: Fapi, method: str) -> None:
    """405."""
    assert one.machine.open(PAR, method=method).status_code == 405


def test_par_ensure_pkce_required_and_par_plain_pkce_rejected(one: Fapi) -> None:
    """S256, always."""
    asserts.is_oauth_error(one.push(code_challenge=None, code_challenge_method=None), "invalid_request")
    asserts.is_oauth_error(one.push(code_challenge_method="plain"), "invalid_request")
    asserts.is_oauth_error(one.push(code_challenge_method=None), "invalid_request")


def test_ensure_pkce_code_verifier_required_and_incorrect_pkce_code_verifier_rejected(one: Fapi) -> None:
    """One outcome for both."""
    asserts.is_oauth_error(redeemed(one, one.proof(), code_verifier=None), "invalid_grant")
    asserts.is_oauth_error(redeemed(one, one.proof(), code_verifier="x" * 43), "invalid_grant")


def test_par_without_duplicate_parameters(one: Fapi) -> None:
    """`client_id` and `request_uri` are enough."""
    assert "code" in answer_of(one.walk_on(one.bring(one.reference())))


def test_every_redirect_is_303(one: Fapi) -> None:
    """§5.3.2.2: no page on the way hands a form on by 307 or 302, least of all after the password."""
    seen: list[TestResponse] = []
    send = one.browser._send

    def watched(*arguments: Any, **options: Any) -> TestResponse:
        seen.append(send(*arguments, **options))
        return seen[-1]

    one.browser._send = watched  # type: ignore[method-assign]
    assert "code" in answer_of(one.walk())
    assert {answer.status_code for answer in seen} == {200, 303}
    assert len([answer for answer in seen if answer.status_code == 303]) >= 3
    assert "login" in {Page(answer.text).marker for answer in seen if answer.status_code == 200}


def test_a_signed_answer(one: Fapi) -> None:
    """JARM, where it is asked for: ES256, `iss`, `aud`, `exp`."""
    signed = answer_of(one.walk(response_mode="jwt"))["response"]
    assert alg_of(signed) == "ES256"
    assert {"iss": ISSUER, "aud": one.client.client_id, "state": "the-state"}.items() <= payload(signed).items()


REQUEST_OBJECTS: dict[str, tuple[dict[str, Any], bool]] = {
    "ensure-request-object-with-multiple-aud-succeeds": ({"aud": [ISSUER, "https://other.example.org"]}, True),
    "ensure-request-object-with-nbf-8-seconds-in-the-future-is-accepted": ({"nbf": 8}, True),
    "ensure-request-object-without-exp-fails": ({"exp": None}, False),
    "ensure-request-object-without-nbf-fails": ({"nbf": None}, False),
    "ensure-expired-request-object-fails": ({"exp": -70, "nbf": -100}, False),
    "ensure-request-object-with-bad-aud-fails": ({"aud": "https://other.example.org"}, False),
    "ensure-request-object-with-exp-over-60-fails": ({"exp": 70 * 60}, False),
    "ensure-request-object-with-nbf-over-60-fails": ({"nbf": -70 * 60, "exp": -60 * 60 + 3700}, False),
}


@pytest.mark.parametrize("what", REQUEST_OBJECTS)
def test_signed_requests(one: Fapi, what: str) -> None:
    """fapi2-message-signing-final-…: pushed as a signed request object."""
    changed, is_good = REQUEST_OBJECTS[what]
    now = int(clock.now().timestamp())
    times = {"nbf": 0, "exp": 60, **{name: changed[name] for name in ("nbf", "exp") if name in changed}}
    shifted = {name: None if value is None else now + value for name, value in times.items()}
    about = {"iss": one.client.client_id, "aud": changed.get("aud", ISSUER), **shifted}
    claims = {name: value for name, value in {**one.request(), **about}.items() if value is not None}
    assert one.by
    answer = one.post(PAR, {"request": one.by.token(claims)})
    assert answer.status_code == (201 if is_good else 400), answer.text
    if not is_good:
        asserts.is_oauth_error(answer, "invalid_request_object")
