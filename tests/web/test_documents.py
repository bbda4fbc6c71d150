"""Metadata and key set are answered before Flask, and are never old."""

from __future__ import annotations

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.keys import keyring
from auth_server.oauth import discovery
from tests.support import factories


def get(app: Flask, path: str, method: str = "GET", **headers: str) -> TestResponse:
    return app.test_client().open(path, method=method, headers=headers, base_url="http://localhost:8421")


@pytest.mark.parametrize("path", discovery.PATHS)
def test_the_kept_answer_is_the_applications_own(app: Flask, path: str) -> None:
    """Same status, headers and body; only the request id is new each time."""
    first, second = get(app, path), get(app, path)
    assert second.data == first.data
    assert second.status_code == 200
    ids = [answer.headers.pop("X-Request-Id") for answer in (first, second)]
    assert ids[0] != ids[1]
    assert dict(second.headers) == dict(first.headers)
    assert second.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", discovery.PATHS)
def test_a_conditional_request_is_answered_with_304(app: Flask, path: str) -> None:
    """RFC 9110 §13.1.2, also while an answer is kept."""
    etag = get(app, path).headers["ETag"]
    assert get(app, path, **{"If-None-Match": etag}).status_code == 304
    assert get(app, path, **{"If-None-Match": '"other"'}).status_code == 200
    assert get(app, path, method="HEAD").data == b""
    assert get(app, path, method="POST").status_code == 405


def test_a_change_is_seen_by_the_next_request(app: Flask) -> None:
    """Nothing is kept beyond a change in this process: neither a new API's scope nor a revoked key."""
    path = "/.well-known/openid-configuration"
    assert "orders:read" not in get(app, path).json["scopes_supported"]
    factories.api(app)
    assert "orders:read" in get(app, path).json["scopes_supported"]
    before = {key["kid"] for key in get(app, discovery.JWKS_PATH).json["keys"]}
    assert factories.within(app, lambda: keyring.revoke(min(before)))
    assert min(before) not in {key["kid"] for key in get(app, discovery.JWKS_PATH).json["keys"]}
