"""Client authentication: one gate, one method a request, nothing for strangers to learn."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import quote_plus

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server import config, values
from auth_server.clients import authentication, secrets
from auth_server.clients import client as clients
from auth_server.clients.client import Client
from auth_server.errors import InvalidClient, InvalidRequest
from auth_server.infra import batch, crypto
from auth_server.tokens import ending
from tests.support import asserts, factories
from tests.support.rp import basic

ENDPOINTS = ("/oauth/token", "/oauth/introspect", "/oauth/revoke")
Post = Callable[..., TestResponse]


@pytest.fixture
def service(app: Flask) -> tuple[Client, str]:
    """Return a client that takes its secret by either way."""
    return factories.service(app)


@pytest.fixture
def post(app: Flask) -> Post:
    """Return a function that posts a form to a machine endpoint."""
    machine = app.test_client(use_cookies=False)

    def send(path: str = "/oauth/token", *, headers: dict[str, str] | None = None, **fields: object) -> TestResponse:
        form = {"grant_type": "client_credentials", "token": "x", **fields}
        return machine.post(path, data=form, headers=headers, base_url=config.current().issuer)

    return send


def raw(credentials: str | bytes) -> dict[str, str]:
    """Return a Basic header over whatever is given."""
    found = credentials if isinstance(credentials, bytes) else credentials.encode()
    return {"Authorization": "Basic " + base64.b64encode(found).decode()}


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_client_proves_itself_by_header_or_body(post: Post, service: tuple[Client, str], path: str) -> None:
    """Where no method was registered either way counts, at every endpoint alike."""
    client, secret = service
    assert post(path, headers=basic(client.client_id, secret)).status_code == 200
    assert post(path, client_id=client.client_id, client_secret=secret).status_code == 200
    assert post(path, headers=basic(client.client_id, secret), client_id=client.client_id).status_code == 200


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_confidential_client_must_prove_itself(post: Post, service: tuple[Client, str], path: str) -> None:
    """Its name alone is refused at every endpoint (ASVS 10.4.10); so are nobody and somebody unknown."""
    client, secret = service
    answers = [
        post(path, client_id=client.client_id),
        post(path),
        post(path, client_id="nobody"),
        post(path, client_id="nobody", client_secret=secret),
        post(path, client_id=client.client_id, client_secret=secret[:-1]),
        post(path, client_id=client.client_id, client_secret=secret + "x"),
        post(path, client_id=client.client_id, client_secret=""),
    ]
    for answer in answers:
        asserts.is_oauth_error(answer, "invalid_client", 401)
        assert "WWW-Authenticate" not in answer.headers
    assert len({answer.data for answer in answers}) == 1


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_wrong_secret_by_header_is_challenged(post: Post, service: tuple[Client, str], path: str) -> None:
    """RFC 6749 §5.2: 401 with the scheme that was used."""
    for name, secret in ((service[0].client_id, "wrong"), ("nobody", service[1]), (service[0].client_id, "")):
        answer = post(path, headers=basic(name, secret))
        asserts.is_oauth_error(answer, "invalid_client", 401)
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="oauth", charset="UTF-8"'


@pytest.mark.parametrize("path", ENDPOINTS)
def test_one_method_a_request(post: Post, service: tuple[Client, str], path: str) -> None:
    """Two at once are refused though each were right (OAuth 2.1 §2.4), and so are two names."""
    client, secret = service
    header = basic(client.client_id, secret)
    asserts.is_oauth_error(post(path, headers=header, client_secret=secret), "invalid_request")
    both = {"client_id": client.client_id, "client_secret": secret}
    asserts.is_oauth_error(post(path, headers=header, **both), "invalid_request")
    asserts.is_oauth_error(post(path, headers=header, client_id="another"), "invalid_request")
    assertion = {"client_assertion": "a.b.c", "client_assertion_type": "urn:ietf:params:oauth:jwt-bearer"}
    asserts.is_oauth_error(post(path, headers=header, **assertion), "invalid_request")
    asserts.is_oauth_error(post(path, **both, **assertion), "invalid_request")
    asserts.is_oauth_error(post(path, client_id=client.client_id, **assertion), "invalid_client", 401)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_only_the_registered_method_counts(app: Flask, post: Post, method: str) -> None:
    """When a client names one."""
    client, secret = factories.service(app, token_endpoint_auth_method=method)
    by_header = post(headers=basic(client.client_id, secret))
    in_body = post(client_id=client.client_id, client_secret=secret)
    right, wrong = (by_header, in_body) if method == "client_secret_basic" else (in_body, by_header)
    assert right.status_code == 200
    asserts.is_oauth_error(wrong, "invalid_client", 401)


def test_a_public_client_has_no_secret_to_show(app: Flask, post: Post) -> None:
    """It names itself; a secret of its own making is refused."""
    client = factories.public_client(app)
    asserts.is_oauth_error(post(client_id=client.client_id), "unauthorized_client")
    assert post("/oauth/revoke", client_id=client.client_id).status_code == 200
    for headers in (basic(client.client_id, ""), basic(client.client_id, "x")):
        asserts.is_oauth_error(post("/oauth/revoke", headers=headers), "invalid_client", 401)
    asserts.is_oauth_error(post("/oauth/revoke", client_id=client.client_id, client_secret="x"), "invalid_client", 401)


def test_basic_credentials_may_be_form_encoded_or_raw(app: Flask, post: Post) -> None:
    """RFC 6749 §2.3.1 wants them encoded; many clients send them as they are, so both are taken."""
    name, secret = "https://app.example.org/~a", "p+l%u/s&=?:!" * 4
    digest = crypto.digest(secret)
    factories.within(
        app,
        lambda: clients.create(
            {"client_name": "Odd", "grant_types": ["client_credentials"]}, client_id=name, secret=secrets.New(digest)
        ),
    )
    for credentials in (f"{quote_plus(name)}:{quote_plus(secret)}", f"{quote_plus(name)}:{secret}"):
        assert post(headers=raw(credentials)).status_code == 200, credentials
    assert post(client_id=name, client_secret=secret).status_code == 200
    asserts.is_oauth_error(post(headers=raw(f"{quote_plus(name)}:{secret}x")), "invalid_client", 401)


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic %zz",
        "Basic !!!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
        "Basic " + base64.b64encode(b"a\x00b:c\x00d").decode(),
        "Basic " + base64.b64encode("é:ü".encode("latin-1")).decode(),
        "Basic " + base64.b64encode("日本:語".encode()).decode(),
        "Basic " + base64.b64encode(b":").decode(),
        "Basic " + base64.b64encode(b"x" * 1_000_000 + b":y").decode(),
        "Basic " + base64.b64encode(b"%zz:%zz").decode(),
        "Basic YTpi YTpi",
        "basic \u00e9",
        "Bearer x",
        "Digest username=x",
        "x",
        "",
    ],
    ids=lambda header: header[:30],
)
def test_a_malformed_header_is_no_credential(post: Post, service: tuple[Client, str], header: str) -> None:
    """401, never a crash."""
    for path in ENDPOINTS:
        asserts.is_oauth_error(post(path, headers={"Authorization": header}), "invalid_client", 401)
    assert post(headers=basic(service[0].client_id, service[1])).status_code == 200


def test_the_scheme_is_not_case_sensitive(post: Post, service: tuple[Client, str]) -> None:
    """RFC 9110 §11.1; spaces around the credentials do no harm."""
    token = basic(service[0].client_id, service[1])["Authorization"].partition(" ")[2]
    for header in (f"basic {token}", f"BASIC {token}", f"Basic  {token}", f"Basic {token} "):
        assert post(headers={"Authorization": header}).status_code == 200


def test_two_secrets_are_valid_at_once(app: Flask, post: Post, service: tuple[Client, str]) -> None:
    """Rotation with overlap: add, change over, remove (ASVS 13.3.4)."""
    client, old = service
    new = factories.within(app, lambda: clients.add_secret(client)) or ""
    for secret in (old, new):
        assert post(headers=basic(client.client_id, secret)).status_code == 200
    with app.app_context():
        first = secrets.of(client.client_id)[0]
    assert first.prefix == old[:6]
    assert factories.within(app, lambda: clients.remove_secret(client, first.id))
    asserts.is_oauth_error(post(headers=basic(client.client_id, old)), "invalid_client", 401)
    assert post(headers=basic(client.client_id, new)).status_code == 200


def test_a_use_is_noted_with_the_secret_that_was_used(app: Flask, post: Post, service: tuple[Client, str]) -> None:
    """So that an operator sees when the old one may go."""
    client, secret = service
    factories.within(app, lambda: clients.add_secret(client))
    post(headers=basic(client.client_id, secret))
    batch.flush_all()
    with app.app_context():
        first, second = secrets.of(client.client_id)
    assert first.last_used_at is not None
    assert second.last_used_at is None


def test_generated_secrets_are_long_and_stored_as_digests(app: Flask) -> None:
    """48 letters and digits; a copy of the database gives nobody a secret (RFC 6819 §5.1.4.1.3)."""
    made = [factories.service(app)[1] for _time in range(5)]
    assert len(set(made)) == 5
    assert all(len(secret) >= 43 and secret.isalnum() for secret in made)
    stored = repr(asserts.rows(app))
    assert not any(secret in stored for secret in made)
    assert crypto.digest(made[0]) in stored


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_disabled_client_is_refused_at_once_everywhere(
    app: Flask, post: Post, service: tuple[Client, str], path: str
) -> None:
    """And a deleted one (CVE-2025-64521)."""
    client, secret = service
    header = basic(client.client_id, secret)
    factories.within(app, lambda: ending.disable_client(client))
    asserts.is_oauth_error(post(path, headers=header), "invalid_client", 401)
    factories.within(app, lambda: clients.switch(client, enabled=True))
    assert post(path, headers=header).status_code == 200
    factories.within(app, lambda: ending.delete_client(client))
    asserts.is_oauth_error(post(path, headers=header), "invalid_client", 401)


def test_a_failure_is_recorded_without_what_was_sent(app: Flask, post: Post, service: tuple[Client, str]) -> None:
    """The event names a client that exists and the private cause, never a stranger's text or a secret."""
    refused = post(headers=basic(service[0].client_id, "guessed-secret"))
    post(headers=basic("<script>nobody", "guessed-secret"))
    post(client_id=service[0].client_id, client_secret="guessed-secret")
    events = asserts.events_of(app, "client.authentication_failed")
    assert [event.client_id for event in events] == [service[0].client_id, "", service[0].client_id]
    assert [event.reason for event in events] == ["wrong client secret", "unknown client", "wrong client secret"]
    assert events[0].request_id == refused.headers["X-Request-Id"]
    assert "guessed-secret" not in repr([vars(event) for event in events])
    assert "nobody" not in repr([vars(event) for event in events])


def test_the_gate_says_how_a_client_proved_itself(domain: None, app: Flask) -> None:
    """`none` proves nothing: it names a public client."""
    made, secret = clients.create({"client_name": "Web", "redirect_uris": ["https://web.example.org/cb"]})
    public, _ = clients.create({"redirect_uris": ["https://spa.example.org/cb"], "token_endpoint_auth_method": "none"})
    header = basic(made.client_id, secret or "")["Authorization"]
    assert authentication.authenticate(header, {}).method == "client_secret_basic"
    form = {"client_id": made.client_id, "client_secret": secret or ""}
    assert authentication.authenticate(None, form).method == "client_secret_post"
    assert authentication.authenticate(None, {"client_id": public.client_id}).method == "none"
    with pytest.raises(InvalidClient):
        authentication.authenticate(None, {"client_id": made.client_id})
    with pytest.raises(InvalidRequest):
        authentication.authenticate(header, form)


def test_guessing_is_limited_by_address_not_by_client(make_app: Callable[..., Flask]) -> None:
    """429 for the guesser; the client itself goes on from elsewhere (OAuth 2.1 §2.4.1)."""
    app = make_app(endpoint_rate_limit=values.Rate(5, timedelta(minutes=1)))
    client, secret = factories.service(app)
    machine = app.test_client(use_cookies=False)

    def ask(presented: str, address: str) -> TestResponse:
        return machine.post(
            "/oauth/token",
            data={"grant_type": "client_credentials"},
            headers=basic(client.client_id, presented),
            environ_base={"REMOTE_ADDR": address},
        )

    for _time in range(5):
        asserts.is_oauth_error(ask("guess", "192.0.2.1"), "invalid_client", 401)
    for presented in ("guess", secret):
        limited = ask(presented, "192.0.2.1")
        asserts.is_oauth_error(limited, "temporarily_unavailable", 429)
        assert 0 < int(limited.headers["Retry-After"]) <= 60
    for _time in range(10):
        assert ask(secret, "192.0.2.2").status_code == 200
