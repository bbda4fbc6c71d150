"""`resource_server` and tokens that are bound to a certificate (RFC 8705 §3)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import TestResponse

from auth_server import resource_server
from auth_server.resource_server import certificate_header
from tests.support.certificate import HEADER, PROXY, Holder, certificate
from tests.support.dpop import DpopKey
from tests.support.issuer import AUDIENCE, Issuer
from tests.support.protected import CREDENTIALS, an_api, status

PATH = "/orders"
BEHIND: dict[str, Any] = {"certificate": certificate_header(HEADER, PROXY)}


@pytest.fixture(scope="module")
def mine() -> Holder:
    return certificate()


def bound(issuer: Issuer, holder: Holder) -> str:
    return issuer.token(cnf={"x5t#S256": holder.thumbprint})


def ask(api: FlaskClient, token: str, told: str = "", address: str = PROXY, **more: str) -> TestResponse:
    headers = {"Authorization": f"Bearer {token}", HEADER: told, **more}
    return api.get(PATH, headers=headers, environ_base={"REMOTE_ADDR": address})


def is_refused(answer: TestResponse) -> None:
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_token")
    assert answer.headers["WWW-Authenticate"] == f'Bearer realm="{AUDIENCE}", error="invalid_token"'


def test_a_bound_token_comes_with_its_certificate(issuer: Issuer, mine: Holder) -> None:
    """Stolen, it is worth nothing: without the certificate, with another one, even of the same key, or expired."""
    api, token = an_api(issuer, **BEHIND), bound(issuer, mine)
    for told in (mine.escaped, mine.bare, f":{mine.bare}:"):
        assert ask(api, token, told).json == {"sub": "a-person"}
    others = (certificate(), certificate(key=mine.key))
    for wrong in ("", "x", f"{mine.bare},{mine.bare}", *(other.escaped for other in others)):
        is_refused(ask(api, token, wrong))
    old = certificate(begins=timedelta(days=-9), life=timedelta(days=8))
    is_refused(ask(api, bound(issuer, old), old.escaped))


def test_only_the_proxy_is_believed(issuer: Issuer, mine: Holder) -> None:
    """A stranger's header is none, whatever it says of whom it speaks for."""
    api, token = an_api(issuer, **BEHIND), bound(issuer, mine)
    for address in ("203.0.113.7", "127.0.0.2", "", "x"):
        is_refused(ask(api, token, mine.escaped, address, **{"X-Forwarded-For": PROXY}))
    assert ask(api, token, mine.escaped).status_code == 200


def test_behind_proxy_fix_the_peer_counts(issuer: Issuer, mine: Holder) -> None:
    """Not whom the proxy says it speaks for: that may be the proxy's own address, sent by a stranger."""
    app = Flask("orders")
    protect = resource_server.protector(issuer=issuer.url, audience=AUDIENCE, **BEHIND)
    app.get(PATH)(protect("orders:read")(lambda: "ok"))
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    token = bound(issuer, mine)
    forwarded = {"X-Forwarded-For": "203.0.113.7"}
    assert ask(app.test_client(), token, mine.escaped, PROXY, **forwarded).status_code == 200
    is_refused(ask(app.test_client(), token, mine.escaped, "203.0.113.7", **{"X-Forwarded-For": PROXY}))


def test_an_api_that_sees_no_certificates_takes_no_such_token(issuer: Issuer, mine: Holder) -> None:
    """Rather than as a bearer token; plain tokens go through, with a certificate or without."""
    is_refused(ask(an_api(issuer), bound(issuer, mine), mine.escaped))
    assert status(an_api(issuer), issuer.token()) == 200
    assert ask(an_api(issuer, **BEHIND), issuer.token(), mine.escaped).status_code == 200


def test_the_two_ways_of_binding_are_not_mixed_up(issuer: Issuer, mine: Holder) -> None:
    """The thumbprint of one is none of the other; a token that is bound in both is refused."""
    api, key = an_api(issuer, **BEHIND), DpopKey()
    for cnf in ({"jkt": mine.thumbprint}, {"x5t#S256": mine.thumbprint, "jkt": key.jkt}, {"x5t": mine.thumbprint}):
        assert ask(api, issuer.token(cnf=cnf), mine.escaped).status_code == 401
    token = issuer.token(cnf={"x5t#S256": key.jkt})
    proof = key.proof(PATH, "GET", site="http://localhost", access_token=token)
    headers = {"Authorization": f"DPoP {token}", "DPoP": proof, HEADER: mine.escaped}
    assert api.get(PATH, headers=headers, environ_base={"REMOTE_ADDR": PROXY}).status_code == 401


def test_an_introspected_token_is_checked_alike(issuer: Issuer, mine: Holder) -> None:
    """What it is bound to is in the issuer's answer (RFC 8705 §3.2)."""
    api = an_api(issuer, introspection=CREDENTIALS, **BEHIND)
    issuer.introspection(cnf={"x5t#S256": mine.thumbprint})
    assert ask(api, "opaque", mine.escaped).status_code == 200
    is_refused(ask(api, "opaque"))


@pytest.mark.parametrize("arguments", [(HEADER,), ("Cert", PROXY), ("Client_Cert", PROXY), (HEADER, "localhost")])
def test_a_header_needs_a_name_and_its_senders(arguments: tuple[str, ...]) -> None:
    """Said when the API starts, not when a stranger comes."""
    with pytest.raises(ValueError):
        certificate_header(*arguments)
    certificate_header("Client-Cert", PROXY)
