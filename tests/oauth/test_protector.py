"""The check of access tokens at our own API: every token that must not pass, and the challenges."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from flask import Flask
from joserfc.jwk import RSAKey
from werkzeug.test import TestResponse

from auth_server.infra import clock
from auth_server.keys import jose, keyring
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.factories import ORDERS
from tests.support.rp import RelyingParty, bearer, payload

Travel = Callable[[timedelta], None]


def encoded(part: object) -> str:
    """Return a JWS part."""
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def header_of(token: str) -> dict[str, Any]:
    part = token.split(".")[0]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def rs256(key: Any, header: dict[str, Any], body: bytes) -> str:
    """Sign any header and body; libraries would refuse to."""
    unsigned = f"{encoded(header)}.{encoded(body)}"
    return f"{unsigned}.{encoded(key.sign(unsigned.encode(), PKCS1v15(), SHA256()))}"


def hs256(secret: bytes, header: dict[str, Any], body: bytes) -> str:
    unsigned = f"{encoded(header)}.{encoded(body)}"
    return f"{unsigned}.{encoded(hmac.digest(secret, unsigned.encode(), 'sha256'))}"


def signed(rp: RelyingParty, claims: object, **header: Any) -> str:
    """Sign anything with the server's own current RS256 key; a value of None removes a header field."""
    with rp.app.app_context():
        key = keyring.signer("RS256")
    fields = {"alg": key.alg, "kid": key.kid, "typ": "at+jwt", **header}
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return rs256(key.jwk.private_key, {name: value for name, value in fields.items() if value is not None}, body)


def refused(answer: TestResponse) -> None:
    """The one answer that every bad token gets, with its challenge (RFC 6750 §3.1)."""
    asserts.is_oauth_error(answer, "invalid_token", 401)
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="oauth", error="invalid_token"')


@pytest.fixture
def good(rp: RelyingParty) -> str:
    """Return an access token that passes."""
    token = str(rp.tokens()["access_token"])
    assert rp.userinfo(token).status_code == 200
    return token


def test_a_request_without_a_token_is_challenged_without_an_error(rp: RelyingParty) -> None:
    """RFC 6750 §3: no error code for who sent nothing."""
    answer = rp.machine.get("/oauth/userinfo")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="oauth", resource_metadata=')


def test_a_token_without_the_scope_is_told_which_one(rp: RelyingParty) -> None:
    """403 `insufficient_scope` with a challenge."""
    claims = payload(rp.tokens()["access_token"])
    answer = rp.userinfo(signed(rp, {**claims, "scope": "email"}))
    asserts.is_oauth_error(answer, "insufficient_scope", 403)
    assert answer.headers["WWW-Authenticate"].startswith(
        'Bearer realm="oauth", error="insufficient_scope", scope="openid", resource_metadata="http://localhost:8421/'
    )


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer,{0}", "Bearer={0}", "Token {0}", "{0}", "Basic {0}", "Bearer {0} {0}"],
)
def test_a_sloppy_header_is_no_token(rp: RelyingParty, good: str, header: str) -> None:
    """GHSA-gv94-wp4h-vv8p: one scheme, one space, one token."""
    answer = rp.machine.get("/oauth/userinfo", headers={"Authorization": header.format(good)})
    assert answer.status_code == 401
    assert answer.json["error"] == "invalid_token"


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer"])
def test_the_scheme_is_not_case_sensitive(rp: RelyingParty, good: str, scheme: str) -> None:
    """RFC 9110 §11.1."""
    assert rp.machine.get("/oauth/userinfo", headers={"Authorization": f"{scheme} {good}"}).status_code == 200


def test_the_token_comes_once_and_never_in_the_query(rp: RelyingParty, good: str) -> None:
    """OAuth 2.1 §5.1: the query is refused even beside a right header, and so are two places."""
    machine = rp.machine
    for options in ({}, {"headers": bearer(good)}):
        asserts.is_oauth_error(machine.get(f"/oauth/userinfo?access_token={good}", **options), "invalid_request")
    both = machine.post("/oauth/userinfo", data={"access_token": good}, headers=bearer(good))
    asserts.is_oauth_error(both, "invalid_request")
    twice = machine.post("/oauth/userinfo", data={"access_token": [good, good]})
    asserts.is_oauth_error(twice, "invalid_request")
    form_by_get = machine.get("/oauth/userinfo", data={"access_token": good})
    asserts.is_oauth_error(form_by_get, "invalid_token", 401)


def test_other_credentials_are_no_access_tokens(rp: RelyingParty) -> None:
    """ID token, refresh token, code, client secret, session handle (ASVS 9.2.2)."""
    code = rp.code()
    tokens = rp.exchange(code).json
    handle = rp.browser.cookie("auth_server")
    for wrong in (tokens["id_token"], tokens["refresh_token"], code, rp.secret, handle, rp.client.client_id):
        refused(rp.userinfo(str(wrong)))
    assert rp.userinfo(tokens["access_token"]).status_code == 200


def test_a_token_for_another_audience_is_refused(app: Flask, browser: Browser) -> None:
    """One made for an API opens nothing of ours (RFC 9068 §4)."""
    factories.api(app)
    rp = RelyingParty(app, browser, *factories.client(app, scope="openid email orders:read"))
    elsewhere = rp.tokens(scope="email orders:read")["access_token"]
    assert payload(elsewhere)["aud"] == ORDERS
    refused(rp.userinfo(elsewhere))
    both = rp.tokens(scope="openid orders:read")["access_token"]
    assert rp.userinfo(both).status_code == 200


def test_cut_or_altered_tokens_are_refused(rp: RelyingParty, good: str) -> None:
    """CVE-2026-27840: any character less or different."""
    for cut in range(1, 21):
        refused(rp.userinfo(good[:-cut]))
    header, body, signature = good.split(".")
    flipped = [part[:5] + ("A" if part[5] != "A" else "B") + part[6:] for part in (header, body, signature)]
    mutants = [
        f"{flipped[0]}.{body}.{signature}",
        f"{header}.{flipped[1]}.{signature}",
        f"{header}.{body}.{flipped[2]}",
    ]
    mutants += [f"{header}.{body}.", f"{header}.{body}", f"{header}..{signature}", f".{body}.{signature}", good + "."]
    mutants += [
        good + "=",
        good + "==",
        "." + good,
        good[1:],
        f"{good}.{signature}",
        f"{header}.{body}.{signature}\u00e9",
    ]
    mutants += ["..", ".", "a.b.c", "e30.e30.e30", good * 30]
    for mutant in mutants:
        assert rp.machine.get("/oauth/userinfo", headers=bearer(mutant)).status_code == 401, mutant[:80]
    assert rp.userinfo(good).status_code == 200


def test_an_unsigned_token_is_refused(rp: RelyingParty, good: str) -> None:
    """`none` in all its spellings (CVE-2026-28802)."""
    header, body = header_of(good), good.split(".")[1]
    for alg in ("none", "None", "NONE", "nOnE", "", None, 5, ["RS256"]):
        for signature in ("", "e30", good.split(".")[2]):
            refused(rp.userinfo(f"{encoded({**header, 'alg': alg})}.{body}.{signature}"))


def test_the_key_decides_the_algorithm(rp: RelyingParty, good: str) -> None:
    """HMAC with the public key, another algorithm of the same key (CVE-2024-37568, RFC 8725 §3.1)."""
    claims, header = json.dumps(payload(good)).encode(), header_of(good)
    with rp.app.app_context():
        key = keyring.signer("RS256").jwk
        public = next(jwk for jwk in keyring.published() if jwk["kid"] == header["kid"])
        by_other_key = jose.sign(payload(good), keyring.signer("ES256"), typ="at+jwt")
    pem, der = key.as_pem(private=False), key.as_der(private=False)
    for secret in (pem, pem.rstrip(), der, json.dumps(public).encode(), public["n"].encode(), b""):
        for alg in ("HS256", "RS256"):
            refused(rp.userinfo(hs256(secret, {**header, "alg": alg}, claims)))
    for alg in ("PS256", "RS512", "RS384", "ES256", "EdDSA", "rs256", "RS256 "):
        refused(rp.userinfo(rs256(key.private_key, {**header, "alg": alg}, claims)))
    assert rp.userinfo(by_other_key).status_code == 200


def test_a_key_that_the_token_brings_along_is_ignored(rp: RelyingParty, good: str) -> None:
    """`jwk`, `jku`, `x5u`, `x5c` (CVE-2026-27962); only our published keys count."""
    claims = json.dumps(payload(good)).encode()
    own = RSAKey.generate_key(2048)
    jwk = own.as_dict(private=False)
    for kid in (header_of(good)["kid"], "unknown", None, 5, {}, "x" * 3000):
        brought = {"jwk": jwk, "jku": "https://evil.test/jwks", "x5u": "https://evil.test/x", "x5c": ["AA=="]}
        for name, value in brought.items():
            header = {"alg": "RS256", "kid": kid, "typ": "at+jwt", name: value}
            refused(rp.userinfo(rs256(own.private_key, header, claims)))


def test_unknown_critical_headers_are_refused(rp: RelyingParty, good: str) -> None:
    """RFC 7515 §4.1.11 (CVE-2025-59420); a wrong or missing `typ` too (RFC 9068 §4)."""
    claims = payload(good)
    for header in ({"crit": ["x"], "x": 1}, {"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": ["b64"], "b64": False}):
        refused(rp.userinfo(signed(rp, claims, **header)))
    for typ in ("JWT", "logout+jwt", "oauth-authz-req+jwt", "dpop+jwt", "", None, 5):
        refused(rp.userinfo(signed(rp, claims, typ=typ)))
    for typ in ("at+jwt", "AT+JWT", "application/at+jwt"):
        assert rp.userinfo(signed(rp, claims, typ=typ)).status_code == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://evil.test"},
        {"iss": None},
        {"iss": ["http://localhost:8421"]},
        {"aud": "https://orders.example.org"},
        {"aud": []},
        {"aud": None},
        {"aud": [["http://localhost:8421/oauth/userinfo"]]},
        {"aud": {"a": 1}},
        {"sub": 5},
        {"sub": None},
        {"client_id": None},
        {"client_id": "nobody"},
        {"jti": None},
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": True},
        {"exp": []},
        {"iat": None},
        {"iat": "now"},
        {"nbf": "soon"},
        {"exp": 10**400},
        {"iat": -(10**400)},
        {"fam": "unknown", "sub": "nobody"},
    ],
    ids=str,
)
def test_claims_that_do_not_hold_are_refused(rp: RelyingParty, good: str, changed: dict[str, Any]) -> None:
    """Though our own key had signed them."""
    claims = {name: value for name, value in {**payload(good), **changed}.items() if value is not None}
    refused(rp.userinfo(signed(rp, claims)))


def test_odd_payloads_are_refused(rp: RelyingParty, good: str) -> None:
    """Numbers beyond bounds, no object, no UTF-8, no JSON: 401, never a crash."""
    text = json.dumps(payload(good))
    odd: list[bytes] = [b"", b"null", b"[]", b'"x"', b"5", b"\xff\xfe", b"{", b"{}", b"\x00" * 10]
    for number in ("1e400", "-1e400", "NaN", "Infinity"):
        exp = payload(good)["exp"]
        odd.append(text.replace(f'"exp": {exp}', f'"exp": {number}').encode())
    for body in odd:
        refused(rp.userinfo(signed(rp, body)))
    nested = b"[" * 5000 + b"]" * 5000
    refused(rp.userinfo(signed(rp, nested)))
    header, body, signature = good.split(".")
    for part in (nested, b'{"alg":"RS256","typ":"at+jwt","kid":' + nested + b"}"):
        refused(rp.userinfo(f"{encoded(part)}.{body}.{signature}"))
        refused(rp.userinfo(f"{header}.{encoded(part)}.{signature}"))


def test_a_token_lives_to_the_second(rp: RelyingParty, good: str, in_a_while: Travel) -> None:
    """Our own tokens have no leeway; one from the future is none."""
    claims = payload(good)
    now = int(clock.now().timestamp())
    refused(rp.userinfo(signed(rp, {**claims, "iat": now + 120})))
    refused(rp.userinfo(signed(rp, {**claims, "nbf": now + 120})))
    in_a_while(timedelta(seconds=880))
    assert rp.userinfo(good).status_code == 200
    in_a_while(timedelta(seconds=21))
    refused(rp.userinfo(good))


def test_an_oversized_token_is_refused_quickly(rp: RelyingParty, good: str) -> None:
    """Before anything is parsed (CVE-2025-61920)."""
    padded = signed(rp, {**payload(good), "x": "y" * 20_000})
    refused(rp.userinfo(padded))
    in_form = rp.machine.post("/oauth/userinfo", data={"access_token": "x" * 40_000})
    asserts.is_oauth_error(in_form, "invalid_token", 401)
