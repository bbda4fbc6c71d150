"""Clients that sign."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.support.assertion import Signer
from tests.support.signing import BY, Service


@pytest.fixture
def service(app: Flask) -> Service:
    return Service(app, BY)


@pytest.fixture
def sharing(app: Flask) -> Service:
    """Return a client that signs with its secret."""
    made = Service(app, BY, token_endpoint_auth_method="client_secret_jwt", jwks=None)
    made.by = Signer("HS256", made.secret.encode(), kid="")
    return made
