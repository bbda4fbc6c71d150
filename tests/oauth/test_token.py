"""The token endpoint as such: its form, its refusals and their exact words."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.clients import client as clients
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.rp import RelyingParty, basic

FORM = "application/x-www-form-urlencoded"


def send(rp: RelyingParty, method: str = "POST", path: str = "/oauth/token", **options: Any) -> TestResponse:
    """Send any request to the endpoint with this client's right credentials."""
    headers = {**basic(rp.client.client_id, rp.secret), **options.pop("headers", {})}
    return rp.machine.open(path, method=method, headers=headers, base_url="http://localhost:8421", **options)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_the_endpoint_takes_post_only(rp: RelyingParty, method: str) -> None:
    """OAuth 2.1 §3.2: everything else is 405 in JSON, and says what is allowed."""
    answer = send(rp, method, data={"grant_type": "refresh_token"})
    asserts.is_oauth_error(answer, "invalid_request", 405)
    assert "POST" in answer.headers["Allow"]


def test_nothing_is_taken_from_the_query(rp: RelyingParty) -> None:
    """Neither parameters nor secrets (OAuth 2.1 §3.2); the body alone decides, and it may do so beside a query."""
    code = rp.code()
    fields = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": rp.client.redirect_uris[0],
        "code_verifier": rp.verifier,
    }
    nothing = send(rp, query_string=fields, content_type=FORM)
    asserts.is_oauth_error(nothing, "invalid_request")
    assert nothing.json["error_description"] == "grant_type is missing"
    part = send(rp, query_string={"code": code}, data={name: fields[name] for name in fields if name != "code"})
    asserts.is_oauth_error(part, "invalid_request")
    credentials = {"client_id": rp.client.client_id, "client_secret": rp.secret}
    machine = rp.machine.post("/oauth/token", query_string=credentials, data=fields)
    asserts.is_oauth_error(machine, "invalid_client", 401)
    elsewhere = send(rp, query_string={"grant_type": "password", "code": "x", "client_secret": "y"}, data=fields)
    assert elsewhere.status_code == 200


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/plain", "multipart/form-data; boundary=x", "application/xml", "", "form", FORM + "x"],
)
def test_only_a_form_is_a_body(rp: RelyingParty, content_type: str) -> None:
    """JSON is not parsed (OAuth 2.1 §3.2); a charset beside the type does no harm."""
    bodies = (b'{"grant_type": "client_credentials"}', b"grant_type=client_credentials", b"--x--", b"")
    for body in bodies if content_type else bodies[:-1]:  # nothing at all is a form without fields
        answer = send(rp, data=body, content_type=content_type)
        asserts.is_oauth_error(answer, "invalid_request")
        assert answer.json["error_description"] == f"the body must be {FORM}"
    form = b"grant_type=refresh_token&refresh_token=" + rp.tokens()["refresh_token"].encode()
    assert send(rp, data=form, content_type=FORM + "; charset=UTF-8").status_code == 200


@pytest.mark.parametrize(
    "grant_type",
    [
        *("password", "implicit", "token", "AUTHORIZATION_CODE", 'a"b', "é", "\\", "<b>"),
        *(f"urn:ietf:params:oauth:grant-type:{name}" for name in ("jwt-bearer", "token-exchange")),
    ],
)
def test_other_grant_types_do_not_exist(rp: RelyingParty, grant_type: str) -> None:
    """RFC 9700 §2.4; the description is fixed, it never quotes the request."""
    answer = rp.token(grant_type=grant_type, username="ada@example.org", password="x")
    asserts.is_oauth_error(answer, "unsupported_grant_type")
    assert answer.json["error_description"] == "this grant type is not supported"


def test_a_missing_grant_type_is_an_invalid_request(rp: RelyingParty) -> None:
    """Named as missing; an empty one counts as missing."""
    for answer in (rp.token(code="x"), rp.token(code="x", grant_type="")):
        asserts.is_oauth_error(answer, "invalid_request")
        assert answer.json["error_description"] == "grant_type is missing"


@pytest.mark.parametrize(
    ("grants", "used"),
    [
        (["authorization_code"], {"grant_type": "refresh_token", "refresh_token": "x"}),
        (["authorization_code", "refresh_token"], {"grant_type": "client_credentials"}),
        (["client_credentials"], {"grant_type": "authorization_code", "code": "x"}),
        ([], {"grant_type": "client_credentials"}),
    ],
)
def test_a_client_uses_its_own_grant_types_only(
    app: Flask, browser: Browser, grants: list[str], used: dict[str, str]
) -> None:
    """`unauthorized_client` (RFC 6749 §5.2), after authentication."""
    client, secret = factories.client(app, grant_types=grants)
    rp = RelyingParty(app, browser, client, secret)
    asserts.is_oauth_error(rp.token(**used), "unauthorized_client")
    asserts.is_oauth_error(rp.token(**used, headers=basic(client.client_id, "wrong")), "invalid_client", 401)
    factories.within(app, lambda: clients.change(client, {"grant_types": [used["grant_type"]]}))
    allowed = rp.token(**used)
    assert allowed.status_code == 200 or allowed.json["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "name",
    ["grant_type", "code", "redirect_uri", "code_verifier", "client_id", "client_secret", "scope", "unheard_of"],
)
def test_a_repeated_parameter_is_refused(rp: RelyingParty, name: str) -> None:
    """OAuth 2.1 §3.2.2: equal values too, and the code is not spent by it."""
    code = rp.code()
    fields: dict[str, Any] = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": rp.client.redirect_uris[0],
        "code_verifier": rp.verifier,
    }
    for values in ([fields.get(name, "x")] * 2, [fields.get(name, "x"), "other"]):
        answer = rp.token(**{**fields, name: values})
        asserts.is_oauth_error(answer, "invalid_request")
        assert answer.json["error_description"] == "a parameter is repeated"
    assert rp.exchange(code).status_code == 200


def test_unheard_of_parameters_are_ignored(rp: RelyingParty) -> None:
    """RFC 6749 §3.2; `audience` may even come twice (RFC 8693 §2.1)."""
    assert rp.exchange(rp.code(), foo="bar", state="x", audience=["a", "b"], client_info="1").status_code == 200


def test_answers_are_json_that_nobody_stores(rp: RelyingParty) -> None:
    """In success and in error (RFC 6749 §5.1), and no cookie is set or read."""
    answers = [rp.exchange(rp.code()), rp.exchange("x"), rp.token(), rp.token(headers=basic("x", "y"), grant_type="x")]
    for answer in answers:
        assert answer.content_type == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Set-Cookie" not in answer.headers
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert len(answer.headers["X-Request-Id"]) == 16


def test_every_refusal_is_recorded_with_its_cause(rp: RelyingParty) -> None:
    """One event a refusal, with the request's id and the client; never what was presented."""
    code = rp.code()
    wrong = rp.exchange(code, code_verifier="w" * 43)
    unknown = rp.exchange("secret-looking-code")
    events = asserts.events_of(rp.app, "token.refused")
    assert [event.request_id for event in events] == [wrong.headers["X-Request-Id"], unknown.headers["X-Request-Id"]]
    assert [event.reason for event in events] == ["code_verifier does not match", "unknown or foreign code"]
    assert {event.client_id for event in events} == {rp.client.client_id}
    recorded = repr([vars(event) for event in events])
    for secret in (code, "w" * 43, "secret-looking-code", rp.secret):
        assert secret not in recorded


def test_any_host_is_answered(rp: RelyingParty) -> None:
    """Machine paths and probes do not care by which name they were reached, and never use it."""
    for host in ("http://127.0.0.1:8421", "http://evil.test", "https://auth.internal:9443"):
        answer = rp.machine.post(
            "/oauth/token",
            data={"grant_type": "refresh_token", "refresh_token": rp.tokens()["refresh_token"]},
            headers={
                **basic(rp.client.client_id, rp.secret),
                "X-Forwarded-Host": "evil.test",
                "Forwarded": "host=evil.test",
            },
            base_url=host,
        )
        assert answer.status_code == 200
        assert "evil" not in answer.text
        assert rp.userinfo(answer.json["access_token"]).status_code == 200
