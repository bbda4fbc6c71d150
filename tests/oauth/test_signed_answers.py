"""Signed authorization answers (JARM): the modes `jwt`, `query.jwt` and `form_post.jwt`, for codes and for errors."""

from __future__ import annotations

import time
from typing import Any

import pytest
from flask import Flask
from joserfc import jwt
from joserfc.jwk import KeySet
from werkzeug.test import TestResponse

from auth_server.clients import client as clients
from auth_server.errors import InvalidClientMetadata
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.rp import RelyingParty, answer_of

ISSUER = "http://localhost:8421"
MODES = ("jwt", "query.jwt", "form_post.jwt")


def signed(rp: RelyingParty, answer: TestResponse) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of the answer, checked as an app must (JARM §2.4); nothing else came with it."""
    if answer.status_code == 303:
        assert answer.headers["Location"].startswith(factories.REDIRECT_URI + "?")
        fields = answer_of(answer)
    else:
        fields = asserts.is_page(answer, "form-post").inputs
    assert set(fields) == {"response"}
    keys = KeySet.import_key_set(rp.machine.get("/.well-known/jwks.json").json)
    found = jwt.decode(fields["response"], keys, algorithms=["RS256", "ES256", "EdDSA"])
    claims = found.claims
    assert (claims["iss"], claims["aud"]) == (ISSUER, rp.client.client_id)
    assert 0 < claims["exp"] - time.time() <= 600
    return found.header, claims


@pytest.mark.parametrize("mode", MODES)
def test_a_code_comes_signed(rp: RelyingParty, mode: str) -> None:
    """`response` alone, by query or form; the code in it redeems, the state is the app's to the byte."""
    state = 'a+b %&"<é日'
    header, claims = signed(rp, rp.walk(response_mode=mode, state=state))
    assert header["alg"] == "RS256"
    assert set(claims) == {"iss", "aud", "exp", "code", "state"}
    assert claims["state"] == state
    assert rp.exchange(claims["code"]).status_code == 200
    assert set(signed(rp, rp.walk(response_mode=mode, state=None))[1]) == {"iss", "aud", "exp", "code"}


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_the_client_chooses_the_algorithm(app: Flask, browser: Browser, alg: str) -> None:
    """`authorization_signed_response_alg`, whatever its ID tokens are signed with (JARM §3)."""
    rp = RelyingParty(app, browser, *factories.client(app, authorization_signed_response_alg=alg))
    assert signed(rp, rp.walk(response_mode="jwt"))[0]["alg"] == alg
    assert "code" in answer_of(rp.walk())  # registering an algorithm does not ask for signed answers


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"prompt": "none"}, "login_required"),
        ({"scope": "nothing:known"}, "invalid_scope"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
    ],
)
def test_errors_come_signed(rp: RelyingParty, mode: str, changed: dict[str, Any], code: str) -> None:
    """In the mode that the app asked for, with state."""
    _header, claims = signed(rp, rp.authorize(response_mode=mode, **changed))
    assert (claims["error"], claims["state"]) == (code, "the-state")
    assert claims["error_description"]
    assert "code" not in claims


@pytest.mark.parametrize("mode", MODES)
def test_a_refusal_by_the_person_comes_signed(rp: RelyingParty, mode: str) -> None:
    """`access_denied`."""
    rp.browser.sign_in()
    consent = rp.browser.follow(rp.authorize(response_mode=mode))
    denied = rp.browser.submit(consent, consent.request.full_path, decision="deny")
    assert signed(rp, denied)[1]["error"] == "access_denied"


@pytest.mark.parametrize("mode", ["fragment.jwt", "JWT", "jwt ", "fragment", "web_message.jwt", "query.jwt.jwt"])
def test_other_modes_are_refused(rp: RelyingParty, mode: str) -> None:
    """There is no fragment to sign: only `code` is answered here."""
    asserts.is_redirect_error(rp.authorize(response_mode=mode), "invalid_request")


def test_a_pushed_request_may_ask_for_it(rp: RelyingParty) -> None:
    """Both together are what FAPI's message signing wants."""
    _header, claims = signed(rp, rp.walk_on(rp.bring(rp.reference(response_mode="jwt"))))
    assert rp.exchange(claims["code"]).status_code == 200


def test_a_signed_answer_is_no_other_token(rp: RelyingParty) -> None:
    """Neither an ID token that hints at a person, nor an access token (RFC 8725 §3.11)."""
    answer = answer_of(rp.walk(response_mode="jwt"))["response"]
    asserts.is_redirect_error(rp.authorize(id_token_hint=answer), "invalid_request")
    asserts.is_oauth_error(rp.userinfo(answer), "invalid_token", 401)
    assert rp.introspect(answer) == {"active": False}
    assert rp.userinfo(rp.tokens()["access_token"]).status_code == 200


def test_the_answer_is_for_the_app_that_asked(rp: RelyingParty, app: Flask) -> None:
    """`aud` is the client, so another app that is handed the answer sees that it is not its own (RFC 9207)."""
    other = RelyingParty(app, rp.browser, *factories.client(app, client_name="Notes"))
    found = [signed(one, one.walk(response_mode="jwt"))[1]["aud"] for one in (rp, other)]
    assert found == [rp.client.client_id, other.client.client_id]


def test_an_unknown_algorithm_is_refused_at_registration(rp: RelyingParty) -> None:
    """`none` above all."""
    for alg in ("none", "HS256", "RS512", ""):
        asked = {"authorization_signed_response_alg": alg}
        with pytest.raises(InvalidClientMetadata):
            factories.within(rp.app, lambda asked=asked: clients.change(rp.client, asked))
