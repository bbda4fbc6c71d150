"""The metadata tells the truth, both ways: everything advertised works, nothing else does."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.access.apis import IDENTITY_SCOPES
from auth_server.clients.metadata import DEVICE_CODE
from auth_server.errors import InvalidClientMetadata
from tests.support import assertion, asserts, factories
from tests.support.assertion import Signer
from tests.support.browser import Browser
from tests.support.device import Device, allow
from tests.support.rp import RelyingParty, answer_of, basic, payload

EVERY_GRANT = (
    *("authorization_code", "refresh_token", "client_credentials", "password", "implicit"),
    *("urn:ietf:params:oauth:grant-type:" + name for name in ("device_code", "jwt-bearer", "token-exchange")),
    "urn:openid:params:grant-type:ciba",
)
EVERY_METHOD = (
    *("client_secret_basic", "client_secret_post", "none", "client_secret_jwt", "private_key_jwt"),
    *("tls_client_auth", "self_signed_tls_client_auth"),
)
EVERY_ALG = ("RS256", "ES256", "EdDSA", "none", "HS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES384", "ES512")
EVERY_MODE = ("query", "form_post", "fragment", "jwt", "query.jwt", "fragment.jwt", "form_post.jwt", "web_message")
EVERY_PROMPT = ("none", "login", "consent", "select_account", "create")


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    found: dict[str, Any] = app.test_client().get("/.well-known/openid-configuration").json
    return found


def local(address: str) -> str:
    return address.removeprefix("http://localhost:8421")


def header_of(token: str) -> dict[str, Any]:
    part = token.split(".")[0]
    found: dict[str, Any] = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def test_every_address_answers(rp: RelyingParty, document: dict[str, Any]) -> None:
    """Each endpoint is there, and speaks its own language when asked wrongly."""
    addresses = {name: local(value) for name, value in document.items() if name.endswith(("_endpoint", "_uri"))}
    assert set(addresses) == {
        *("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "revocation_endpoint"),
        *("introspection_endpoint", "pushed_authorization_request_endpoint", "end_session_endpoint", "jwks_uri"),
        "device_authorization_endpoint",
    }
    asserts.is_page(rp.browser.get(addresses["end_session_endpoint"]), "signed-out")
    asserts.is_error_page(rp.browser.get(addresses["authorization_endpoint"]), "unknown_client")
    posts = ("token_endpoint", "revocation_endpoint", "introspection_endpoint", "pushed_authorization_request_endpoint")
    for name in (*posts, "device_authorization_endpoint"):
        asserts.is_oauth_error(rp.machine.post(addresses[name], data={"a": "b", "grant_type": "x"}), *_expected(name))
    assert rp.machine.get(addresses["userinfo_endpoint"]).status_code == 401
    assert rp.machine.get(addresses["jwks_uri"]).json["keys"]


def _expected(name: str) -> tuple[str, int]:
    return ("unsupported_grant_type", 400) if name == "token_endpoint" else ("invalid_client", 401)


def test_no_other_endpoint_exists(app: Flask, browser: Browser, document: dict[str, Any]) -> None:
    """What comes later is neither advertised nor there."""
    for path in ("/oauth/register",):
        assert path not in json.dumps(document)
        assert browser.get(path).status_code == 404
    everything = [*(rule.rule for rule in app.url_map.iter_rules()), *app.extensions["machines"].routes]
    rules = {path for path in everything if path.startswith("/oauth/")}
    advertised = {local(value) for name, value in document.items() if name.endswith("_endpoint")}
    assert rules - {"/oauth/status/"} == advertised  # tokens name the lists that they are in


@pytest.mark.parametrize("grant", EVERY_GRANT)
def test_grant_types(app: Flask, browser: Browser, document: dict[str, Any], grant: str) -> None:
    """Every advertised one gives tokens; every other one is unsupported."""
    grants = ["authorization_code", "refresh_token", "client_credentials", DEVICE_CODE]
    rp = RelyingParty(app, browser, *factories.client(app, grant_types=grants))
    assert set(document["grant_types_supported"]) <= set(EVERY_GRANT)
    proofs = {
        "authorization_code": lambda: {"code": rp.code(), "code_verifier": rp.verifier},
        "refresh_token": lambda: {"refresh_token": rp.tokens()["refresh_token"]},
        "client_credentials": dict,
        DEVICE_CODE: lambda: {"device_code": allowed_device(rp)},
    }
    answer = rp.token(grant_type=grant, **proofs.get(grant, dict)())
    if grant in document["grant_types_supported"]:
        assert answer.status_code == 200
        assert answer.json["access_token"]
    else:
        asserts.is_oauth_error(answer, "unsupported_grant_type")


KEYS = {alg: assertion.signer(alg) for alg in ("RS256", "PS256", "ES256", "EdDSA")}
SIGNED = {"private_key_jwt": (*KEYS, "RS512", "ES384", "none"), "client_secret_jwt": ("HS256", "HS512", "none")}


def client_for(app: Flask, method: str) -> tuple[str, str]:
    """Return the id and secret of a client that may use the method, where there is such a thing."""
    if method == "none":
        return factories.public_client(app).client_id, ""
    about: dict[str, Any] = {"token_endpoint_auth_method": method} if method in SIGNED else {}
    if method == "private_key_jwt":
        about["jwks"] = {"keys": [KEYS["ES256"].jwk()]}
    client, secret = factories.service(app, **about)
    return client.client_id, secret


def allowed_device(rp: RelyingParty) -> str:
    """Return the device code of a device that was allowed."""
    device = Device(rp.app, rp.client, rp.secret).started()
    allow(rp.browser, device.user_code)
    return str(device.codes["device_code"])


def present(app: Flask, path: str, method: str, client_id: str, secret: str, **fields: str) -> TestResponse:
    """Ask an endpoint with a client authentication method."""
    machine = app.test_client(use_cookies=False)
    claims = assertion.claims(client_id, "http://localhost:8421")
    shared = Signer("HS256", secret.encode())
    ways: dict[str, dict[str, str]] = {
        "client_secret_post": {"client_id": client_id, "client_secret": secret},
        "none": {"client_id": client_id},
        "client_secret_jwt": assertion.fields(shared.token(claims)),
        "private_key_jwt": assertion.fields(KEYS["ES256"].token(claims), client_id=client_id),
        "tls_client_auth": {"client_id": client_id},
        "self_signed_tls_client_auth": {"client_id": client_id},
    }
    headers = basic(client_id, secret) if method == "client_secret_basic" else {"Client-Cert": ":AAAA:"}
    return machine.post(path, data={**fields, **ways.get(method, {})}, headers=headers)


@pytest.mark.parametrize("endpoint", ["token", "revocation", "introspection"])
@pytest.mark.parametrize("method", EVERY_METHOD)
def test_client_authentication_methods(app: Flask, document: dict[str, Any], endpoint: str, method: str) -> None:
    """At each endpoint just the advertised ones count; `none` names a public client, which services are not."""
    advertised = document[f"{endpoint}_endpoint_auth_methods_supported"]
    assert set(advertised) <= set(EVERY_METHOD)
    client_id, secret = client_for(app, method)
    fields = {"grant_type": "refresh_token" if method == "none" else "client_credentials", "token": "x"}
    path = local(document[f"{endpoint}_endpoint"])
    answer = present(app, path, method, client_id, secret, **fields, refresh_token="x")
    if method not in advertised:
        asserts.is_oauth_error(answer, "invalid_client", 401)
    elif (endpoint, method) == ("token", "none"):
        asserts.is_oauth_error(answer, "invalid_grant")  # the client was accepted, its token was not
    else:
        assert answer.status_code == 200


@pytest.mark.parametrize("endpoint", ["token", "revocation", "introspection"])
@pytest.mark.parametrize(("method", "alg"), [(method, alg) for method, algs in SIGNED.items() for alg in algs])
def test_algorithms_of_assertions(app: Flask, document: dict[str, Any], endpoint: str, method: str, alg: str) -> None:
    """Each advertised one is taken from a client that has registered it, and no other can be registered."""
    about: dict[str, Any] = {"token_endpoint_auth_method": method, "token_endpoint_auth_signing_alg": alg}
    if method == "private_key_jwt":
        about["jwks"] = {"keys": [key.jwk() for key in KEYS.values()]}
    if alg not in document[f"{endpoint}_endpoint_auth_signing_alg_values_supported"]:
        with pytest.raises(InvalidClientMetadata):
            factories.service(app, **about)
        return
    client, secret = factories.service(app, **about)
    by = KEYS.get(alg) or Signer(alg, secret.encode())
    form = assertion.fields(by.token(assertion.claims(client.client_id, document["issuer"])), token="x")
    path = local(document[f"{endpoint}_endpoint"])
    assert app.test_client().post(path, data={**form, "grant_type": "client_credentials"}).status_code == 200


@pytest.mark.parametrize("alg", EVERY_ALG)
def test_algorithms(app: Flask, browser: Browser, document: dict[str, Any], alg: str) -> None:
    """A client may ask each advertised one for its ID tokens, and no other; a published key is there for it."""
    advertised = document["id_token_signing_alg_values_supported"]
    if alg not in advertised:
        with pytest.raises(InvalidClientMetadata):
            factories.client(app, id_token_signed_response_alg=alg)
        return
    rp = RelyingParty(app, browser, *factories.client(app, id_token_signed_response_alg=alg))
    header = header_of(rp.tokens()["id_token"])
    keys = {key["kid"]: key["alg"] for key in rp.machine.get(local(document["jwks_uri"])).json["keys"]}
    assert header["alg"] == keys[header["kid"]] == alg


@pytest.mark.parametrize("mode", EVERY_MODE)
def test_response_modes(rp: RelyingParty, document: dict[str, Any], mode: str) -> None:
    """By query or form, plain or signed; others are refused."""
    answer = rp.walk(response_mode=mode)
    if mode not in document["response_modes_supported"]:
        asserts.is_redirect_error(answer, "invalid_request")
        return
    fields = asserts.is_page(answer, "form-post").inputs if "form_post" in mode else answer_of(answer)
    assert "code" in (payload(fields["response"]) if mode.endswith("jwt") else fields)


@pytest.mark.parametrize("alg", EVERY_ALG)
def test_algorithms_of_signed_answers(app: Flask, browser: Browser, document: dict[str, Any], alg: str) -> None:
    """A client may ask each advertised one for its answers, and no other."""
    if alg not in document["authorization_signing_alg_values_supported"]:
        with pytest.raises(InvalidClientMetadata):
            factories.client(app, authorization_signed_response_alg=alg)
        return
    rp = RelyingParty(app, browser, *factories.client(app, authorization_signed_response_alg=alg))
    assert header_of(answer_of(rp.walk(response_mode="jwt"))["response"])["alg"] == alg


def test_pushed_requests(rp: RelyingParty, document: dict[str, Any]) -> None:
    """The endpoint takes requests, and nobody must use it unless the operator says so."""
    assert document["require_pushed_authorization_requests"] is False
    answer = rp.post(local(document["pushed_authorization_request_endpoint"]), rp.request())
    assert "code" in answer_of(rp.walk_on(rp.bring(answer.json["request_uri"])))
    assert "code" in answer_of(rp.walk())


@pytest.mark.parametrize("prompt", EVERY_PROMPT)
def test_prompts(rp: RelyingParty, document: dict[str, Any], prompt: str) -> None:
    """Each advertised one leads to a code for somebody who does what is asked."""
    rp.walk()
    answer = rp.walk(prompt=prompt)
    if prompt in document["prompt_values_supported"]:
        assert "code" in answer_of(answer)
    else:
        asserts.is_redirect_error(answer, "invalid_request")


@pytest.mark.parametrize("response_type", ["code", "token", "id_token", "code id_token", "code token", "none"])
def test_response_types(rp: RelyingParty, document: dict[str, Any], response_type: str) -> None:
    """`code` alone."""
    answer = rp.walk(response_type=response_type)
    if response_type in document["response_types_supported"]:
        assert "code" in answer_of(answer)
    else:
        asserts.is_redirect_error(answer, "unsupported_response_type")


@pytest.mark.parametrize("method", ["S256", "plain", "S384", "S512"])
def test_challenge_methods(rp: RelyingParty, document: dict[str, Any], method: str) -> None:
    """`S256` alone (RFC 7636 §4.2)."""
    answer = rp.walk(code_challenge_method=method)
    if method in document["code_challenge_methods_supported"]:
        assert rp.exchange(answer_of(answer)["code"]).status_code == 200
    else:
        asserts.is_redirect_error(answer, "invalid_request")


def test_scopes_and_claims(app: Flask, browser: Browser, document: dict[str, Any]) -> None:
    """Every advertised scope can be granted, every advertised claim comes with one of them, and no other claim does."""
    held = {
        name: "x" for name in document["claims_supported"]
        if name not in ("sub", "name", "email", "email_verified", "updated_at", "groups", "roles")
    }  # fmt: skip
    factories.group(app, "staff")
    factories.person(app, "eve@example.org", "Eve", groups=["staff"], roles=["auditor"], claims=held)
    assert document["scopes_supported"] == list(IDENTITY_SCOPES)
    everything = " ".join(document["scopes_supported"])
    rp = RelyingParty(app, browser, *factories.client(app, scope=everything))
    tokens = rp.tokens(email="eve@example.org", scope=everything)
    assert set(tokens["scope"].split()) == set(document["scopes_supported"])
    assert set(rp.userinfo(tokens["access_token"]).json) == set(document["claims_supported"])
    assert set(document["claims_supported"]) <= set(payload(tokens["id_token"]))


def test_switches(rp: RelyingParty, document: dict[str, Any]) -> None:
    """What is said to be there is, and what is said not to be is refused or ignored."""
    assert document["authorization_response_iss_parameter_supported"] is True
    assert answer_of(rp.walk())["iss"] == document["issuer"]
    assert document["request_parameter_supported"] is True
    asserts.is_error_page(rp.authorize(request="x"), "invalid_request_object")
    assert document["request_uri_parameter_supported"] is False
    asserts.is_redirect_error(rp.authorize(request_uri="urn:x"), "request_uri_not_supported")
    assert document["claims_parameter_supported"] is False
    assert document["subject_types_supported"] == ["public"]
    assert payload(rp.tokens()["id_token"])["acr"] in document["acr_values_supported"]


def test_languages(rp: RelyingParty, document: dict[str, Any]) -> None:
    """Each advertised language is what `ui_locales` or the browser gets its page in."""
    for tag in document["ui_locales_supported"]:
        page = rp.browser.get("/login", headers={"Accept-Language": tag})
        assert f'<html lang="{tag}"' in page.text
