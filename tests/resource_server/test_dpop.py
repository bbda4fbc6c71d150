"""`resource_server` and tokens that are bound to a key (RFC 9449 §7)."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from auth_server import resource_server
from auth_server.keys import jose
from auth_server.resource_dpop import Memory
from tests.support.dpop import DpopKey
from tests.support.issuer import AUDIENCE, Issuer
from tests.support.protected import CREDENTIALS, an_api, status

SITE, PATH = "http://localhost", "/orders"
DPOP = f'DPoP realm="{AUDIENCE}", algs="ES256 EdDSA PS256 RS256"'


@pytest.fixture
def key() -> DpopKey:
    return DpopKey()


def bound(issuer: Issuer, key: DpopKey) -> str:
    return issuer.token(cnf={"jkt": key.jkt})


def proof(key: DpopKey, token: str, **changed: Any) -> str:
    return key.proof(PATH, "GET", site=SITE, access_token=token, **changed)


def ask(api: FlaskClient, token: str, shown: str | None, scheme: str = "DPoP", path: str = PATH) -> TestResponse:
    headers = {"Authorization": f"{scheme} {token}"} | ({"DPoP": shown} if shown else {})
    return api.get(path, headers=headers)


def is_refused_as(answer: TestResponse, code: str) -> None:
    assert (answer.status_code, answer.json["error"]) == (401, code)
    assert answer.headers["WWW-Authenticate"] == f'{DPOP}, error="{code}"'


@pytest.mark.parametrize("alg", jose.ALGORITHMS)
def test_a_bound_token_comes_with_its_proof(issuer: Issuer, alg: str) -> None:
    """In any case of the scheme; the query does not matter."""
    key, api = DpopKey(alg), an_api(issuer)
    token = bound(issuer, key)
    assert ask(api, token, proof(key, token)).json == {"sub": "a-person"}
    assert ask(api, token, proof(key, token), scheme="dpop", path=PATH + "?page=2").status_code == 200


def test_a_stolen_token_is_worth_nothing(issuer: Issuer, key: DpopKey) -> None:
    """As a bearer token, with no proof, with a proof of another key, of another token, address or method, or twice."""
    api, other = an_api(issuer), DpopKey()
    token = bound(issuer, key)
    is_refused_as(ask(api, token, None, scheme="Bearer"), "invalid_token")
    is_refused_as(ask(api, token, proof(other, token)), "invalid_token")
    for wrong in (
        None,
        "x",
        proof(key, "another"),
        key.proof(PATH, "GET", site=SITE),
        key.proof("/other", "GET", site=SITE, access_token=token),
        key.proof(PATH, "POST", site=SITE, access_token=token),
    ):
        is_refused_as(ask(api, token, wrong), "invalid_dpop_proof")
    once = proof(key, token)
    assert ask(api, token, once).status_code == 200
    is_refused_as(ask(api, token, once), "invalid_dpop_proof")


def test_an_unbound_token_is_no_bound_one(issuer: Issuer, key: DpopKey) -> None:
    """Its twin goes through as a bearer token; one that is bound in another way is refused in both."""
    api, token = an_api(issuer), issuer.token()
    is_refused_as(ask(api, token, proof(key, token)), "invalid_token")
    assert status(api, token) == 200
    for cnf in ({"x5t#S256": "x"}, {"jkt": 7}, {"jkt": key.jkt, "x5t#S256": "x"}, "x", {}):
        strange = issuer.token(cnf=cnf)
        assert status(api, strange) == ask(api, strange, proof(key, strange)).status_code == 401


def test_an_introspected_token_is_checked_alike(issuer: Issuer, key: DpopKey) -> None:
    """What it is bound to is in the issuer's answer (RFC 9449 §6.2)."""
    api = an_api(issuer, introspection=CREDENTIALS)
    issuer.introspection(cnf={"jkt": key.jkt}, token_type="DPoP")
    assert ask(api, "opaque", proof(key, "opaque")).status_code == 200
    is_refused_as(ask(api, "opaque", None, scheme="Bearer"), "invalid_token")


def test_without_a_token_both_schemes_are_offered(issuer: Issuer) -> None:
    """RFC 9449 §7.1."""
    found = an_api(issuer).get(PATH).headers.getlist("WWW-Authenticate")
    assert found == [f'Bearer realm="{AUDIENCE}"', DPOP]


def test_several_processes_may_share_what_they_saw(issuer: Issuer, key: DpopKey) -> None:
    """Two processes of one API, one memory."""
    memory = Memory()
    one, other = (an_api(issuer, first_time=memory.first_time) for _ in range(2))
    token = bound(issuer, key)
    shown = proof(key, token)
    assert ask(one, token, shown).status_code == 200
    is_refused_as(ask(other, token, shown), "invalid_dpop_proof")


def test_a_proof_for_another_site_does_not_fit_under_its_name(issuer: Issuer, key: DpopKey) -> None:
    """A site that got token and proof sends both on with its own name as `Host`: the API's `origin` is what counts."""
    token = bound(issuer, key)
    api = an_api(issuer, origin="https://orders.example.org")
    stolen = key.proof(PATH, "GET", site="http://evil.example", access_token=token)
    headers = {"Authorization": f"DPoP {token}", "DPoP": stolen}
    is_refused_as(api.get(PATH, headers=headers, base_url="http://evil.example"), "invalid_dpop_proof")
    meant = key.proof(PATH, "GET", site="https://orders.example.org", access_token=token)
    assert ask(api, token, meant).status_code == 200


def test_the_memory_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be remembered is refused, and what is over makes room."""
    from datetime import UTC, datetime, timedelta

    monkeypatch.setattr("auth_server.resource_dpop._MOST_REMEMBERED", 2)
    memory, now = Memory(), datetime.now(UTC)
    later, before = now + timedelta(minutes=1), now - timedelta(minutes=1)
    assert [memory.first_time(name, later) for name in ("a", "b", "c", "a")] == [True, True, False, False]
    memory = Memory()
    assert [memory.first_time(name, before) for name in ("a", "b", "c", "a")] == [True] * 4


@pytest.mark.parametrize(
    "shown", ["caf%C3%A9", "caf%c3%a9", "a%2Fb", "a%3Ab", "a%7Eb", "a%25b", "a%2541", "a+b", "a b"]
)
def test_an_escaped_path_is_the_same_path(issuer: Issuer, key: DpopKey, shown: str) -> None:
    """What a client escapes does not matter (RFC 3986 §6.2.2); another path is another one."""
    app = Flask("orders")
    protect = resource_server.protector(issuer=issuer.url, audience=AUDIENCE)
    app.get("/orders/<path:name>")(protect("orders:read")(lambda name: name))
    api, token, path = app.test_client(), bound(issuer, key), f"/orders/{shown}"
    fitting = key.proof(path, "GET", site=SITE, access_token=token)
    assert ask(api, token, fitting, path=path).status_code == 200
    is_refused_as(
        ask(api, token, key.proof(path + "x", "GET", site=SITE, access_token=token), path=path), "invalid_dpop_proof"
    )
