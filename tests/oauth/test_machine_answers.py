"""What every machine endpoint's answer has in common: CORS, request ids, sizes, limits, and what is never logged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.values import Rate
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.rp import RelyingParty, basic, bearer

MACHINE = (
    *("/oauth/token", "/oauth/par", "/oauth/revoke", "/oauth/introspect", "/oauth/userinfo", "/.well-known/jwks.json"),
    *("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"),
)
POSTED = ("/oauth/token", "/oauth/revoke", "/oauth/introspect")
ORIGIN = {"Origin": "https://app.example.org"}
MakeApp = Callable[..., Flask]


@pytest.fixture
def machine(app: Flask) -> Any:
    """Return a client without cookies."""
    return app.test_client(use_cookies=False)


def is_open_to_any_origin(answer: TestResponse) -> bool:
    """Readable by scripts of any origin, never with credentials."""
    exposed = answer.headers["Access-Control-Expose-Headers"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert {"WWW-Authenticate", "DPoP-Nonce", "X-Request-Id"} == set(exposed.split(", "))
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Set-Cookie" not in answer.headers
    return True


@pytest.mark.parametrize("path", MACHINE)
def test_preflights_are_answered_for_any_origin(machine: Any, path: str) -> None:
    """With the headers that apps send; no body, no cookie."""
    asked = {**ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,dpop"}
    answer = machine.options(path, headers=asked)
    assert (answer.status_code, answer.data) == (204, b"")
    assert is_open_to_any_origin(answer)
    assert {"Authorization", "Content-Type", "DPoP"} == set(answer.headers["Access-Control-Allow-Headers"].split(", "))
    assert {"GET", "POST"} <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))


@pytest.mark.parametrize("path", MACHINE)
def test_errors_can_be_read_by_scripts_too(machine: Any, path: str) -> None:
    """A browser app must see why it was refused, also by 404, 405 and 413."""
    answers = [
        machine.get(path, headers=ORIGIN),
        machine.post(path, data={"a": "b"}, headers=ORIGIN),
        machine.post(path, data=b"{}", content_type="application/json", headers=ORIGIN),
        machine.delete(path, headers=ORIGIN),
        machine.post(path, data={"a": "x" * 70_000}, headers=ORIGIN),
        machine.get(path + "?" + "x" * 20_000, headers=ORIGIN),
    ]
    assert all(is_open_to_any_origin(answer) for answer in answers)
    assert sum(answer.status_code >= 400 for answer in answers) >= 4
    assert is_open_to_any_origin(machine.get("/.well-known/nothing", headers=ORIGIN))


def test_successes_can_be_read_by_scripts(rp: RelyingParty) -> None:
    """The twin: an app in a browser gets its tokens and asks about the person."""
    tokens = rp.exchange(rp.code())
    answers = [tokens, rp.userinfo(tokens.json["access_token"]), rp.revoke("x")]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert all(is_open_to_any_origin(answer) for answer in answers)


@pytest.mark.parametrize(
    "path", ["/login", "/oauth/authorize", "/account", "/setup", "/logout", "/nothing", "/healthz"]
)
def test_pages_answer_no_other_origin(browser: Browser, path: str) -> None:
    """No page with a cookie answers CORS."""
    preflight = {**ORIGIN, "Access-Control-Request-Method": "POST"}
    for answer in (browser.get(path, headers=ORIGIN), browser._send("OPTIONS", path, headers=preflight)):
        assert not [name for name, _value in answer.headers if name.startswith("Access-Control-")]


@pytest.mark.parametrize("path", [*POSTED, "/oauth/par"])
def test_what_is_too_large_is_refused_as_json(machine: Any, path: str) -> None:
    """413 for a body beyond 64 kB, 414 for a query beyond 16 kB, quickly."""
    asserts.is_oauth_error(machine.post(path, data={"token": "x" * 70_000}), "invalid_request", 413)
    asserts.is_oauth_error(machine.post(path + "?" + "x" * 20_000, data={"token": "x"}), "invalid_request", 414)
    many = {f"f{number}": "x" for number in range(4000)}
    assert machine.post(path, data=many).status_code in (400, 401, 413)


def test_every_answer_carries_its_id_and_the_record_too(rp: RelyingParty) -> None:
    """`X-Request-Id` equals the audit record's; a client cannot choose it."""
    authorize = rp.authorize(prompt="x")
    token = rp.token(grant_type="refresh_token", refresh_token="x")
    failed = rp.token(grant_type="refresh_token", headers={**basic("x", "y"), "X-Request-Id": "chosen"})
    code = rp.walk()
    recorded = {
        "authorization.refused": authorize,
        "token.refused": token,
        "client.authentication_failed": failed,
        "code.issued": code,
    }
    for event, answer in recorded.items():
        (row,) = asserts.events_of(rp.app, event)
        assert row.request_id == answer.headers["X-Request-Id"]
        assert row.address == "127.0.0.1"
    ids = [answer.headers["X-Request-Id"] for answer in recorded.values()]
    assert len(set(ids)) == 4
    assert "chosen" not in ids
    page = rp.authorize(client_id="x")
    assert page.headers["X-Request-Id"] in page.text


@pytest.mark.parametrize("path", POSTED)
def test_refused_requests_are_limited(make_app: MakeApp, path: str) -> None:
    """429 in JSON with `Retry-After`; successes do not count, other addresses are free."""
    app = make_app(endpoint_rate_limit=Rate(3, timedelta(minutes=1)))
    client, secret = factories.service(app)
    machine = app.test_client(use_cookies=False)

    def ask(right: bool, address: str = "192.0.2.1") -> TestResponse:
        headers = basic(client.client_id, secret if right else "wrong")
        fields = {"grant_type": "client_credentials", "token": "x"}
        return machine.post(path, data=fields, headers=headers, environ_base={"REMOTE_ADDR": address})

    for _time in range(6):
        assert ask(True).status_code == 200
    for _time in range(3):
        asserts.is_oauth_error(ask(False), "invalid_client", 401)
    limited = ask(True)
    asserts.is_oauth_error(limited, "temporarily_unavailable", 429)
    assert 0 < int(limited.headers["Retry-After"]) <= 60
    assert is_open_to_any_origin(limited)
    assert ask(True, "192.0.2.2").status_code == 200
    assert ask(True, "2001:db8::1").status_code == 200


def test_the_limit_is_one_for_all_machine_endpoints(make_app: MakeApp) -> None:
    """Changing the endpoint gives no new tries; an IPv6 neighbour of the same /64 is the same address."""
    app = make_app(endpoint_rate_limit=Rate(3, timedelta(minutes=1)))
    machine = app.test_client(use_cookies=False)
    for number, path in enumerate(POSTED):
        source = {"REMOTE_ADDR": f"2001:db8::{number + 1}"}
        asserts.is_oauth_error(
            machine.post(path, data={"grant_type": "refresh_token"}, environ_base=source), "invalid_client", 401
        )
    refused = machine.get("/oauth/userinfo", headers=bearer("x"), environ_base={"REMOTE_ADDR": "2001:db8::ffff"})
    asserts.is_oauth_error(refused, "temporarily_unavailable", 429)
    free = machine.get("/oauth/userinfo", headers=bearer("x"), environ_base={"REMOTE_ADDR": "2001:db8:0:1::1"})
    asserts.is_oauth_error(free, "invalid_token", 401)
    assert machine.get("/.well-known/jwks.json", environ_base={"REMOTE_ADDR": "2001:db8::1"}).status_code == 200


def test_a_forged_forwarded_address_gives_no_new_tries(make_app: MakeApp) -> None:
    """`X-Forwarded-For` of an untrusted peer is nothing (CVE-2024-47070)."""
    app = make_app(endpoint_rate_limit=Rate(2, timedelta(minutes=1)))
    machine = app.test_client(use_cookies=False)
    statuses = []
    for number in range(4):
        headers = {**bearer("x"), "X-Forwarded-For": f"198.51.100.{number}", "X-Real-IP": f"198.51.100.{number}"}
        statuses.append(machine.get("/oauth/userinfo", headers=headers).status_code)
    assert statuses == [401, 401, 429, 429]


def test_requests_that_create_rows_are_limited(make_app: MakeApp) -> None:
    """A flood of authorization requests ends on a 429 page with `Retry-After` and leaves no rows."""
    app = make_app(create_rate_limit=Rate(5, timedelta(minutes=1)))
    factories.person(app, roles=["administrator"])
    rp = RelyingParty(app, Browser(app), *factories.client(app))
    for _time in range(5):
        assert rp.authorize().status_code == 303
    for limited in (rp.authorize(), rp.browser.post("/oauth/authorize", rp.request())):
        asserts.is_error_page(limited, "rate_limited", 429)
        assert 0 < int(limited.headers["Retry-After"]) <= 60
    assert len(asserts.rows(app)["authorization_request"]) == 5
    elsewhere = RelyingParty(app, Browser(app, "192.0.2.7"), rp.client, rp.secret)
    assert elsewhere.authorize().status_code == 303


def test_identity_headers_give_no_machine_rights(rp: RelyingParty) -> None:
    """A header that names a person or a certificate proves nothing from an untrusted peer."""
    claimed = {
        "Remote-User": rp.client.client_id,
        "X-Forwarded-User": rp.client.client_id,
        "X-Forwarded-Client-Cert": "By=x",
        "Client-Cert": ":AAAA:",
        "X-SSL-Client-Verify": "SUCCESS",
    }
    fields = {"grant_type": "client_credentials", "client_id": rp.client.client_id, "token": "x"}
    for path in (*POSTED, "/oauth/par"):
        asserts.is_oauth_error(rp.machine.post(path, data=fields, headers=claimed), "invalid_client", 401)
    assert rp.machine.get("/oauth/userinfo", headers=claimed, environ_base={"REMOTE_USER": "ada"}).status_code == 401


def test_a_session_cookie_gives_no_machine_rights(rp: RelyingParty) -> None:
    """Machine endpoints take no cookie, so there is nothing to forge."""
    rp.browser.sign_in()
    assert rp.browser.get("/account").status_code == 200
    assert rp.browser.get("/oauth/userinfo").status_code == 401
    answer = rp.browser.post("/oauth/introspect", {"token": "x"})
    asserts.is_oauth_error(answer, "invalid_client", 401)


class Everything(logging.Handler):
    """Keeps every record as text, with all that hangs on it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage() + repr(vars(record)))


@pytest.fixture
def everything(make_app: MakeApp) -> Iterator[tuple[Flask, Everything]]:
    """Return an application that logs all it can, and what it and its libraries log."""
    handler = Everything()
    talkative = [logging.getLogger(name) for name in (None, "sqlalchemy.engine", "auth_server")]
    levels = [logger.level for logger in talkative]
    for logger in talkative:
        logger.setLevel(logging.DEBUG)
    app = make_app(log_level="debug")
    listened = [logging.getLogger(), logging.getLogger("auth_server")]  # ours does not propagate
    for logger in listened:
        logger.addHandler(handler)
    yield app, handler
    for logger in listened:
        logger.removeHandler(handler)
    for logger, level in zip(talkative, levels, strict=True):
        logger.setLevel(level)


def test_no_secret_gets_into_a_log(everything: tuple[Flask, Everything]) -> None:
    """At DEBUG, through a whole life of tokens and their refusals; Authlib prints none either."""
    app, handler = everything
    factories.person(app, roles=["administrator"])
    rp = RelyingParty(app, Browser(app), *factories.client(app))
    code = rp.code(state="state-of-the-app", nonce="nonce-of-the-app")
    tokens = rp.exchange(code).json
    renewed = rp.refresh(tokens["refresh_token"]).json
    rp.userinfo(renewed["access_token"])
    rp.introspect(renewed["access_token"])
    rp.revoke(renewed["access_token"])
    rp.refresh(tokens["refresh_token"])
    rp.exchange(code, code_verifier="w" * 43)
    rp.token(grant_type="refresh_token", refresh_token="presented-by-a-stranger")
    rp.token(grant_type="client_credentials", headers=basic(rp.client.client_id, "guessed-secret"))
    logged = "\n".join(handler.lines)
    assert "token.issued" in logged
    assert "client.authentication_failed" in logged
    assert "SELECT" in logged
    kept = [rp.secret, code, rp.verifier, "w" * 43, "presented-by-a-stranger", "guessed-secret", factories.PASSWORD]
    kept += [tokens[name] for name in ("access_token", "refresh_token", "id_token")]
    kept += [renewed[name] for name in ("access_token", "refresh_token", "id_token")]
    kept += [str(rp.browser.cookie(name)) for name in ("auth_server", "auth_server_browser")]
    assert [secret[:12] for secret in kept if secret in logged] == []
    assert logging.getLogger("authlib").getEffectiveLevel() > logging.DEBUG
