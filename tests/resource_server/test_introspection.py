"""An API that asks the issuer about every token."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.support.issuer import INTROSPECT, Document, Issuer
from tests.support.protected import CREDENTIALS, an_api, get, is_refused, is_unavailable, status


def test_introspection_asks_about_every_token(issuer: Issuer) -> None:
    """A revocation shows at the next request (RFC 7662 §2); the API authenticates by Basic."""
    api = an_api(issuer, introspection=CREDENTIALS)
    issuer.introspection()
    assert get(api, "opaque-+/token==").json == {"sub": "a-person"}
    assert issuer.asked[-1].form == {"token": "opaque-+/token=="}
    assert issuer.asked[-1].authorization == "Basic " + base64.b64encode(b"orders-api:the-secret").decode()
    issuer.introspection(active=False)
    is_refused(get(api, "opaque-+/token=="))
    assert issuer.count(INTROSPECT) == 2


def test_credentials_are_form_encoded(issuer: Issuer) -> None:
    """Colons and other signs survive the Basic header (RFC 6749 §2.3.1)."""
    issuer.introspection()
    assert status(an_api(issuer, introspection=("a:b", "c d%ü")), "token") == 200
    assert issuer.asked[-1].authorization == "Basic " + base64.b64encode(b"a%3Ab:c+d%25%C3%BC").decode()


@pytest.mark.parametrize(
    "changed",
    [
        {"active": "true"}, {"active": None}, {"aud": "https://other.example.org"}, {"aud": None}, {"iss": None},
        {"iss": "https://evil.example.org"}, {"token_type": "refresh_token"}, {"token_type": None},
    ],
)  # fmt: skip
def test_an_introspection_that_is_not_about_a_token_for_us_is_a_no(issuer: Issuer, changed: dict[str, Any]) -> None:
    """`active` must be true, and audience, issuer and kind must fit."""
    api = an_api(issuer, introspection=CREDENTIALS)
    issuer.introspection(**changed)
    is_refused(get(api, "token"))
    issuer.introspection()
    assert status(api, "token") == 200


@pytest.mark.parametrize("token", ["a b", "a" * 20_000, "tökén", '"', "=a"])
def test_what_cannot_be_a_token_is_not_sent_on(issuer: Issuer, token: str) -> None:
    """RFC 6750 §2.1 says which signs a token has."""
    api = an_api(issuer, introspection=CREDENTIALS)
    issuer.introspection()
    is_refused(get(api, token))
    assert issuer.count(INTROSPECT) == 0
    assert status(api, "a.b_c~d") == 200


def test_introspection_demands_scope_and_role_too(issuer: Issuer) -> None:
    """Both kinds of check give the same answers."""
    api = an_api(issuer, introspection=CREDENTIALS)
    issuer.introspection(scope="openid")
    assert 'error="insufficient_scope"' in get(api, "token").headers["WWW-Authenticate"]
    issuer.introspection()
    assert get(api, "token", "/statistics").status_code == 403
    issuer.introspection(roles=["administrator"])
    assert get(api, "token", "/statistics").status_code == 200


@pytest.mark.parametrize("broken", [Document(401), Document(500), Document(body=b"no JSON"), Document.of(True)])
def test_an_introspection_that_fails_is_a_503(issuer: Issuer, broken: Document) -> None:
    """Wrong credentials of the API are not the client's fault either."""
    api = an_api(issuer, introspection=CREDENTIALS)
    issuer.documents[INTROSPECT] = broken
    is_unavailable(get(api, "token"))
    issuer.introspection()
    assert status(api, "token") == 200


def test_an_introspecting_api_whose_issuer_is_gone_answers_503(issuer: Issuer) -> None:
    """Also after it had answered."""
    api = an_api(issuer, introspection=CREDENTIALS)
    issuer.introspection()
    assert status(api, "token") == 200
    issuer.stop()
    is_unavailable(get(api, "token"))
