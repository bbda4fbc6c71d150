"""Userinfo as a JWT, and what is encrypted to a client's key: by registration, and never in the clear instead."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server import jobs
from auth_server.clients import client as clients
from auth_server.clients import keys
from auth_server.errors import InvalidClientMetadata
from auth_server.infra.events import Event
from auth_server.keys import jose, keyring
from tests.support import assertion, asserts, factories, web_server
from tests.support.browser import Browser
from tests.support.recipient import Recipient, header_of, recipient
from tests.support.registering import party, register
from tests.support.rp import RelyingParty, bearer, payload
from tests.support.web_server import WebServer, as_json

ISSUER = "http://localhost:8421"
ALGORITHMS = ("RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW")
SIGNING = assertion.signer("ES256", kid="sig")
A_MINUTE = timedelta(seconds=61)


def verified(app: Flask, token: str) -> dict[str, Any]:
    """Return the claims of a JWT that we have signed."""
    key = factories.within(app, lambda: keyring.verifier(jose.header(token)["kid"]))
    assert key is not None
    return jose.verify(token, key)


def app_of(app: Flask, browser: Browser, *recipients: Recipient, **about: Any) -> RelyingParty:
    """Return an app with these keys and metadata."""
    jwks = {"keys": [SIGNING.jwk(), *(one.jwk() for one in recipients)]}
    return RelyingParty(app, browser, *factories.client(app, jwks=jwks, **about))


def jwt_of(answer: TestResponse) -> str:
    """Return a userinfo answer that is a JWT."""
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "application/jwt"
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.text


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_oidcc_userinfo_rs256(app: Flask, browser: Browser, alg: str) -> None:
    """`application/jwt` with iss and aud and the same claims, by a key of the key set; GET and POST."""
    rp = app_of(app, browser, userinfo_signed_response_alg=alg)
    tokens = rp.tokens(scope="openid email")
    token = jwt_of(rp.userinfo(tokens["access_token"]))
    subject = payload(tokens["id_token"])["sub"]
    told = {"sub": subject, "email": "ada@example.org", "email_verified": True}
    assert verified(app, token) == {"iss": ISSUER, "aud": rp.client.client_id, **told}
    assert jose.header(token)["alg"] == alg
    posted = rp.machine.post("/oauth/userinfo", headers=bearer(tokens["access_token"]))
    assert verified(app, jwt_of(posted))["sub"] == subject
    asserts.is_oauth_error(rp.userinfo("x"), "invalid_token", 401)


def test_a_client_registers_itself_for_it(make_app: Callable[..., Flask]) -> None:
    """Dynamic registration takes the same metadata (oidcc-userinfo-rs256 is a dynamic module)."""
    app = make_app(registration="open")
    factories.person(app, roles=["administrator"])
    one = recipient("ECDH-ES")
    made = register(
        app,
        userinfo_signed_response_alg="RS256",
        id_token_signed_response_alg="ES256",
        id_token_encrypted_response_alg="ECDH-ES",
        jwks={"keys": [one.jwk()]},
    )
    assert made.status_code == 201, made.text
    tokens = party(app, made.json).tokens()
    assert jose.header(one.opened(tokens["id_token"]))["alg"] == "ES256"
    assert verified(app, jwt_of(party(app, made.json).userinfo(tokens["access_token"])))["iss"] == ISSUER


def test_a_signed_answer_is_no_other_token(app: Flask, browser: Browser) -> None:
    """An API that was given the access token gets no hint that signs the person out (RFC 8725 §3.11)."""
    rp = app_of(app, browser, userinfo_signed_response_alg="RS256")
    tokens = rp.tokens()
    answer = jwt_of(rp.userinfo(tokens["access_token"]))
    asserts.is_redirect_error(rp.authorize(id_token_hint=answer), "invalid_request")
    asserts.is_page(rp.browser.get("/oauth/logout?id_token_hint=" + answer), "logout")
    asserts.is_oauth_error(rp.userinfo(answer), "invalid_token", 401)
    assert "code" in rp.authorize(id_token_hint=tokens["id_token"]).headers["Location"]


@pytest.mark.parametrize("enc", [None, "A128CBC-HS256", "A256GCM"])
@pytest.mark.parametrize("alg", ALGORITHMS)
def test_id_tokens_are_signed_and_then_encrypted(app: Flask, browser: Browser, alg: str, enc: str | None) -> None:
    """OpenID Connect Core §10.2: `alg`, `enc`, `kid` of the client's key, `cty`; after a refresh too."""
    one = recipient(alg)
    about: dict[str, Any] = {"id_token_encrypted_response_alg": alg}
    about |= {"id_token_encrypted_response_enc": enc} if enc else {}
    rp = app_of(app, browser, one, **about)
    tokens = rp.tokens()
    for token in (tokens["id_token"], rp.refresh(tokens["refresh_token"]).json["id_token"]):
        header = header_of(token)
        assert {name: header[name] for name in ("alg", "enc", "kid", "cty")} == {
            **{"alg": alg, "enc": enc or "A128CBC-HS256", "kid": "enc", "cty": "JWT"},
        }
        claims = verified(app, one.opened(token))
        assert (claims["iss"], claims["aud"]) == (ISSUER, rp.client.client_id)
    assert rp.userinfo(tokens["access_token"]).content_type == "application/json"


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_userinfo_is_encrypted(app: Flask, browser: Browser, alg: str) -> None:
    """Signed and encrypted, or encrypted alone: then the claims themselves are inside (§5.3.2)."""
    one = recipient(alg)
    rp = app_of(app, browser, one, userinfo_encrypted_response_alg=alg, userinfo_encrypted_response_enc="A256GCM")
    tokens = rp.tokens(scope="openid email")
    answer = jwt_of(rp.userinfo(tokens["access_token"]))
    told = json.loads(one.opened(answer))
    assert told.items() >= {"iss": ISSUER, "aud": rp.client.client_id, "email": "ada@example.org"}.items()
    assert "cty" not in header_of(answer)
    factories.within(app, lambda: clients.change(rp.client, {"userinfo_signed_response_alg": "EdDSA"}))
    answer = jwt_of(rp.userinfo(tokens["access_token"]))
    assert header_of(answer)["cty"] == "JWT"
    assert verified(app, one.opened(answer)) == told


def test_what_was_in_an_encrypted_id_token_is_a_hint(app: Flask, browser: Browser) -> None:
    """§3.1.2.1: the client decrypts it first; what is still encrypted names nobody."""
    one = recipient("ECDH-ES")
    rp = app_of(app, browser, one, id_token_encrypted_response_alg="ECDH-ES")
    token = rp.tokens()["id_token"]
    assert "code" in rp.authorize(prompt="none", id_token_hint=one.opened(token)).headers["Location"]
    asserts.is_redirect_error(rp.authorize(prompt="none", id_token_hint=token), "invalid_request")


@pytest.fixture
def publisher() -> Iterator[WebServer]:
    """Return the app's own server, with keys and a place for logout tokens."""
    keys.forget()
    with web_server.running(as_json({"keys": []})) as server:
        yield server
    keys.forget()


@pytest.fixture
def reaching(make_app: Callable[..., Flask], publisher: WebServer) -> Flask:
    """Return a server that may reach it, with Ada."""
    app = make_app(outbound_allow_hosts=(f"127.0.0.1:{publisher.port}",))
    factories.person(app, roles=["administrator"])
    return app


def publishing(app: Flask, server: WebServer, **about: Any) -> RelyingParty:
    """Return an app that publishes its keys."""
    about = {"id_token_encrypted_response_alg": "ECDH-ES", "jwks_uri": server.url("/jwks"), **about}
    return RelyingParty(app, Browser(app), *factories.client(app, **about))


def test_published_keys_are_used_and_never_nothing(
    reaching: Flask, publisher: WebServer, in_a_while: Callable[[timedelta], None]
) -> None:
    """Without a key the answer is 503 and nothing is used up: the same code is good a minute later."""
    rp = publishing(reaching, publisher, userinfo_encrypted_response_alg="ECDH-ES")
    one = recipient("ECDH-ES")
    code = rp.code(scope="openid offline_access")
    for useless in ([], [SIGNING.jwk()], [one.jwk(use="sig", alg=None)], [one.jwk(alg="ECDH-ES+A256KW")]):
        keys.forget()
        publisher.behave = as_json({"keys": useless})
        refused = rp.exchange(code)
        asserts.is_oauth_error(refused, "temporarily_unavailable", 503)
        assert "use enc" in refused.json["error_description"]
    keys.forget()
    publisher.behave = web_server.answer(b"", "500 Internal Server Error")
    asserts.is_oauth_error(rp.exchange(code), "temporarily_unavailable", 503)
    keys.forget()
    publisher.behave = as_json({"keys": [SIGNING.jwk(), one.jwk()]})
    tokens = rp.exchange(code)
    assert tokens.status_code == 200, tokens.text
    assert verified(reaching, one.opened(tokens.json["id_token"]))["aud"] == rp.client.client_id
    keys.forget()
    publisher.behave = as_json({"keys": []})
    asserts.is_oauth_error(rp.userinfo(tokens.json["access_token"]), "temporarily_unavailable", 503)
    asserts.is_oauth_error(rp.refresh(tokens.json["refresh_token"]), "temporarily_unavailable", 503)
    in_a_while(A_MINUTE)
    publisher.behave = as_json({"keys": [one.jwk()]})
    assert rp.refresh(tokens.json["refresh_token"]).status_code == 200
    assert asserts.events_of(reaching, Event.CODE_REPLAYED) == asserts.events_of(reaching, Event.REFRESH_REUSED) == []


def test_oidcc_refresh_token_rp_key_rotation(
    reaching: Flask, publisher: WebServer, in_a_while: Callable[[timedelta], None]
) -> None:
    """A key that is published no more is used no more, once what was fetched is not fresh (§10.2.1)."""
    old, new = recipient("ECDH-ES", "old"), Recipient("ECDH-ES", recipient("ECDH-ES", "other").native, "new")
    publisher.behave = as_json({"keys": [old.jwk()]}, Cache_Control="max-age=60")
    rp = publishing(reaching, publisher)
    tokens = rp.tokens()
    assert header_of(tokens["id_token"])["kid"] == "old"
    publisher.behave = as_json({"keys": [new.jwk()]})
    in_a_while(A_MINUTE)
    refreshed = rp.refresh(tokens["refresh_token"]).json["id_token"]
    assert header_of(refreshed)["kid"] == "new"
    assert new.opened(refreshed)


def test_logout_tokens_are_encrypted_as_id_tokens_are(reaching: Flask, publisher: WebServer) -> None:
    """Back-Channel Logout §2.6: the app should refuse one in the clear."""
    one = recipient("ECDH-ES")
    rp = app_of(
        reaching,
        Browser(reaching),
        one,
        id_token_encrypted_response_alg="ECDH-ES",
        backchannel_logout_uri=publisher.url("/logout"),
    )
    rp.tokens()
    publisher.behave = web_server.answer(b"", "200 OK", "")
    rp.browser.sign_out()
    assert factories.within(reaching, jobs.deliver_due) == 1
    (raw,) = publisher.requests
    token = parse_qs(raw.partition(b"\r\n\r\n")[2].decode())["logout_token"][0]
    assert verified(reaching, one.opened(token))["events"]


ONE = recipient("RSA-OAEP-256")
WITH_KEY: dict[str, Any] = {"jwks": {"keys": [ONE.jwk()]}}
CURVE = recipient("ECDH-ES").jwk()
BAD: dict[str, dict[str, Any]] = {
    "no keys": {"userinfo_encrypted_response_alg": "RSA-OAEP-256"},
    "enc alone": {**WITH_KEY, "id_token_encrypted_response_enc": "A256GCM"},
    "another type of key": {**WITH_KEY, "id_token_encrypted_response_alg": "ECDH-ES"},
    "a key for signatures": {
        "jwks": {"keys": [ONE.jwk(use="sig", alg=None)]},
        "id_token_encrypted_response_alg": "RSA-OAEP-256",
    },
    "a key for whatever": {
        "jwks": {"keys": [ONE.jwk(use=None)]},
        "id_token_encrypted_response_alg": "RSA-OAEP-256",
    },
    "a key for another algorithm": {
        "jwks": {"keys": [ONE.jwk(alg="RSA-OAEP")]},
        "id_token_encrypted_response_alg": "RSA-OAEP-256",
    },
    "key_ops of another kind": {
        "jwks": {"keys": [ONE.jwk(key_ops=["verify"])]},
        "id_token_encrypted_response_alg": "RSA-OAEP-256",
    },
    "a point on no curve": {
        "jwks": {"keys": [{**CURVE, "y": CURVE["x"]}]},
        "id_token_encrypted_response_alg": "ECDH-ES",
    },
    "its private half": {
        "jwks": {"keys": [{**CURVE, "d": CURVE["x"]}]},
        "id_token_encrypted_response_alg": "ECDH-ES",
    },
    "RSA1_5": {**WITH_KEY, "id_token_encrypted_response_alg": "RSA1_5"},
    "SHA-1": {**WITH_KEY, "id_token_encrypted_response_alg": "RSA-OAEP"},
    "dir": {**WITH_KEY, "userinfo_encrypted_response_alg": "dir"},
    "none": {**WITH_KEY, "userinfo_signed_response_alg": "none"},
    "HS256": {**WITH_KEY, "userinfo_signed_response_alg": "HS256"},
    "a list": {**WITH_KEY, "id_token_encrypted_response_alg": ["RSA-OAEP-256"]},
    "another enc": {
        **WITH_KEY,
        "id_token_encrypted_response_alg": "RSA-OAEP-256",
        "id_token_encrypted_response_enc": "A128GCM",
    },
    "a key that cannot sign": {**WITH_KEY, "token_endpoint_auth_method": "private_key_jwt"},
}


@pytest.mark.parametrize("what", BAD)
def test_metadata_that_cannot_work_are_refused(app: Flask, what: str) -> None:
    """One validation for every door; the field is named."""
    with pytest.raises(InvalidClientMetadata) as caught:
        factories.client(app, **BAD[what])
    assert caught.value.description.split(":")[0] in {*BAD[what], "jwks"}
    assert factories.client(app, **WITH_KEY, id_token_encrypted_response_alg="RSA-OAEP-256")


def test_a_key_for_encryption_verifies_nothing(app: Flask, browser: Browser) -> None:
    """RFC 7517 §4.2: a request object that the app has signed with it is refused."""
    signer = assertion.signer("ES256", kid="enc")
    rp = RelyingParty(app, browser, *factories.client(app, jwks={"keys": [signer.jwk(use="enc", alg=None)]}))
    claims = rp.request(iss=rp.client.client_id, aud=ISSUER)
    asserts.is_error_page(rp.authorize(request=signer.token(claims)), "invalid_request_object")
