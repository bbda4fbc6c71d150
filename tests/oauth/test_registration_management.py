"""A self-registered client's own address (RFC 7592), and the end of those that nobody wants."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from auth_server import jobs
from auth_server.clients import client as clients
from auth_server.tokens import ending
from auth_server.values import Rate
from tests.support import asserts, factories
from tests.support.registering import SELF, party, put, register, send
from tests.support.site import at_once

Travel = Callable[[timedelta], None]


@pytest.fixture
def registry(make_app: Callable[..., Flask]) -> Flask:
    """Return an application where everybody may register, with one person."""
    app = make_app(registration="open")
    factories.person(app, roles=["administrator"])
    return app


def ids(app: Flask) -> set[str]:
    return {client.client_id for client in factories.within(app, clients.listing)}


def test_a_client_reads_what_it_is(registry: Flask) -> None:
    """200 with the same data, without what is shown once."""
    made = register(registry).json
    answer = send(registry, made)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    shown_once = {"client_secret", "client_secret_expires_at", "registration_access_token"}
    assert answer.json == {name: value for name, value in made.items() if name not in shown_once}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_token_opens_one_address(registry: Flask, method: str) -> None:
    """Another client's token, none, the client's secret, an operator's client: 401, all alike (DC-04)."""
    made, other = register(registry).json, register(registry).json
    plain, _secret = factories.client(registry)
    address = {"registration_client_uri": f"http://localhost:8421/oauth/register/{plain.client_id}"}
    nobody = {"registration_client_uri": "http://localhost:8421/oauth/register/nobody"}
    own = made["registration_access_token"]
    tries = [(made, other["registration_access_token"]), (made, "x"), (made, made["client_secret"])]
    tries += [
        (made | address, own),
        (made | nobody, own),
        (made | {"registration_client_uri": "/oauth/register/"}, own),
    ]
    answers = [send(registry, whom, method, token, json=SELF) for whom, token in tries]
    for answer in answers:
        asserts.is_oauth_error(answer, "invalid_token", 401)
        assert "Bearer" in answer.headers["WWW-Authenticate"]
    assert len({answer.data for answer in answers}) == 1
    assert send(registry, made).status_code == 200
    assert len(ids(registry)) == 3


def test_guesses_at_tokens_are_limited(make_app: Callable[..., Flask]) -> None:
    """So many refused ones per address."""
    app = make_app(registration="open", endpoint_rate_limit=Rate(3, timedelta(minutes=1)))
    made = register(app).json
    assert [send(app, made, token="guess").status_code for _ in range(4)] == [401] * 3 + [429]


def test_a_client_deletes_itself(registry: Flask) -> None:
    """204; its token is dead, and what people had given it has ended (DC-10)."""
    made, other = register(registry).json, register(registry).json
    rp = party(registry, made)
    tokens = rp.tokens()
    assert rp.userinfo(tokens["access_token"]).status_code == 200
    answer = send(registry, made, "DELETE")
    assert (answer.status_code, answer.data) == (204, b"")
    for method in ("GET", "PUT", "DELETE"):
        asserts.is_oauth_error(send(registry, made, method, json=SELF), "invalid_token", 401)
    assert rp.userinfo(tokens["access_token"]).status_code == 401
    asserts.is_oauth_error(rp.refresh(tokens["refresh_token"]), "invalid_client", 401)
    assert ids(registry) == {other["client_id"]}
    assert send(registry, other).status_code == 200


def test_a_disabled_client_does_not_manage_itself(registry: Flask) -> None:
    """Whom an operator has switched off neither reads, changes nor deletes; switched on again, it does."""
    made = register(registry).json
    client = party(registry, made).client
    factories.within(registry, lambda: ending.disable_client(client))
    for method in ("GET", "PUT", "DELETE"):
        asserts.is_oauth_error(send(registry, made, method, json=SELF), "invalid_token", 401)
    factories.within(registry, lambda: clients.switch(client, enabled=True))
    assert send(registry, made).status_code == 200


def test_a_put_replaces_everything_that_was_said(registry: Flask) -> None:
    """What is not sent goes or falls back to its default; secret, id and token stay (RFC 7592 §2.2, DC-05)."""
    made = register(registry, contacts=["ada@example.org"], scope="openid").json
    answer = put(registry, made, client_name="Notes", client_secret=made["client_secret"])
    assert answer.status_code == 200
    assert answer.json["client_name"] == "Notes"
    assert "contacts" not in answer.json
    assert answer.json["scope"] == "openid profile email offline_access"
    assert not {"client_secret", "registration_access_token"} & answer.json.keys()
    assert send(registry, made).json == answer.json
    assert party(registry, made).tokens()["scope"]


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"client_id": "other"}, "invalid_client_metadata", "client_id"),
        ({"client_id": None}, "invalid_client_metadata", "client_id"),
        ({"client_secret": "a"}, "invalid_client_metadata", "client_secret"),
        ({"client_secret": ["a"]}, "invalid_client_metadata", "client_secret"),
        ({"registration_access_token": "a" * 43}, "invalid_client_metadata", "registration_access_token"),
        ({"registration_client_uri": "https://a.example/"}, "invalid_client_metadata", "registration_client_uri"),
        ({"client_id_issued_at": 0}, "invalid_client_metadata", "client_id_issued_at"),
        ({"client_secret_expires_at": 0}, "invalid_client_metadata", "client_secret_expires_at"),
        ({"grant_types": ["client_credentials"]}, "invalid_client_metadata", "grant_types"),
        ({"redirect_uris": ["http://a.example/"]}, "invalid_redirect_uri", "http"),
        ({"software_statement": "a.b.c"}, "unapproved_software_statement", "leave it out"),
    ],
)
def test_a_wrong_put_changes_nothing(registry: Flask, changed: dict[str, Any], error: str, says: str) -> None:
    """400 that names the member (DC-05)."""
    made = register(registry).json
    before = send(registry, made).json
    answer = put(registry, made, **changed)
    asserts.is_oauth_error(answer, error)
    assert says in answer.json["error_description"]
    assert send(registry, made).json == before
    assert put(registry, made).status_code == 200


def test_a_put_gains_nothing_and_undoes_nothing_of_the_operator(registry: Flask) -> None:
    """An operator has narrowed and widened the client: the first cannot be undone by it, nor more be had (DC-05)."""
    factories.api(registry)
    made = register(registry).json
    client = party(registry, made).client
    decided = {"minimum_acr": "aal2", "access_token_ttl": 60, "scope": "openid orders:read"}
    factories.within(registry, lambda: clients.change(client, decided))
    wanted = {"minimum_acr": "aal1", "access_token_ttl": 3600, "first_party": True, "require_pkce": False}
    answer = put(registry, made, **wanted, scope="openid orders:read orders:write groups").json
    assert (answer["minimum_acr"], answer["access_token_ttl"]) == ("aal2", 60)
    assert answer["scope"] == "openid orders:read"
    assert not {"first_party", "require_pkce"} & answer.keys()


def test_secrets_follow_the_authentication_method(registry: Flask) -> None:
    """Public: no secret any more; confidential again: a new one; one that signs gets one that can be read."""
    made = register(registry).json
    public = put(registry, made, token_endpoint_auth_method="none").json
    assert "client_secret" not in public
    assert asserts.rows(registry)["client_secret"] == []
    again = put(registry, made).json
    assert again["client_secret"] != made["client_secret"]
    assert again["client_secret_expires_at"] == 0
    assert party(registry, made | again).tokens()["scope"]
    post = put(registry, made, token_endpoint_auth_method="client_secret_post").json
    assert "client_secret" not in post
    signing = put(registry, made, token_endpoint_auth_method="client_secret_jwt").json
    assert signing["client_secret"] != again["client_secret"]
    assert len(asserts.rows(registry)["client_secret"]) == 1


def test_what_is_put_must_be_a_json_object(registry: Flask) -> None:
    """As for registering."""
    made = register(registry).json
    for options in ({"data": b"[]", "content_type": "application/json"}, {"data": {"client_id": made["client_id"]}}):
        asserts.is_oauth_error(send(registry, made, "PUT", **options), "invalid_request")


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_other_methods_are_not_taken(registry: Flask, method: str) -> None:
    """405 that names those that are."""
    answer = send(registry, register(registry).json, method)
    asserts.is_oauth_error(answer, "invalid_request", 405)
    assert answer.headers["Allow"] == "GET, PUT, DELETE, HEAD, OPTIONS"


def test_a_browser_may_ask_for_all_methods(registry: Flask) -> None:
    """The preflight names PUT and DELETE at this address, and nowhere else."""
    made = register(registry).json
    asks = {"Origin": "https://a.example", "Access-Control-Request-Method": "DELETE"}
    allowed = {}
    for path in (made["registration_client_uri"].removeprefix("http://localhost:8421"), "/oauth/token"):
        answer = registry.test_client().options(path, headers=asks, base_url="http://localhost:8421")
        assert answer.status_code == 204
        allowed[path] = set(answer.headers["Access-Control-Allow-Methods"].split(", "))
    assert allowed.pop("/oauth/token") == {"GET", "POST", "OPTIONS"}
    assert list(allowed.values()) == [{"GET", "POST", "PUT", "DELETE", "OPTIONS"}]


def test_changes_and_an_end_at_once_leave_no_trace(registry: Flask) -> None:
    """Five changes and five ends together: 200 or 204 or 401, never 500, and afterwards there is no client."""
    for _round in range(3):
        made = register(registry).json
        acts = [
            lambda made=made: put(registry, made).status_code,
            lambda made=made: send(registry, made, "DELETE").status_code,
        ]
        answers = at_once(*(acts * 5))
        assert set(answers) <= {200, 204, 401}
        assert 204 in answers
        assert ids(registry) == set()
        assert asserts.rows(registry)["client_secret"] == []


def test_unwanted_clients_go_after_a_month(registry: Flask, in_a_while: Travel) -> None:
    """Those that nobody has allowed, or everybody has disconnected; never an operator's, never one in use (DC-08)."""
    plain, _secret = factories.client(registry)
    used, unused, left = (register(registry).json for _ in range(3))
    party(registry, used).tokens()
    rp = party(registry, left)
    rp.tokens()
    rp.browser.submit(rp.browser.get("/account/apps"), "/account/apps", app=left["client_id"], decision="disconnect")
    in_a_while(timedelta(days=29))
    factories.within(registry, jobs.run_due)
    young = register(registry).json["client_id"]
    assert ids(registry) == {plain.client_id, used["client_id"], unused["client_id"], left["client_id"], young}
    in_a_while(timedelta(days=2))
    factories.within(registry, jobs.run_due)
    assert ids(registry) == {used["client_id"], plain.client_id, young}
    asserts.is_oauth_error(send(registry, unused), "invalid_token", 401)
    ended = {event.client_id for event in asserts.events_of(registry, "client.deleted")}
    assert ended == {unused["client_id"], left["client_id"]}
