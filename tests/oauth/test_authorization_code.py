"""The authorization code grant: what a code gives, what it is bound to, and what spends it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from auth_server.accounts import users
from auth_server.clients import client as clients
from auth_server.tokens import ending
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.factories import REDIRECT_URI
from tests.support.rp import RelyingParty, answer_of, challenge_of, payload

Travel = Callable[[timedelta], None]


def bens(rp: RelyingParty) -> RelyingParty:
    """Return the same app in a browser of its own."""
    return RelyingParty(rp.app, Browser(rp.app), rp.client, rp.secret)


def found(user: users.User) -> users.User:
    """Return the person as this transaction knows them."""
    fresh = users.find(user.id)
    assert fresh is not None
    return fresh


def end_of(cause: str) -> Callable[[users.User, RelyingParty], object]:
    """Return what ends a person's authorization in one of the ways there are."""

    return {
        "disabled": lambda user, _rp: ending.disable_user(found(user)),
        "deleted": lambda user, _rp: ending.delete_user(found(user)),
        "signed out everywhere": lambda user, _rp: ending.sign_out_everywhere(user.id, "test"),
        "password changed elsewhere": lambda user, _rp: ending.password_changed(user.id, "another session"),
        "disconnected": lambda user, rp: ending.disconnect(user.id, rp.client.client_id),
    }[cause]


def test_a_code_is_redeemed_for_three_tokens(rp: RelyingParty) -> None:
    """A right request is answered as RFC 6749 §5.1 and OpenID Connect Core §3.1.3.3 say."""
    response = rp.exchange(rp.code())
    tokens = response.json
    assert response.content_type == "application/json"
    assert (response.headers["Cache-Control"], response.headers["Pragma"]) == ("no-store", "no-cache")
    names = {"access_token", "token_type", "expires_in", "scope", "refresh_token", "id_token"}
    assert set(tokens) == names
    assert tokens["token_type"] == "Bearer"
    assert tokens["scope"] == "openid profile email offline_access"
    assert payload(tokens["id_token"])["nonce"] == "the-nonce"
    assert rp.userinfo(tokens["access_token"]).json["sub"] == payload(tokens["id_token"])["sub"]
    (event,) = asserts.events_of(rp.app, "token.issued")
    assert event.request_id == response.headers["X-Request-Id"]
    assert (event.actor_kind, event.actor, event.client_id) == ("service", rp.client.client_id, rp.client.client_id)


def test_without_openid_there_is_no_id_token(rp: RelyingParty) -> None:
    """OpenID Connect Core §3.1.2.1; the refresh token is issued whenever the client has the grant."""
    tokens = rp.tokens(scope="email")
    assert "id_token" not in tokens
    assert "refresh_token" in tokens
    once_only, secret = factories.client(rp.app, grant_types=["authorization_code"])
    assert "refresh_token" not in RelyingParty(rp.app, rp.browser, once_only, secret).tokens()


def test_codes_are_long_random_and_nowhere_stored(rp: RelyingParty) -> None:
    """256 random bits; the database knows a digest only (RFC 6819 §5.1.4.1.3)."""
    rp.walk()
    codes = [rp.code() for _time in range(50)]
    assert len(set(codes)) == 50
    assert {len(code) for code in codes} == {43}
    assert all(len({code[position] for code in codes}) > 8 for position in range(42))
    stored = repr(asserts.rows(rp.app)) + repr([event.data for event in asserts.events_of(rp.app, "code.issued")])
    assert not any(code in stored for code in codes)


def test_a_code_used_twice_ends_what_it_produced(rp: RelyingParty) -> None:
    """A replayed code is refused and its family ends (OAuth 2.1 §4.1.3)."""
    code = rp.code()
    tokens = rp.exchange(code).json
    assert rp.introspect(tokens["access_token"])["active"]
    again = rp.exchange(code)
    asserts.is_oauth_error(again, "invalid_grant")
    assert again.json["error_description"] == "the code was used before"
    assert rp.userinfo(tokens["access_token"]).status_code == 401
    assert rp.introspect(tokens["access_token"]) == {"active": False}
    asserts.is_oauth_error(rp.refresh(tokens["refresh_token"]), "invalid_grant")
    (event,) = asserts.events_of(rp.app, "code.replayed")
    assert (event.result, event.request_id) == ("failure", again.headers["X-Request-Id"])


def test_a_replayed_code_ends_its_own_family_only(rp: RelyingParty) -> None:
    """Another sign-in of the same person at the same app lives on."""
    other = rp.tokens()
    code = rp.code()
    rp.exchange(code)
    rp.exchange(code)
    assert rp.userinfo(other["access_token"]).status_code == 200
    assert rp.refresh(other["refresh_token"]).status_code == 200


def test_a_code_lives_for_sixty_seconds(rp: RelyingParty, in_a_while: Travel) -> None:
    """To the second, and the answer says so."""
    rp.walk()
    early, late = rp.code(), rp.code()
    in_a_while(timedelta(seconds=57))
    assert rp.exchange(early).status_code == 200
    in_a_while(timedelta(seconds=4))
    expired = rp.exchange(late)
    asserts.is_oauth_error(expired, "invalid_grant")
    assert expired.json["error_description"] == "the code has expired"


def test_a_foreign_client_learns_nothing_and_spends_nothing(rp: RelyingParty) -> None:
    """Unknown, malformed and foreign codes get one answer; the right client's try then succeeds (CVE-2026-28513)."""
    code = rp.code()
    confidential, secret = factories.client(rp.app)
    public = factories.public_client(rp.app)
    answers = []
    for thief in (RelyingParty(rp.app, rp.browser, confidential, secret), RelyingParty(rp.app, rp.browser, public)):
        for presented in (code, code[:-1], code + "x", "x" * 43, "é", "x.y.z"):
            refused = thief.exchange(presented, code_verifier=rp.verifier)
            asserts.is_oauth_error(refused, "invalid_grant")
            answers.append(refused.data)
    assert len(set(answers)) == 1
    assert rp.exchange(code).status_code == 200


def test_a_failed_authentication_does_not_spend_the_code(rp: RelyingParty) -> None:
    """Otherwise anybody who saw a code could burn it (RFC 6819 §4.4.1.12)."""
    code = rp.code()
    secret, rp.secret = rp.secret, "wrong" * 10
    asserts.is_oauth_error(rp.exchange(code), "invalid_client", 401)
    rp.secret = secret
    assert rp.exchange(code).status_code == 200


@pytest.mark.parametrize(
    ("verifier", "sentence"),
    [
        ("w" * 43, "code_verifier does not match"),
        (None, "code_verifier is missing"),
        ("", "code_verifier is missing"),
        ("v" * 42, "code_verifier is malformed: 43 to 128 characters of A-Z a-z 0-9 - . _ ~"),
        ("v" * 129, "code_verifier is malformed: 43 to 128 characters of A-Z a-z 0-9 - . _ ~"),
        ("v" * 42 + "+", "code_verifier is malformed: 43 to 128 characters of A-Z a-z 0-9 - . _ ~"),
        ("v" * 42 + "é", "code_verifier is malformed: 43 to 128 characters of A-Z a-z 0-9 - . _ ~"),
        ("v" * 43 + "\n", "code_verifier is malformed: 43 to 128 characters of A-Z a-z 0-9 - . _ ~"),
    ],
)
def test_a_wrong_verifier_is_refused_and_spends_the_code(rp: RelyingParty, verifier: str | None, sentence: str) -> None:
    """RFC 7636 §4.6, CVE-2023-48228; the exact cause, since the client has proved to be the code's."""
    code = rp.code()
    refused = rp.exchange(code, code_verifier=verifier)
    asserts.is_oauth_error(refused, "invalid_grant")
    assert refused.json["error_description"] == sentence
    asserts.is_oauth_error(rp.exchange(code), "invalid_grant")
    assert rp.exchange(rp.code()).status_code == 200


def test_the_challenge_and_another_codes_verifier_are_no_verifiers(rp: RelyingParty) -> None:
    """The challenge was seen by the browser; a verifier belongs to one code."""
    rp.walk()
    asserts.is_oauth_error(rp.exchange(rp.code(), code_verifier=challenge_of(rp.verifier)), "invalid_grant")
    other = rp.code(code_challenge=challenge_of("o" * 43))
    asserts.is_oauth_error(rp.exchange(other), "invalid_grant")
    assert rp.exchange(rp.code(code_challenge=challenge_of("o" * 128)), code_verifier="o" * 128).status_code == 200


@pytest.mark.parametrize("changed", [{}, {"prompt": "login"}, {"prompt": "consent"}, {"response_mode": "form_post"}])
def test_the_challenge_survives_every_way(rp: RelyingParty, changed: dict[str, str]) -> None:
    """Login, consent and form_post lose nothing of it (django-oauth-toolkit #900)."""

    def code() -> str:
        answer = rp.walk(**changed)
        by_form = "response_mode" in changed
        return (asserts.is_page(answer, "form-post").inputs if by_form else answer_of(answer))["code"]

    asserts.is_oauth_error(rp.exchange(code(), code_verifier="w" * 43), "invalid_grant")
    assert rp.exchange(code()).status_code == 200


def test_a_posted_request_keeps_its_challenge(rp: RelyingParty) -> None:
    """The authorization request by POST stores it like any other."""
    rp.walk()
    posted = rp.browser.follow(rp.browser.post("/oauth/authorize", rp.request()))
    asserts.is_oauth_error(rp.exchange(answer_of(posted)["code"], code_verifier="w" * 43), "invalid_grant")
    posted = rp.browser.follow(rp.browser.post("/oauth/authorize", rp.request()))
    assert rp.exchange(answer_of(posted)["code"]).status_code == 200


def test_a_verifier_without_a_challenge_is_refused(app: Flask, browser: Browser) -> None:
    """Somebody stripped the challenge on the way (RFC 9700 §4.8.2, CVE-2024-23647)."""
    rp = RelyingParty(app, browser, *factories.client(app, require_pkce=False))
    bare = {"code_challenge": None, "code_challenge_method": None}
    refused = rp.exchange(rp.code(**bare))
    asserts.is_oauth_error(refused, "invalid_grant")
    asserts.is_oauth_error(rp.exchange(rp.code(**bare), code_verifier=None, redirect_uri=None), "invalid_request")
    assert rp.exchange(rp.code(**bare), code_verifier=None).status_code == 200


@pytest.mark.parametrize("uri", [REDIRECT_URI + "/", "https://evil.test/", "https://other.example.org/cb", "x", "\\"])
def test_another_redirect_uri_is_refused_and_spends_the_code(rp: RelyingParty, uri: str) -> None:
    """When sent it must be the same (OAuth 2.1 §10.2), another registered one too; it need not be sent with PKCE."""
    both = {"redirect_uris": [REDIRECT_URI, "https://other.example.org/cb"]}
    factories.within(rp.app, lambda: clients.change(rp.client, both))
    code = rp.code()
    refused = rp.exchange(code, redirect_uri=uri)
    asserts.is_oauth_error(refused, "invalid_grant")
    assert refused.json["error_description"] == "redirect_uri differs from the authorization request"
    asserts.is_oauth_error(rp.exchange(code), "invalid_grant")
    assert rp.exchange(rp.code(), redirect_uri=None).status_code == 200


def test_a_removed_redirect_uri_ends_its_codes(rp: RelyingParty) -> None:
    """What was registered then and is not any more gets no tokens."""
    code, kept = rp.code(), rp.code()
    factories.within(rp.app, lambda: clients.change(rp.client, {"redirect_uris": ["https://new.example.org/cb"]}))
    for sent in (REDIRECT_URI, None):
        asserts.is_oauth_error(rp.exchange(code, redirect_uri=sent), "invalid_grant")
    factories.within(rp.app, lambda: clients.change(rp.client, {"redirect_uris": [REDIRECT_URI]}))
    assert rp.exchange(kept).status_code == 200


def test_a_loopback_code_is_bound_to_its_port(app: Flask, browser: Browser) -> None:
    """What was sent in the request counts, not what is registered."""
    rp = RelyingParty(app, browser, factories.public_client(app, redirect_uris=["http://127.0.0.1/cb"]))
    code = rp.code(redirect_uri="http://127.0.0.1:5000/cb")
    asserts.is_oauth_error(rp.exchange(code, redirect_uri="http://127.0.0.1:5001/cb"), "invalid_grant")
    code = rp.code(redirect_uri="http://127.0.0.1:5000/cb")
    assert rp.exchange(code, redirect_uri="http://127.0.0.1:5000/cb").status_code == 200


@pytest.mark.parametrize(
    "cause", ["disabled", "deleted", "signed out everywhere", "password changed elsewhere", "disconnected"]
)
def test_a_code_dies_with_what_it_was_born_from(rp: RelyingParty, ben: users.User, cause: str) -> None:
    """Whatever ends the person's authorization ends its codes (CVE-2026-1609)."""
    bens_rp = bens(rp)
    assert bens_rp.exchange(bens_rp.code(email="ben@example.org")).status_code == 200
    code = bens_rp.code(email="ben@example.org")
    factories.within(rp.app, lambda: end_of(cause)(ben, rp))
    asserts.is_oauth_error(bens_rp.exchange(code), "invalid_grant")
    assert rp.exchange(rp.code()).status_code == 200


def test_a_code_dies_with_its_session(rp: RelyingParty) -> None:
    """Signed out before redemption: nothing is given, though `offline_access` was asked."""
    code = rp.code()
    rp.browser.sign_out()
    refused = rp.exchange(code)
    asserts.is_oauth_error(refused, "invalid_grant")
    assert refused.json["error_description"] == "the authorization has ended"
    assert rp.exchange(rp.code()).status_code == 200


def test_two_people_at_once_get_their_own(rp: RelyingParty, ada: users.User, ben: users.User) -> None:
    """A code carries its own person, nonce and session (RFC 9700 §4.5)."""
    other = bens(rp)
    adas_code, bens_code = rp.code(nonce="adas"), other.code(email="ben@example.org", nonce="bens")
    bens_token = payload(other.exchange(bens_code).json["id_token"])
    adas_token = payload(rp.exchange(adas_code).json["id_token"])
    assert (adas_token["sub"], adas_token["nonce"]) == (ada.id, "adas")
    assert (bens_token["sub"], bens_token["nonce"]) == (ben.id, "bens")
    assert adas_token["sid"] != bens_token["sid"]


def test_a_code_needs_the_code_parameter(rp: RelyingParty) -> None:
    """Missing or empty is `invalid_request` (RFC 6749 §5.2)."""
    for missing in (None, ""):
        asserts.is_oauth_error(rp.exchange(missing), "invalid_request")  # type: ignore[arg-type]
    assert rp.exchange(rp.code()).status_code == 200


def test_an_id_token_says_what_is_true(rp: RelyingParty, ada: users.User) -> None:
    """OpenID Connect Core §2: issuer, one audience, short life, and how this person really signed in (RFC 8176)."""
    tokens = rp.tokens()
    claims = payload(tokens["id_token"])
    assert (claims["iss"], claims["aud"], claims["sub"]) == ("http://localhost:8421", rp.client.client_id, ada.id)
    assert 0 < claims["exp"] - claims["iat"] <= 3600
    assert claims["auth_time"] <= claims["iat"]
    assert (claims["acr"], claims["amr"]) == ("aal1", ["pwd"])
    assert (claims["name"], claims["email"], claims["email_verified"]) == ("Ada Lovelace", "ada@example.org", True)
    assert claims["sid"] == payload(tokens["access_token"])["sid"]
    assert claims["sid"] not in (rp.browser.cookie("auth_server"), rp.browser.cookie("auth_server_browser"))


def test_the_claims_parameter_releases_nothing_more(app: Flask, browser: Browser) -> None:
    """Only scopes that the client is registered for do, whatever it asks for by name."""
    factories.person(app, "eve@example.org", "Eve", claims={"phone_number": "+1 555 0100"})
    rp = RelyingParty(app, browser, *factories.client(app, scope="openid profile"))
    asked = '{"id_token":{"phone_number":{"essential":true}},"userinfo":{"phone_number":null,"email":null}}'
    tokens = rp.tokens(email="eve@example.org", scope="openid", claims=asked)
    for released in (payload(tokens["id_token"]), rp.userinfo(tokens["access_token"]).json):
        assert not {"phone_number", "email"} & set(released)
    factories.within(app, lambda: clients.change(rp.client, {"scope": "openid phone"}))
    granted = rp.tokens(email="eve@example.org", scope="openid phone")
    assert payload(granted["id_token"])["phone_number"] == "+1 555 0100"


def test_an_id_token_may_be_minimal(app: Flask, browser: Browser) -> None:
    """`id_token_claims: minimal` leaves the person's claims to userinfo."""
    rp = RelyingParty(app, browser, *factories.client(app, id_token_claims="minimal"))
    tokens = rp.tokens()
    assert not {"email", "name"} & set(payload(tokens["id_token"]))
    assert rp.userinfo(tokens["access_token"]).json["email"] == "ada@example.org"
