"""Secrets that sign (`client_secret_jwt`): sealed, rotated, dropped when the method changes; a digest cannot sign."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from auth_server.clients import client as clients
from auth_server.clients import secrets
from auth_server.clients.client import Client
from auth_server.errors import RefusedInput
from auth_server.infra import crypto
from tests.support import assertion, asserts, factories
from tests.support.assertion import Signer
from tests.support.signing import ISSUER, Service, is_refused

Travel = Callable[[timedelta], None]


def test_a_secret_that_signs_is_sealed(app: Flask, sharing: Service) -> None:
    """Read again for the signature, bound to its row, and in the clear nowhere; others stay digests (ST-01, ST-02)."""
    with app.app_context():
        (held,) = secrets.of(sharing.id)
    assert held.sealed
    assert secrets.read(held) == sharing.secret
    assert secrets.read(dataclasses.replace(held, id="another")) is None
    assert sharing.secret not in repr(asserts.rows(app))
    assert held.sealed not in repr(held)
    plain, _secret = factories.service(app)
    with app.app_context():
        assert [row.sealed for row in secrets.of(plain.client_id)] == [None]


def test_secrets_that_sign_rotate_with_overlap(app: Flask, sharing: Service) -> None:
    """As others do."""
    new = factories.within(app, lambda: clients.add_secret(sharing.client)) or ""
    assert sharing.ask().status_code == 200
    with app.app_context():
        first = secrets.of(sharing.id)[0]
    assert factories.within(app, lambda: clients.remove_secret(sharing.client, first.id))
    is_refused(sharing.ask())
    sharing.by = Signer("HS256", new.encode())
    assert sharing.ask().status_code == 200


def test_a_client_that_changes_its_method(app: Flask, sharing: Service) -> None:
    """What could be read is forgotten; the way back needs a new secret, because a digest cannot sign."""
    machine = app.test_client(use_cookies=False)
    form = {"grant_type": "client_credentials", "client_id": sharing.id, "client_secret": sharing.secret}

    def become(method: str) -> Client:
        return factories.within(app, lambda: clients.change(_now(app, sharing), {"token_endpoint_auth_method": method}))

    become("client_secret_post")
    assert machine.post("/oauth/token", data=form).status_code == 200
    is_refused(sharing.ask())
    with app.app_context():
        assert [row.sealed for row in secrets.of(sharing.id)] == [None]
    become("client_secret_jwt")
    is_refused(sharing.ask())
    assert sharing.reasons()[-1] == "the client has no key for it; no readable secret: add one"
    new = factories.within(app, lambda: clients.add_secret(_now(app, sharing))) or ""
    sharing.by = Signer("HS256", new.encode())
    assert sharing.ask().status_code == 200


def _now(app: Flask, service: Service) -> Client:
    found = clients.find(service.id)
    assert found
    return found


def test_a_digest_cannot_sign(app: Flask, service: Service) -> None:
    """A declared secret must be at hand; a client with keys has none at all."""
    raw = {"grant_types": ["client_credentials"], "token_endpoint_auth_method": "client_secret_jwt"}
    chosen = "chosen-" * 8
    with pytest.raises(RefusedInput, match="not its digest"):
        factories.within(app, lambda: clients.create(raw, secret=secrets.New(crypto.digest(chosen))))
    new = secrets.New(crypto.digest(chosen), chosen)
    made, shown = factories.within(app, lambda: clients.create(raw, secret=new))
    assert shown is None
    token = Signer("HS256", chosen.encode()).token(assertion.claims(made.client_id, ISSUER))
    assert service.post(token).status_code == 200
    for secret in (None, new):
        with pytest.raises(RefusedInput, match="has no secret"):
            factories.within(app, lambda secret=secret: clients.add_secret(service.client, secret))
