"""The check of opaque access tokens in one statement, on both databases, with every kind of revocation there is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from auth_server.tokens import ending
from tests.support import factories
from tests.support.rp import RelyingParty, basic

FILES = "https://files.example.org"
TO_THE_NEXT_SECOND = timedelta(seconds=2)


@pytest.fixture
def files(app: Flask, rp: RelyingParty) -> RelyingParty:
    """Return an app whose access tokens are opaque."""
    factories.api(app, FILES, token_format="opaque", scopes={"files:read": "Read your files"})
    return RelyingParty(app, rp.browser, *factories.client(app, scope="openid offline_access files:read"))


def is_alive(rp: RelyingParty, token: str) -> bool:
    status = rp.userinfo(token).status_code
    assert status in (200, 401)
    assert rp.introspect(token)["active"] is (status == 200)
    return status == 200


@pytest.mark.parametrize("of_everybody", [False, True])
def test_a_sweeping_revocation_spares_what_is_issued_afterwards(
    app: Flask, files: RelyingParty, in_a_while: Callable[[timedelta], None], *, of_everybody: bool
) -> None:
    """A client's tokens, or all: older ones are dead, newer ones live while the entry lasts."""
    end = ending.end_all_tokens if of_everybody else lambda: ending.end_client_tokens(files.client.client_id, "test")
    old = files.tokens(scope="openid files:read")["access_token"]
    assert is_alive(files, old)
    factories.within(app, end)
    in_a_while(TO_THE_NEXT_SECOND)
    new = files.tokens(scope="openid files:read")["access_token"]
    assert (is_alive(files, old), is_alive(files, new)) == (False, True)


def test_a_services_opaque_token_ends_with_its_client(
    app: Flask, files: RelyingParty, in_a_while: Callable[[timedelta], None]
) -> None:
    """It has no family and no person: the sweeping entry alone ends it."""
    client, secret = factories.service(app, scope="files:read")
    machine = app.test_client(use_cookies=False)

    def issue() -> str:
        fields = {"grant_type": "client_credentials", "scope": "files:read"}
        answer = machine.post("/oauth/token", data=fields, headers=basic(client.client_id, secret))
        return str(answer.json["access_token"])

    def is_active(token: str) -> bool:
        answer = machine.post("/oauth/introspect", data={"token": token}, headers=basic(client.client_id, secret))
        assert answer.status_code == 200, answer.text
        return bool(answer.json["active"])

    old = issue()
    assert "." not in old
    assert is_active(old)
    factories.within(app, lambda: ending.end_client_tokens(client.client_id, "test"))
    in_a_while(TO_THE_NEXT_SECOND)
    assert (is_active(old), is_active(issue())) == (False, True)
