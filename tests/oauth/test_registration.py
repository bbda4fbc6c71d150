"""Dynamic registration (RFC 7591). Tests that stand for a module of the conformance suite bear its name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from auth_server.clients import client as clients
from auth_server.clients import registration
from auth_server.values import Rate
from tests.support import assertion, asserts, factories
from tests.support.browser import Browser
from tests.support.database import dump
from tests.support.registering import REGISTER, SELF, party, post, register
from tests.support.rp import answer_of
from tests.support.site import at_once

Travel = Callable[[timedelta], None]
DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
def registry(make_app: Callable[..., Flask]) -> Flask:
    """Return an application where everybody may register, with one person."""
    app = make_app(registration="open")
    factories.person(app, roles=["administrator"])
    return app


def token_of(app: Flask, life: timedelta = registration.LIFE) -> str:
    return factories.within(app, lambda: registration.make_initial_token(life))


def count(app: Flask) -> int:
    return len(asserts.rows(app)["client"])


def test_off_there_is_no_such_endpoint(app: Flask) -> None:
    """404 for all, and nothing about it in the metadata (DC-01)."""
    asserts.is_oauth_error(register(app), "invalid_request", 404)
    asserts.is_oauth_error(register(app, token_of(app)), "invalid_request", 404)
    client, _secret = factories.client(app)
    asserts.is_oauth_error(Browser(app).get(f"{REGISTER}/{client.client_id}"), "invalid_request", 404)
    assert "registration_endpoint" not in Browser(app).get(DISCOVERY).json
    assert count(app) == 1


@pytest.mark.parametrize("setting", ["token", "open"])
def test_oidcc_discovery_names_the_endpoint(make_app: Callable[..., Flask], setting: str) -> None:
    """`registration_endpoint` is there when registration is on."""
    app = make_app(registration=setting)
    assert Browser(app).get(DISCOVERY).json["registration_endpoint"] == "http://localhost:8421/oauth/register"


def test_oidcc_server_with_a_registered_client(registry: Flask) -> None:
    """201 with all that was taken and the defaults; the client signs somebody in with what it got."""
    answer = register(registry)
    assert answer.status_code == 201
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    made = answer.json
    assert SELF.items() <= made.items()
    assert made["token_endpoint_auth_method"] == "client_secret_basic"
    assert made["grant_types"] == ["authorization_code", "refresh_token"]
    assert made["response_types"] == ["code"]
    assert made["scope"] == "openid profile email offline_access"
    assert made["client_secret_expires_at"] == 0
    assert made["client_id_issued_at"] > 0
    assert made["registration_client_uri"] == f"http://localhost:8421/oauth/register/{made['client_id']}"
    tokens = party(registry, made).tokens()
    assert tokens["scope"]
    (event,) = asserts.events_of(registry, "client.created")
    assert event.client_id == made["client_id"]


def test_secrets_are_shown_once_and_stored_as_digests(registry: Flask) -> None:
    """Neither the client's secret nor its registration access token stands in the database (DC-04, ST-01)."""
    made = register(registry).json
    stored = str(dump(registry))
    assert made["client_id"] in stored
    assert made["client_secret"] not in stored
    assert made["registration_access_token"] not in stored
    assert len(made["client_secret"]) >= 43


@pytest.mark.parametrize(
    "changed", [{"token_endpoint_auth_method": "none"}, {"token_endpoint_auth_method": "private_key_jwt"}]
)
def test_a_client_without_a_secret_of_ours_gets_none(registry: Flask, changed: dict[str, Any]) -> None:
    """Public ones, and those that sign with a key of their own."""
    keys = {"jwks": {"keys": [assertion.signer("ES256").jwk()]}} if "private" in str(changed) else {}
    made = register(registry, **changed, **keys).json
    assert made["token_endpoint_auth_method"] == changed["token_endpoint_auth_method"]
    assert not {"client_secret", "client_secret_expires_at"} & set(made)
    assert made["registration_access_token"]


def test_a_program_on_a_persons_machine_registers(registry: Flask) -> None:
    """Native, on loopback, without an auth method, with members that we do not know."""
    uris = ["http://localhost:3030/callback", "http://127.0.0.1:3030/callback"]
    unknown = {"client_name#de": "Wiki", "x": {"deep": [1, None]}, "userinfo_signed_response_alg": None}
    answer = register(registry, redirect_uris=uris, application_type="native", **unknown)
    assert answer.status_code == 201
    assert answer.json["redirect_uris"] == uris
    assert not unknown.keys() & answer.json.keys()
    assert answer.json["client_secret"]


def test_what_an_operator_decides_is_not_taken(registry: Flask) -> None:
    """Trust, lifetimes, PKCE, ids, secrets and scopes of APIs are left out, whatever is sent (DC-01, DC-03)."""
    factories.api(registry)
    wanted: dict[str, Any] = {
        **{"first_party": True, "require_pkce": False, "profile": "oidc", "minimum_acr": "aal1"},
        **{"access_token_ttl": 3600, "refresh_token_ttl": 10**7, "refresh_token_idle_ttl": 10**7},
        **{"refresh_token_grace": 60, "refresh_token_rotation": False, "id_token_claims": "minimal"},
        **{"optional_scopes": "email", "skip_consent": True, "client_id": "mine", "client_secret": "a" * 43},
        **{"workload": [{"issuer": "https://ci.example.org", "subject": "x"}]},
        **{"made_by_apply": True, "registration_access_token": "mine"},
    }
    made = register(registry, **wanted, scope="openid orders:read groups roles admin email").json
    assert made["scope"] == "openid email"
    assert not (wanted.keys() - {"client_id", "client_secret", "registration_access_token"}) & made.keys()
    assert all(made[name] != wanted[name] for name in ("client_id", "client_secret", "registration_access_token"))
    rp = party(registry, made)
    asserts.is_redirect_error(rp.authorize(scope="orders:read"), "invalid_scope")
    asserts.is_redirect_error(rp.authorize(code_challenge=None, code_challenge_method=None), "invalid_request")
    assert rp.client.require_pkce
    assert not rp.client.first_party


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"redirect_uris": ["https://a.example/#x"]}, "invalid_redirect_uri", "fragment"),
        ({"redirect_uris": ["http://a.example/"]}, "invalid_redirect_uri", "http"),
        ({"redirect_uris": ["https://*.example/"]}, "invalid_redirect_uri", "wildcards"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri", "redirect_uris"),
        ({"redirect_uris": ["https://u:p@a.example/"]}, "invalid_redirect_uri", "user name"),
        ({"redirect_uris": []}, "invalid_redirect_uri", "at least one"),
        ({"redirect_uris": None}, "invalid_redirect_uri", "at least one"),
        ({"redirect_uris": "https://a.example/"}, "invalid_redirect_uri", "list"),
        ({"redirect_uris": [1, None, {}]}, "invalid_redirect_uri", "redirect_uris"),
        ({"redirect_uris": ["https://a.example/" + "a" * 2000]}, "invalid_redirect_uri", "redirect_uris"),
        ({"redirect_uris": [f"https://a.example/{n}" for n in range(51)]}, "invalid_redirect_uri", "list"),
        ({"client_name": 7}, "invalid_client_metadata", "client_name"),
        ({"client_name": "x" * 501}, "invalid_client_metadata", "500"),
        ({"client_name": "a\u0000b"}, "invalid_client_metadata", "client_name"),
        ({"contacts": ["x" * 501]}, "invalid_client_metadata", "contacts"),
        ({"contacts": {"a": 1}}, "invalid_client_metadata", "contacts"),
        ({"logo_uri": "javascript:alert(1)"}, "invalid_redirect_uri", "logo_uri"),
        ({"grant_types": ["client_credentials"]}, "invalid_client_metadata", "authorization_code"),
        ({"grant_types": ["implicit"]}, "invalid_client_metadata", "grant_types"),
        ({"grant_types": [[]]}, "invalid_client_metadata", "grant_types"),
        ({"grant_types": "authorization_code"}, "invalid_client_metadata", "grant_types"),
        ({"response_types": ["token"]}, "invalid_client_metadata", "code"),
        ({"token_endpoint_auth_method": "tls_client_auth"}, "invalid_client_metadata", "token_endpoint_auth_method"),
        ({"token_endpoint_auth_method": []}, "invalid_client_metadata", "token_endpoint_auth_method"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata", "jwks"),
        ({"jwks": {"keys": []}, "jwks_uri": "https://a.example/jwks"}, "invalid_client_metadata", "jwks"),
        ({"jwks": {"keys": [{"kty": "EC", "d": "x"}]}}, "invalid_client_metadata", "jwks"),
        ({"jwks": []}, "invalid_client_metadata", "jwks"),
        ({"scope": ["openid"]}, "invalid_client_metadata", "scope"),
        ({"subject_type": "ephemeral"}, "invalid_client_metadata", "public"),
        ({"default_max_age": True}, "invalid_client_metadata", "default_max_age"),
        ({"software_statement": "a.b.c"}, "unapproved_software_statement", "leave it out"),
    ],
)  # fmt: skip
def test_oidcc_redirect_uri_regfrag_and_other_bad_metadata(
    registry: Flask, changed: dict[str, Any], error: str, says: str
) -> None:
    """400 that names the member and what to change; nothing is stored (RU-03, DC-07, DC-09, DC-11)."""
    answer = register(registry, **changed)
    asserts.is_oauth_error(answer, error)
    assert says in answer.json["error_description"]
    assert count(registry) == 0
    (event,) = asserts.events_of(registry, "registration.refused")
    assert event.result == "failure"


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b'"x"', b"7", b"{", b"{} {}", b"\xff\xfe", b'{"client_name": NaN}'),
        *(b'{"client_name": "a", "client_name": "b"}', b'{"client_name": "\\ud800"}', b'{"x": ' + b"9" * 5000 + b"}"),
        *(b"[" * 60_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_json_object_is_refused(registry: Flask, body: bytes) -> None:
    """Neither something else, nor something broken, nor something too deep; 400, never 500."""
    asserts.is_oauth_error(post(registry, data=body, content_type="application/json"), "invalid_request")
    assert count(registry) == 0


def test_another_type_or_too_much_is_refused(registry: Flask) -> None:
    """A form is not taken; 64 kB are too much; a parameter of the type is no matter."""
    asserts.is_oauth_error(post(registry, data=SELF), "invalid_request")
    huge = b'{"client_name": "' + b"x" * 70_000 + b'"}'
    asserts.is_oauth_error(post(registry, data=huge, content_type="application/json"), "invalid_request", 413)
    plain = b'{"redirect_uris": ["https://a.example/"]}'
    asserts.is_oauth_error(post(registry, data=plain, content_type="text/plain"), "invalid_request")
    assert post(registry, data=plain, content_type="Application/JSON; charset=utf-8").status_code == 201


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_registering_is_a_post(registry: Flask, method: str) -> None:
    """405 in JSON that names POST."""
    answer = registry.test_client().open(REGISTER, method=method)
    asserts.is_oauth_error(answer, "invalid_request", 405)
    assert answer.headers["Allow"] == "POST, OPTIONS"


def test_a_token_is_good_for_one_registration(make_app: Callable[..., Flask], in_a_while: Travel) -> None:
    """Missing, made up, used, revoked or expired: 401 with a challenge; refused metadata leave it (DC-02)."""
    app = make_app(registration="token")
    good, late, ended = token_of(app), token_of(app, timedelta(hours=1)), token_of(app, timedelta(days=1))
    assert good not in str(dump(app))
    for wrong in ("", "made-up", good + "x"):
        answer = register(app, wrong)
        asserts.is_oauth_error(answer, "invalid_token", 401)
        assert "Bearer" in answer.headers["WWW-Authenticate"]
    asserts.is_oauth_error(register(app, good, redirect_uris=[]), "invalid_redirect_uri")
    assert register(app, good).status_code == 201
    asserts.is_oauth_error(register(app, good), "invalid_token", 401)
    (row,) = [
        row
        for row in factories.within(app, registration.initial_tokens)
        if row.expires - row.created > timedelta(hours=23)
    ]
    assert factories.within(app, lambda: registration.revoke_initial_token(row.id))
    asserts.is_oauth_error(register(app, ended), "invalid_token", 401)
    in_a_while(timedelta(minutes=59))
    assert len(factories.within(app, registration.initial_tokens)) == 1
    in_a_while(timedelta(minutes=2))
    asserts.is_oauth_error(register(app, late), "invalid_token", 401)
    assert count(app) == 1


def test_a_token_of_another_kind_registers_nothing(make_app: Callable[..., Flask]) -> None:
    """Neither a client's own registration access token nor an access token is an initial access token."""
    app = make_app(registration="token")
    factories.person(app, roles=["administrator"])
    made = register(app, token_of(app)).json
    access = party(app, made).tokens()["access_token"]
    for wrong in (made["registration_access_token"], access, made["client_secret"]):
        asserts.is_oauth_error(register(app, wrong), "invalid_token", 401)
    assert register(app, token_of(app)).status_code == 201


def test_of_concurrent_registrations_with_a_token_one_succeeds(make_app: Callable[..., Flask]) -> None:
    """One token, ten times at once: one client (DC-02)."""
    app = make_app(registration="token")
    for round_ in range(1, 4):
        token = token_of(app)
        answers = at_once(*([lambda token=token: register(app, token).status_code] * 10))
        assert sorted(answers) == [201] + [401] * 9
        assert count(app) == round_


def test_registrations_are_limited_by_address(make_app: Callable[..., Flask]) -> None:
    """All requests count where everybody may register, then 429 with the time to wait (DC-08)."""
    app = make_app(registration="open", create_rate_limit=Rate(3, timedelta(minutes=1)))
    answers = [register(app) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [201] * 3 + [429]
    assert 0 < int(answers[3].headers["Retry-After"]) <= 61
    assert register(app, address="203.0.113.7").status_code == 201


def test_refused_tokens_are_limited_by_address(make_app: Callable[..., Flask]) -> None:
    """Whoever guesses tokens has to wait."""
    app = make_app(registration="token", endpoint_rate_limit=Rate(3, timedelta(minutes=1)))
    assert [register(app, "guess").status_code for _ in range(4)] == [401] * 3 + [429]
    assert register(app, token_of(app), address="203.0.113.7").status_code == 201


def test_people_are_asked_each_time(registry: Flask) -> None:
    """Nothing is remembered for an app that nobody has looked at, and the page says so each time, with every line."""
    rp = party(registry, register(registry).json)
    rp.browser.sign_in()
    for _time in range(2):
        page = rp.browser.follow(rp.authorize())
        asserts.is_page(page, "consent")
        assert "We have not checked who runs this app" in page.text
        assert "wiki.example.org" in page.text
        assert "See your e-mail address" in page.text
        allowed = rp.browser.follow(rp.browser.submit(page, page.request.full_path, decision="allow"))
        assert rp.exchange(answer_of(allowed)["code"]).status_code == 200
    asserts.is_redirect_error(rp.authorize(prompt="none"), "consent_required")
    assert "Unverified" in rp.browser.get("/account/apps").text


def test_an_operators_client_is_remembered_and_trusted(registry: Flask) -> None:
    """The twin: the same walk with a client that an operator has registered asks once."""
    client, secret = factories.client(registry)
    rp = party(registry, {"client_id": client.client_id, "client_secret": secret})
    rp.tokens()
    assert "code" in answer_of(rp.authorize(prompt="none"))
    assert "Unverified" not in rp.browser.get("/account/apps").text


def test_first_party_does_not_silence_the_page(registry: Flask) -> None:
    """Not even an operator's word: whoever registered may still change where the answer goes."""
    made = register(registry).json
    rp = party(registry, made)
    factories.within(registry, lambda: clients.change(rp.client, {"first_party": True}))
    rp.browser.sign_in()
    asserts.is_redirect_error(rp.authorize(prompt="none"), "consent_required")
