"""Attacks on the seams between protocol parts: proofs, pushed requests, logout and watchfulness, with odd input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask

from auth_server.clients import client as clients
from auth_server.clients.metadata import DEVICE_CODE
from auth_server.errors import InvalidRedirectUri
from auth_server.oauth import response
from auth_server.tokens import backchannel, ending, status_index
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.device import Device, allow, client_of
from tests.support.dpop import DpopKey
from tests.support.geo import IN_BERLIN, IN_BERLIN_TOO
from tests.support.rp import RelyingParty, basic, payload
from tests.support.watched import at, server

USERINFO = "/oauth/userinfo"
BACK = "https://wiki.example.org/signed-out"
ISSUER = "http://localhost:8421"
FRONT = "https://wiki.example.org/front"
ODD = ["\ud800", "\x00", "é", 7, ["x"], {"x": 1}, True, 1e308]
"""Texts that no database holds, and what is no text."""


def ask(rp: RelyingParty, token: str, proof: str) -> Any:
    return rp.post(USERINFO, {}, headers={"Authorization": f"DPoP {token}", "DPoP": proof})


def refreshed(rp: RelyingParty, proof: str) -> Any:
    """Return the answer to an unknown refresh token with this proof."""
    headers = {**basic(rp.client.client_id, rp.secret), "DPoP": proof}
    return rp.post("/oauth/token", {"grant_type": "refresh_token", "refresh_token": "x"}, headers=headers)


def bound(rp: RelyingParty, key: DpopKey) -> dict[str, Any]:
    fields = {"grant_type": "authorization_code", "code": rp.code(), "code_verifier": rp.verifier}
    answer = rp.post("/oauth/token", fields, headers={**basic(rp.client.client_id, rp.secret), "DPoP": key.proof()})
    assert answer.status_code == 200, answer.text
    return dict(answer.json)


@pytest.mark.parametrize("name", ["jti", "htm", "htu", "iat", "nonce", "ath"])
def test_odd_claims_of_a_proof_are_refused(rp: RelyingParty, name: str) -> None:
    """A signed claim may hold whatever JSON can: never a crash. A `jti` is any text."""
    key = DpopKey()
    token = bound(rp, key)["access_token"]
    assert ask(rp, token, key.proof(USERINFO, access_token=token)).status_code == 200
    for odd in ODD:
        answer = ask(rp, token, key.proof(USERINFO, access_token=token, **{name: odd}))
        expected = 200 if name == "jti" and isinstance(odd, str) else 401
        assert answer.status_code == expected, (odd, answer.text)


@pytest.mark.parametrize("name", ["alg", "typ", "jwk", "crit"])
def test_odd_headers_of_a_proof_are_refused(rp: RelyingParty, name: str) -> None:
    """The same for its header, which is read before any signature is."""
    for odd in ODD:
        asserts.is_oauth_error(refreshed(rp, DpopKey().proof(header={name: odd})), "invalid_dpop_proof")


@pytest.mark.parametrize("name", ["kty", "crv", "x", "y"])
def test_odd_keys_of_a_proof_are_refused(rp: RelyingParty, name: str) -> None:
    """The same for the key in it."""
    key = DpopKey()
    for odd in ODD:
        jwk = {**key.key.as_dict(private=False), name: odd}
        asserts.is_oauth_error(refreshed(rp, key.proof(header={"jwk": jwk})), "invalid_dpop_proof")


@pytest.mark.parametrize(
    ("jwk", "why"),
    [
        ({"e": "AQAB", "n": "A" * 257 + "x" * 86}, "jwk: an RSA key has 2048 to 8192 bits"),
        ({"e": "x" * 340, "n": "z" * 342}, "jwk: malformed key"),
        ({"e": "AQAB", "n": "z" * 2732}, "jwk: an RSA key has 2048 to 8192 bits"),
    ],
    ids=["leading zeros", "large exponent", "large modulus"],
)
def test_rsa_keys_of_a_proof_have_sane_sizes(rp: RelyingParty, jwk: dict[str, str], why: str) -> None:
    """Zeros in front make a short modulus look long; a large exponent makes each check cost a hundredfold."""
    answer = refreshed(rp, DpopKey("RS256").proof(header={"jwk": {"kty": "RSA", **jwk}}))
    asserts.is_oauth_error(answer, "invalid_dpop_proof")
    assert answer.json["error_description"] == f"the DPoP proof is refused: {why}"


def test_a_pushed_request_that_lacks_a_nonce_was_not_refused(
    make_app: Callable[..., Flask],
) -> None:
    """The app only has to come again (RFC 9449 §8): as at the token endpoint, no event says that it was refused."""
    app = make_app(dpop_nonce=True)
    factories.person(app)
    rp, key = RelyingParty(app, Browser(app), *factories.client(app)), DpopKey()
    headers = {**basic(rp.client.client_id, rp.secret), "DPoP": key.proof("/oauth/par")}
    answer = rp.post("/oauth/par", rp.request(), headers=headers)
    asserts.is_oauth_error(answer, "use_dpop_nonce")
    assert asserts.events_of(app, "authorization.refused") == []
    headers["DPoP"] = key.proof("/oauth/par", nonce=answer.headers["DPoP-Nonce"])
    assert rp.post("/oauth/par", rp.request(), headers=headers).status_code == 201
    headers["DPoP"] = key.proof("/oauth/par", nonce=answer.headers["DPoP-Nonce"])
    refused = rp.post("/oauth/par", {**rp.request(), "dpop_jkt": "x" * 43}, headers=headers)
    asserts.is_oauth_error(refused, "invalid_dpop_proof")
    assert len(asserts.events_of(app, "authorization.refused")) == 1


def test_a_move_of_an_app_that_keeps_its_refresh_token_is_recorded(
    make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    """Without rotation as with it: the first use elsewhere is told, the next at the same place is not."""
    app = server(make_app, tmp_path)
    about = {"dpop_bound_access_tokens": True, "refresh_token_rotation": False}
    rp, key = RelyingParty(app, at(app, IN_BERLIN), *factories.client(app, **about)), DpopKey()
    rp.machine.environ_base = {**rp.machine.environ_base, "REMOTE_ADDR": IN_BERLIN}
    fields = {"grant_type": "refresh_token", "refresh_token": bound(rp, key)["refresh_token"]}
    for address, count in ((IN_BERLIN, 0), (IN_BERLIN_TOO, 1), (IN_BERLIN_TOO, 1)):
        rp.machine.environ_base = {**rp.machine.environ_base, "REMOTE_ADDR": address}
        headers = {**basic(rp.client.client_id, rp.secret), "DPoP": key.proof()}
        assert rp.post("/oauth/token", fields, headers=headers).status_code == 200
        assert len(asserts.events_of(app, "family.moved")) == count


@pytest.mark.parametrize("host", ["wiki.example.org;sandbox", "wiki.example.org,default-src", "a'b.example", "a(b"])
@pytest.mark.parametrize("name", ["frontchannel_logout_uri", "backchannel_logout_uri", "client_uri", "redirect_uris"])
def test_no_host_reaches_into_a_policy(app: Flask, host: str, name: str) -> None:
    """An app's host stands in the Content-Security-Policy of the page after a logout: it is a host, nothing else."""
    value = f"https://{host}/front"
    with pytest.raises(InvalidRedirectUri):
        factories.client(app, **{name: [value] if name == "redirect_uris" else value})


@pytest.mark.parametrize(
    "host", ["wiki.example.org", "xn--bcher-kva.example:8443", "a_b.example.org", "[2001:db8::1]:8443"]
)
def test_real_hosts_are_hosts(app: Flask, host: str) -> None:
    """The twin of the above."""
    factories.client(app, frontchannel_logout_uri=f"https://{host}/front;x=1,2'")


def test_a_disabled_app_is_not_let_in_frames(app: Flask, browser: Browser) -> None:
    """What was switched off does not run in the person's browser any more, nor learns of the session."""
    rp = RelyingParty(app, browser, *factories.client(app, frontchannel_logout_uri=FRONT))
    rp.tokens()
    factories.within(app, lambda: ending.disable_client(rp.client))
    answer = browser.sign_out()
    assert "iframe" not in answer.text
    assert "frame-src" not in answer.headers["Content-Security-Policy"]


def test_state_comes_back_behind_an_empty_query(app: Flask, browser: Browser) -> None:
    """An address that ends in `?` takes no second one: the app would read a parameter named `?state`."""
    rp = RelyingParty(app, browser, *factories.client(app, post_logout_redirect_uris=[BACK + "?"]))
    hint = rp.tokens()["id_token"]
    about = {"id_token_hint": hint, "post_logout_redirect_uri": BACK + "?", "state": "x"}
    assert browser.get("/oauth/logout?" + urlencode(about)).headers["Location"] == BACK + "?state=x"


@pytest.mark.parametrize("kind", ["access_token", "logout_token", "signed_answer", "status_list"])
def test_no_other_token_of_ours_is_a_hint(rp: RelyingParty, kind: str) -> None:
    """All are signed by our keys; an ID token alone says whom an app means."""
    tokens = rp.tokens()
    sub = payload(tokens["id_token"])["sub"]
    payload_of = {"client_id": rp.client.client_id, "sub": sub, "sid": "s", "jti": "j"}

    def make() -> str:
        client = clients.find(rp.client.client_id)
        assert client
        return {
            "access_token": lambda: tokens["access_token"],
            "logout_token": lambda: backchannel._logout_token(client, payload_of),
            "signed_answer": lambda: response._signed({"code": "x", "iss": ISSUER}, client),
            "status_list": lambda: rp.machine.get("/oauth/status/0").text,
        }[kind]()

    token = factories.within(rp.app, make)
    asserts.is_redirect_error(rp.authorize(prompt="none", id_token_hint=token), "invalid_request")
    answer = rp.browser.get("/oauth/logout?" + urlencode({"id_token_hint": token}))
    asserts.is_page(answer, "logout")
    assert rp.userinfo(token).status_code == (200 if kind == "access_token" else 401)


def test_a_device_is_bound_to_its_key_and_ends_with_the_sign_in(app: Flask, browser: Browser) -> None:
    """No poll succeeds without a proof; no other key refreshes; what was given is recalled and the app is told."""
    told = {"backchannel_logout_uri": "https://tv.example.org/out", "dpop_bound_access_tokens": True, "scope": "openid"}
    device, key = Device(app, *client_of(app, **told)).started(), DpopKey()
    allow(browser, device.user_code)
    asserts.is_oauth_error(device.poll(), "invalid_dpop_proof")
    found = sent(device, key, grant_type=DEVICE_CODE, device_code=device.codes["device_code"]).json
    renewal = {"grant_type": "refresh_token", "refresh_token": found["refresh_token"]}
    assert payload(found["access_token"])["cnf"] == {"jkt": key.jkt}
    asserts.is_oauth_error(sent(device, DpopKey(), **renewal), "invalid_grant")
    renewed = sent(device, key, **renewal).json
    place = payload(renewed["access_token"])["status"]["status_list"]["idx"]
    assert place not in recalled(app)
    browser.sign_out()
    assert place in recalled(app)
    asserts.is_oauth_error(
        sent(device, key, grant_type="refresh_token", refresh_token=renewed["refresh_token"]), "invalid_grant"
    )
    assert [row for row in asserts.rows(app)["outbox"] if "backchannel_logout" in row]


def recalled(app: Flask) -> tuple[int, ...]:
    return factories.within(app, lambda: status_index.recalled(0)) or ()


def sent(device: Device, key: DpopKey, **fields: str) -> Any:
    """Return the token endpoint's answer to a device that proves to hold this key."""
    about = {**fields, "client_id": device.client.client_id}
    machine = device.app.test_client(use_cookies=False)
    return machine.post("/oauth/token", data=about, headers={"DPoP": key.proof()}, base_url=ISSUER)
