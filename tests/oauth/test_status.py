"""GET /oauth/status/<number>: the signed list, how long it may be kept, and what is no list."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.keys import jose, keyring, status_list
from auth_server.oauth import status
from tests.support import asserts, factories
from tests.support.rp import RelyingParty, payload

LIST = "/oauth/status/0"
URI = "http://localhost:8421/oauth/status/0"


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that lets seconds pass for what is kept."""
    passed = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + passed[0])
    monkeypatch.setattr(status, "time", clock)

    def let_pass(seconds: float) -> None:
        passed[0] += seconds

    return let_pass


def get(app: Flask, path: str = LIST, method: str = "GET", **headers: str) -> TestResponse:
    return app.test_client(use_cookies=False).open(
        path, method=method, headers=headers, base_url="http://localhost:8421"
    )


def read(app: Flask, answer: TestResponse) -> status_list.StatusList:
    def verify() -> status_list.StatusList:
        return status_list.verify(
            answer.text, issuer="http://localhost:8421", uri=URI, find_key=keyring.verifier, now=datetime.now(UTC)
        )

    return factories.within(app, verify)


def index_in(token: str) -> int:
    return int(payload(token)["status"]["status_list"]["idx"])


def test_the_list_is_signed_and_says_how_long_it_is_good(make_app: Callable[..., Flask]) -> None:
    """Type, media type, `sub`, `iat`, `exp`, `ttl` and a bit for each place (§5.1, §8.1), by STATUS_LIST_TTL."""
    app = make_app(status_list_ttl=timedelta(seconds=20))
    answer = get(app)
    assert answer.status_code == 200
    assert answer.content_type == "application/statuslist+jwt"
    assert answer.headers["Cache-Control"] == "public, max-age=20"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Set-Cookie" not in answer.headers
    assert jose.header(answer.text) == {
        "alg": "RS256", "typ": "statuslist+jwt", "kid": jose.header(answer.text)["kid"],
    }  # fmt: skip
    claims = payload(answer.text)
    assert (claims["iss"], claims["sub"], claims["ttl"]) == ("http://localhost:8421", URI, 20)
    assert claims["exp"] - claims["iat"] == 60
    assert abs(claims["iat"] - time.time()) < 5
    assert claims["status_list"]["bits"] == 1
    assert read(app, answer).is_recalled(status_list.SIZE - 1) is False


def test_a_recalled_token_is_in_the_list(app: Flask, rp: RelyingParty, wait: Callable[[float], None]) -> None:
    """Half a second later at most, and no other one is."""
    revoked, kept = rp.tokens(), rp.tokens()
    before = get(app)
    assert read(app, before).is_recalled(index_in(revoked["access_token"])) is False
    rp.revoke(revoked["refresh_token"])
    wait(0.5)
    after = get(app)
    assert after.headers["ETag"] != before.headers["ETag"]
    assert read(app, after).is_recalled(index_in(revoked["access_token"])) is True
    assert read(app, after).is_recalled(index_in(kept["access_token"])) is False


def test_it_is_signed_anew_when_half_its_time_has_passed_and_not_before(
    app: Flask, rp: RelyingParty, wait: Callable[[float], None]
) -> None:
    """The same bytes until then, whatever else happens; a new one would not be fetched earlier either."""
    first = get(app)
    rp.tokens()
    wait(2)
    assert get(app).data == first.data
    time.sleep(1)  # `iat` counts seconds
    wait(3)
    second = get(app)
    assert second.data != first.data
    assert payload(second.text)["iat"] > payload(first.text)["iat"]


def test_a_conditional_request_is_answered_with_304(app: Flask) -> None:
    """RFC 9110 §13.1.2; HEAD has the headers alone, and nothing can be posted."""
    etag = get(app).headers["ETag"]
    unchanged = get(app, **{"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.data, unchanged.headers["ETag"]) == (304, b"", etag)
    assert unchanged.headers["Cache-Control"] == "public, max-age=10"
    assert get(app, **{"If-None-Match": '"other"'}).status_code == 200
    head = get(app, method="HEAD")
    assert (head.status_code, head.data, head.headers["ETag"]) == (200, b"", etag)
    assert get(app, method="POST").status_code == 405


def test_a_rotated_key_signs_the_next_list(app: Flask, wait: Callable[[float], None]) -> None:
    """As every token; the old one is good until it expires."""
    before = get(app)
    factories.within(app, keyring.rotate)
    wait(5)
    after = get(app)
    assert jose.header(after.text)["kid"] != jose.header(before.text)["kid"]
    assert read(app, after).ttl_seconds == read(app, before).ttl_seconds == 10


@pytest.mark.parametrize(
    "name",
    [
        *("", "1", "-1", "00", "+0", " 0", "0.0", "0x0", "1e3", "999", "1000", "9" * 400, "list", "..", "0;a"),
        *("%00", "%30%30", "0/", "0/0", "0%2F0", "０", "٠", "%ff", "'--"),
    ],
)
def test_what_is_no_list_is_404(app: Flask, name: str) -> None:
    """JSON, not to be kept, without a trace of what was asked; the twin is there."""
    answer = get(app, "/oauth/status/" + name)
    asserts.is_oauth_error(answer, "invalid_request", 404)
    assert get(app).status_code == 200


def test_there_is_no_list_of_the_past(app: Flask) -> None:
    """`time` asks for history, which we do not keep (§8.4): 501, and not the present instead."""
    for query in ("time=1686925000", "time=", "a=b&time=x"):
        assert get(app, f"{LIST}?{query}").status_code == 501
    assert get(app, f"{LIST}?other=1").status_code == 200


def test_the_list_is_there_before_anybody_has_a_token(app: Flask) -> None:
    """The first one is empty rather than missing, and small."""
    answer = get(app)
    assert answer.status_code == 200
    assert len(answer.data) < 1200
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.text)
