"""Revocation: what a client gives back is gone at once, and nobody gives back what is not theirs."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import text

from auth_server.database import db
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.rp import RelyingParty


def is_empty_answer(rp: RelyingParty, token: str, **fields: str) -> bool:
    """200, no body, no Content-Type (RFC 7009 §2.2)."""
    response = rp.post("/oauth/revoke", {"token": token, **fields})
    assert (response.status_code, response.data) == (200, b""), response.text
    assert "Content-Type" not in response.headers
    assert response.headers["Cache-Control"] == "no-store"
    return True


def test_a_revoked_refresh_token_takes_its_family_along(rp: RelyingParty) -> None:
    """Its access tokens too (RFC 7009 §2.1), those of earlier refreshes among them."""
    first = rp.tokens()
    second = rp.refresh(first["refresh_token"]).json
    assert is_empty_answer(rp, second["refresh_token"])
    asserts.is_oauth_error(rp.refresh(second["refresh_token"]), "invalid_grant")
    for tokens in (first, second):
        assert rp.userinfo(tokens["access_token"]).status_code == 401
        assert rp.introspect(tokens["access_token"]) == {"active": False}
    assert [event.client_id for event in asserts.events_of(rp.app, "token.revoked")] == [rp.client.client_id]


def test_a_revoked_access_token_goes_alone(rp: RelyingParty) -> None:
    """The refresh token lives on, and so does every other access token."""
    first = rp.tokens()
    second = rp.refresh(first["refresh_token"]).json
    assert is_empty_answer(rp, first["access_token"])
    assert rp.userinfo(first["access_token"]).status_code == 401
    assert rp.introspect(first["access_token"]) == {"active": False}
    assert rp.userinfo(second["access_token"]).status_code == 200
    assert rp.refresh(second["refresh_token"]).status_code == 200


def test_a_rotated_token_may_still_be_given_back(rp: RelyingParty) -> None:
    """An app that signs the person out must not fail because its token is the former one."""
    first = rp.tokens()
    second = rp.refresh(first["refresh_token"]).json
    assert is_empty_answer(rp, first["refresh_token"])
    asserts.is_oauth_error(rp.refresh(second["refresh_token"]), "invalid_grant")


def test_unknown_tokens_are_answered_alike(rp: RelyingParty) -> None:
    """A second time too (RFC 7009 §2.2); nothing is written."""
    tokens = rp.tokens()
    before = asserts.rows(rp.app)
    for unknown in ("x", "a.b.c", "é", "\\", '"', "x" * 8000, tokens["refresh_token"][:-1], tokens["id_token"]):
        assert is_empty_answer(rp, unknown)
    assert asserts.rows(rp.app) == before
    for _time in range(2):
        assert is_empty_answer(rp, tokens["refresh_token"])


def test_nobody_gives_back_what_is_not_theirs(rp: RelyingParty) -> None:
    """200 for the stranger, confidential or public, and nothing happens."""
    tokens = rp.tokens()
    confidential = RelyingParty(rp.app, rp.browser, *factories.client(rp.app))
    public = RelyingParty(rp.app, rp.browser, factories.public_client(rp.app))
    before = asserts.rows(rp.app)
    for stranger in (confidential, public):
        for token in (tokens["access_token"], tokens["refresh_token"]):
            assert is_empty_answer(stranger, token)
    assert asserts.rows(rp.app) == before
    assert rp.userinfo(tokens["access_token"]).status_code == 200
    assert rp.refresh(tokens["refresh_token"]).status_code == 200


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "unheard_of", "é", '"'])
def test_hints_change_nothing(rp: RelyingParty, hint: str) -> None:
    """Wrong and unknown ones are ignored (RFC 7009 §2.1)."""
    tokens = rp.tokens()
    assert is_empty_answer(rp, tokens["access_token"], token_type_hint=hint)
    assert rp.userinfo(tokens["access_token"]).status_code == 401
    assert is_empty_answer(rp, tokens["refresh_token"], token_type_hint=hint)
    asserts.is_oauth_error(rp.refresh(tokens["refresh_token"]), "invalid_grant")


def test_the_caller_must_prove_who_it_is(rp: RelyingParty) -> None:
    """A confidential client by its secret (ASVS 10.4.10); then nothing is revoked by others in its name."""
    tokens = rp.tokens()
    for fields in ({}, {"client_id": rp.client.client_id}, {"client_id": rp.client.client_id, "client_secret": "x"}):
        answer = rp.machine.post("/oauth/revoke", data={"token": tokens["refresh_token"], **fields})
        asserts.is_oauth_error(answer, "invalid_client", 401)
    assert rp.userinfo(tokens["access_token"]).status_code == 200


def test_a_public_client_gives_back_by_naming_itself(app: Flask, browser: Browser) -> None:
    """RFC 7009 §2.1: the token was issued to it."""
    rp = RelyingParty(app, browser, factories.public_client(app))
    tokens = rp.tokens()
    assert is_empty_answer(rp, tokens["refresh_token"])
    asserts.is_oauth_error(rp.refresh(tokens["refresh_token"]), "invalid_grant")


def test_the_token_comes_in_the_body_by_post(rp: RelyingParty) -> None:
    """The form only, once."""
    asserts.is_oauth_error(rp.machine.get("/oauth/revoke", query_string={"token": "x"}), "invalid_request", 405)
    asserts.is_oauth_error(rp.post("/oauth/revoke", {"token": ""}), "invalid_request")
    asserts.is_oauth_error(rp.post("/oauth/revoke", {"token": ["a", "b"]}), "invalid_request")
    asserts.is_oauth_error(rp.post("/oauth/revoke?token=x", {"a": "b"}), "invalid_request")
    assert is_empty_answer(rp, "x")


def test_a_database_that_cannot_answer_is_no_success(rp: RelyingParty) -> None:
    """503 with `Retry-After`, nothing half done, and a later try succeeds (RFC 7009 §2.2.1, CVE-2020-15223)."""
    tokens = rp.tokens()
    rename(rp.app, "revocation", "gone")
    answer = rp.post("/oauth/revoke", {"token": tokens["refresh_token"]})
    rename(rp.app, "gone", "revocation")
    asserts.is_oauth_error(answer, "temporarily_unavailable", 503)
    assert int(answer.headers["Retry-After"]) > 0
    assert rp.userinfo(tokens["access_token"]).status_code == 200
    assert is_empty_answer(rp, tokens["refresh_token"])
    assert rp.userinfo(tokens["access_token"]).status_code == 401


def rename(app: Flask, table: str, new: str) -> None:
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME TO {new}"))
