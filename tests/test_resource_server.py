"""`resource_server`: which tokens an API accepts, what it answers to the others, and how often it asks the issuer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask, jsonify
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from auth_server import resource_server
from auth_server.keys import jose
from auth_server.resource_server import Answer
from tests.support.issuer import AUDIENCE, INTROSPECT, JWKS, METADATA, Document, Issuer

KEYS = ("keys.access_token", "keys.jose", "keys.status_list")
CREDENTIALS = ("orders-api", "the-secret")
REALM = f'Bearer realm="{AUDIENCE}"'


@pytest.fixture(scope="module")
def natives() -> dict[str, jose.NativeKey]:
    """Return a private key for each algorithm; making one for RS256 is slow."""
    return {alg: jose.generate(alg) for alg in jose.ALGORITHMS}


@pytest.fixture
def issuer(natives: dict[str, jose.NativeKey]) -> Iterator[Issuer]:
    issuer = Issuer(natives)
    yield issuer
    issuer.stop()


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that lets seconds pass for the caches of the API."""
    passed = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + passed[0])
    monkeypatch.setattr(resource_server, "time", clock)

    def let_pass(seconds: float) -> None:
        passed[0] += seconds

    return let_pass


def an_api(issuer: Issuer, **options: Any) -> FlaskClient:
    """Return a client of a small API that is protected by `orders:read`."""
    app = Flask("orders")
    protect = resource_server.protector(issuer=issuer.url, audience=AUDIENCE, **options)

    @app.get("/orders")
    @protect("orders:read")
    def orders() -> Any:
        return jsonify(sub=resource_server.current_token["sub"])

    @app.get("/both")
    @protect("orders:read", "orders:write")
    def both() -> Any:
        return jsonify(ok=True)

    @app.get("/refund")
    @protect("orders:read", acr="aal2", max_age=300)
    def refund() -> Any:
        return jsonify(ok=True)

    @app.get("/strong")
    @protect("orders:read", acr="aal2")
    def strong() -> Any:
        return jsonify(ok=True)

    @app.get("/recent")
    @protect(max_age=300)
    def recent() -> Any:
        return jsonify(ok=True)

    @app.get("/statistics")
    @protect("orders:read")
    def statistics() -> Any:
        resource_server.require_role("administrator")
        return jsonify(ok=True)

    return app.test_client()


def get(api: FlaskClient, token: str, path: str = "/orders") -> TestResponse:
    return api.get(path, headers={"Authorization": f"Bearer {token}"})


def status(api: FlaskClient, token: str) -> int:
    return get(api, token).status_code


def is_refused(answer: TestResponse) -> None:
    """401 `invalid_token`, in the challenge and in the body (RFC 6750 §3.1)."""
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == f'{REALM}, error="invalid_token"'
    assert answer.json["error"] == "invalid_token"


def is_unavailable(answer: TestResponse) -> None:
    """503 with `Retry-After`: nothing can be said about the token."""
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json["error"] == "temporarily_unavailable"
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize("alg", jose.ALGORITHMS)
def test_a_good_token_is_let_in(issuer: Issuer, alg: str) -> None:
    """Each advertised algorithm is verified with nothing but the issuer's URL (RFC 8414, RFC 9068 §4)."""
    answer = get(an_api(issuer), issuer.token(alg))
    assert answer.status_code == 200
    assert answer.json == {"sub": "a-person"}
    assert [asked.path for asked in issuer.asked] == [METADATA, JWKS]


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def with_header(issuer: Issuer, **header: str) -> str:
    """Return a good token's claims under another header, without a signature."""
    return encoded(json.dumps({"typ": "at+jwt", **header}).encode()) + "." + issuer.token().split(".")[1]


def hs256(issuer: Issuer, secret: bytes) -> str:
    """Return a token that is signed with what everybody may read (RFC 8725 §2.1)."""
    head = with_header(issuer, alg="HS256", kid=issuer.key("RS256").kid)
    return head + "." + encoded(hmac.new(secret, head.encode(), hashlib.sha256).digest())


def pem(issuer: Issuer) -> bytes:
    return issuer.natives["RS256"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def strange(issuer: Issuer, kid: str) -> str:
    """Return a token that is right but for the key: nobody published it."""
    now = int(time.time())
    claims = {"iss": issuer.url, "sub": "a", "aud": AUDIENCE, "exp": now + 900, "iat": now, "jti": "1"}
    key = jose.Key(kid, "ES256", jose.wrap(jose.generate("ES256")))
    return jose.sign({**claims, "client_id": "wiki", "scope": "orders:read"}, key, "at+jwt")


def altered(token: str) -> str:
    head, body, signature = token.split(".")
    return f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


BAD: dict[str, Callable[[Issuer], str]] = {
    "wrong audience": lambda i: i.token(aud="https://other.example.org"),
    "no audience": lambda i: i.token(aud=None),
    "wrong issuer": lambda i: i.token(iss="https://evil.example.org"),
    "expired": lambda i: i.token(exp=int(time.time()) - 61),
    "no expiry": lambda i: i.token(exp=None),
    "from the future": lambda i: i.token(iat=int(time.time()) + 120),
    "not yet valid": lambda i: i.token(nbf=int(time.time()) + 120),
    "no jti": lambda i: i.token(jti=None),
    "an ID token": lambda i: i.token(typ="JWT"),
    "alg none": lambda i: with_header(i, alg="none") + ".",
    "alg none with a known kid": lambda i: with_header(i, alg="none", kid=i.key("ES256").kid) + ".",
    "HS256 with the public key as PEM": lambda i: hs256(i, pem(i)),
    "HS256 with the public key as JWK": lambda i: hs256(i, json.dumps(jose.public_jwk(i.natives["RS256"], "RS256")).encode()),  # noqa: E501
    "unknown kid": lambda i: strange(i, "unknown"),
    "known kid, other key": lambda i: strange(i, i.key("ES256").kid),
    "altered signature": lambda i: altered(i.token()),
    "no JWT": lambda i: "garbage",
    "two words": lambda i: i.token() + " " + i.token(),
    "too long": lambda i: "a" * 20_000,
    "not ASCII": lambda i: i.token() + "ü",
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_is_refused(issuer: Issuer, kind: str) -> None:
    """401 `invalid_token` with a challenge (RFC 6750 §3.1); the good twin is let in by the same API."""
    api = an_api(issuer)
    is_refused(get(api, BAD[kind](issuer)))
    assert status(api, issuer.token()) == 200


@pytest.mark.parametrize(("claim", "seconds"), [("exp", -50), ("iat", 50), ("nbf", 50)])
def test_clocks_may_differ_by_a_minute(issuer: Issuer, claim: str, seconds: int) -> None:
    """Issuer and API do not share one."""
    assert status(an_api(issuer), issuer.token(**{claim: int(time.time()) + seconds})) == 200


def test_a_token_may_be_for_several_apis(issuer: Issuer) -> None:
    """`aud` may be a list (RFC 7519 §4.1.3)."""
    assert status(an_api(issuer), issuer.token(aud=["https://other.example.org", AUDIENCE])) == 200


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}])
def test_a_request_without_a_token_gets_a_bare_challenge(issuer: Issuer, headers: dict[str, str]) -> None:
    """No bearer token, no error code (RFC 6750 §3.1); the scheme's case does not matter (RFC 9110 §11.1)."""
    api = an_api(issuer)
    answer = api.get("/orders", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == REALM
    assert answer.data == b""
    assert api.get("/orders", headers={"Authorization": f"bearer {issuer.token()}"}).status_code == 200


def test_a_token_counts_in_the_header_only(issuer: Issuer) -> None:
    """Never in the query, where logs keep it (OAuth 2.1 §5.1)."""
    api = an_api(issuer)
    assert api.get(f"/orders?access_token={issuer.token()}").status_code == 401
    assert status(api, issuer.token()) == 200


@pytest.mark.parametrize("scope", ["openid", "", None, "orders:readwrite", ["orders:read"]])
def test_a_missing_scope_is_named(issuer: Issuer, scope: Any) -> None:
    """403 `insufficient_scope` says what would be enough (RFC 6750 §3.1)."""
    api = an_api(issuer)
    answer = get(api, issuer.token(scope=scope))
    assert answer.status_code == 403
    assert answer.json["error"] == "insufficient_scope"
    assert answer.headers["WWW-Authenticate"] == f'{REALM}, error="insufficient_scope", scope="orders:read"'
    assert status(api, issuer.token(scope="orders:read")) == 200


def test_every_named_scope_is_demanded(issuer: Issuer) -> None:
    """`protect("a", "b")` means both, and the challenge names both."""
    api = an_api(issuer)
    answer = get(api, issuer.token(), "/both")
    assert answer.status_code == 403
    assert 'scope="orders:read orders:write"' in answer.headers["WWW-Authenticate"]
    assert get(api, issuer.token(scope="orders:write orders:read"), "/both").status_code == 200


SIGN_INS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "both, just now": ({"acr": "aal2", "auth_time": 0}, {"/refund", "/strong", "/recent"}),
    "both, five minutes ago by a clock that differs": (
        {"acr": "aal2", "auth_time": -350},
        {"/refund", "/strong", "/recent"},
    ),
    "both, too long ago": ({"acr": "aal2", "auth_time": -365}, {"/strong"}),
    "a password": ({"acr": "aal1", "auth_time": 0}, {"/recent"}),
    "a strength of somebody else's": ({"acr": "urn:example:gold", "auth_time": 0}, {"/recent"}),
    "a service": ({}, set()),
    "nonsense": ({"acr": ["aal2"], "auth_time": True}, set()),
    "more nonsense": ({"acr": {"aal2": 1}, "auth_time": "now"}, set()),
}
CHALLENGES = {
    "/refund": ', acr_values="aal2", max_age="300"',
    "/strong": ', acr_values="aal2"',
    "/recent": ', max_age="300"',
}


@pytest.mark.parametrize("way", ["locally", "by introspection"])
@pytest.mark.parametrize("kind", SIGN_INS)
def test_a_weak_or_old_sign_in_is_told_what_to_ask_for(issuer: Issuer, kind: str, way: str) -> None:
    """401 `insufficient_user_authentication` with `acr_values` and `max_age` (RFC 9470 §3), either way."""
    about, good_for = SIGN_INS[kind]
    if type(about.get("auth_time")) is int:
        about = {**about, "auth_time": int(time.time()) + about["auth_time"]}
    issuer.introspection(**about)
    options = {"introspection": CREDENTIALS} if way == "by introspection" else {}
    api, token = an_api(issuer, **options), issuer.token(**about)
    for path, demanded in CHALLENGES.items():
        answer = get(api, token, path)
        assert answer.status_code == (200 if path in good_for else 401), path
        if path not in good_for:
            challenge = f'{REALM}, error="insufficient_user_authentication"{demanded}'
            assert answer.headers["WWW-Authenticate"] == challenge
            assert answer.json["error"] == "insufficient_user_authentication"
    assert status(api, token) == 200


def test_a_missing_scope_comes_before_a_weak_sign_in(issuer: Issuer) -> None:
    """Nobody signs in again for what the app may not ask anyway; a token that is no good is `invalid_token`."""
    answer = get(an_api(issuer), issuer.token(scope="openid", acr="aal1"), "/strong")
    assert answer.status_code == 403
    is_refused(get(an_api(issuer), "nonsense", "/strong"))


@pytest.mark.parametrize("roles", [None, [], ["auditor"], "administrators", {"administrator": True}])
def test_a_missing_role_is_refused(issuer: Issuer, roles: Any) -> None:
    """The scope lets the app ask; the role says whether the person may. No other token would help: no challenge."""
    api = an_api(issuer)
    answer = get(api, issuer.token(roles=roles), "/statistics")
    assert answer.status_code == 403
    assert answer.json["error"] == "access_denied"
    assert "WWW-Authenticate" not in answer.headers
    assert get(api, issuer.token(roles=["auditor", "administrator"]), "/statistics").status_code == 200


@pytest.mark.parametrize(
    ("cache_control", "seconds"), [("public, max-age=900", 900), ("max-age=5", 60), ("", 60), ("max-age=86400", 3600)]
)
def test_keys_are_kept_as_long_as_the_issuer_says(
    issuer: Issuer, wait: Callable[[float], None], cache_control: str, seconds: int
) -> None:
    """Within a minute and an hour (RFC 9111 §5.2.2.1): then a revoked key is found to be gone."""
    issuer.publish(cache_control)
    api, token = an_api(issuer), issuer.token()
    assert [status(api, token) for _ in range(3)] == [200] * 3
    issuer.replace_key()
    issuer.publish(cache_control)
    wait(seconds - 5)
    assert status(api, token) == 200
    assert issuer.count(JWKS) == 1
    wait(10)
    is_refused(get(api, token))
    assert issuer.count(JWKS) == 2
    assert status(api, issuer.token()) == 200


def test_a_rotation_is_followed_without_a_restart(issuer: Issuer, wait: Callable[[float], None]) -> None:
    """An unknown `kid` makes the API look again."""
    api = an_api(issuer)
    assert status(api, issuer.token()) == 200
    issuer.replace_key()
    issuer.publish()
    wait(10)
    assert status(api, issuer.token()) == 200
    assert issuer.count(JWKS) == 2


def test_unknown_kids_do_not_make_the_api_a_hammer(issuer: Issuer, wait: Callable[[float], None]) -> None:
    """One look per ten seconds, whatever strangers send."""
    api = an_api(issuer)
    for _ in range(5):
        is_refused(get(api, strange(issuer, "unknown")))
    assert issuer.count(JWKS) == 1
    wait(10)
    for _ in range(5):
        is_refused(get(api, strange(issuer, "unknown")))
    assert issuer.count(JWKS) == 2
    assert status(api, issuer.token()) == 200


def test_requests_at_once_fetch_once(issuer: Issuer) -> None:
    """A cold start under load asks the issuer one time."""
    app, token = an_api(issuer).application, issuer.token()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: status(app.test_client(), token), range(16)))
    assert found == [200] * 16
    assert issuer.count(JWKS) == 1


BROKEN: dict[str, Callable[[Issuer], None]] = {
    "nobody listens": lambda i: i.stop(),
    "metadata missing": lambda i: i.documents.update({METADATA: Document(404)}),
    "metadata are no JSON": lambda i: i.documents.update({METADATA: Document(body=b"<html>")}),
    "metadata are a list": lambda i: i.documents.update({METADATA: Document.of([])}),
    "metadata name another issuer": lambda i: i.documents.update(
        {METADATA: Document.of({**i.metadata, "issuer": "https://evil.example.org"})}
    ),
    "metadata name no key set": lambda i: i.documents.update({METADATA: Document.of({"issuer": i.url})}),
    "key set fails": lambda i: i.documents.update({JWKS: Document(500)}),
    "key set moved": lambda i: i.documents.update({JWKS: Document(302, {"Location": "/elsewhere"})}),
    "key set is no UTF-8": lambda i: i.documents.update({JWKS: Document(body=b"\xff")}),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_an_issuer_that_is_down_is_a_503(issuer: Issuer, kind: str) -> None:
    """Without keys nothing can be said: neither yes nor 401, and never a crash. The twin's issuer answers."""
    assert status(an_api(issuer), issuer.token()) == 200
    BROKEN[kind](issuer)
    is_unavailable(get(an_api(issuer), issuer.token()))


def test_an_issuer_is_asked_again_soon_but_not_by_every_request(issuer: Issuer, wait: Callable[[float], None]) -> None:
    """An outage ends by itself, and does not pile up requests that wait for a timeout."""
    good = issuer.documents[JWKS]
    issuer.documents[JWKS] = Document(500)
    api = an_api(issuer)
    for _ in range(5):
        is_unavailable(get(api, issuer.token()))
    assert issuer.count(JWKS) == 1
    issuer.documents[JWKS] = good
    wait(1)
    assert status(api, issuer.token()) == 200


def test_known_keys_outlast_an_outage(issuer: Issuer, wait: Callable[[float], None]) -> None:
    """As long as the issuer let them be kept; about an unknown `kid` nothing can be said."""
    api = an_api(issuer)
    assert status(api, issuer.token()) == 200
    issuer.stop()
    wait(10)
    is_unavailable(get(api, strange(issuer, "unknown")))
    assert status(api, issuer.token()) == 200
    wait(900)
    is_unavailable(get(api, issuer.token()))


@pytest.mark.parametrize("more", [{"kty": "oct", "kid": "s", "alg": "HS256", "k": "AAAA"}, {}, None, "key", 1])
def test_keys_that_are_not_for_us_are_passed_over(issuer: Issuer, more: Any) -> None:
    """A key set may hold kinds that we do not know (RFC 7517 §5)."""
    keys = json.loads(issuer.documents[JWKS].body)["keys"]
    issuer.documents[JWKS] = Document.of({"keys": [more, *keys]})
    assert status(an_api(issuer), issuer.token()) == 200


def test_introspection_asks_about_every_token(issuer: Issuer) -> None:
    """A revocation shows at the next request (RFC 7662 §2); the API authenticates by Basic."""
    api = an_api(issuer, introspection=CREDENTIALS)
    issuer.introspection()
    assert get(api, "opaque-+/token==").json == {"sub": "a-person"}
    assert issuer.asked[-1].form == {"token": "opaque-+/token=="}
    assert issuer.asked[-1].authorization == "Basic " + base64.b64encode(b"orders-api:the-secret").decode()
    issuer.introspection(active=False)
    is_refused(get(api, "opaque-+/token=="))
    assert issuer.count(INTROSPECT) == 2


def test_credentials_are_form_encoded(issuer: Issuer) -> None:
    """Colons and other signs survive the Basic header (RFC 6749 §2.3.1)."""
    issuer.introspection()
    assert status(an_api(issuer, introspection=("a:b", "c d%ü")), "token") == 200
    assert issuer.asked[-1].authorization == "Basic " + base64.b64encode(b"a%3Ab:c+d%25%C3%BC").decode()


@pytest.mark.parametrize(
    "changed",
    [
        {"active": "true"}, {"active": None}, {"aud": "https://other.example.org"}, {"aud": None}, {"iss": None},
        {"iss": "https://evil.example.org"}, {"token_type": "refresh_token"}, {"token_type": None},
    ],
)  # fmt: skip
def test_an_introspection_that_is_not_about_a_token_for_us_is_a_no(issuer: Issuer, changed: dict[str, Any]) -> None:
    """`active` must be true, and audience, issuer and kind must fit."""
    api = an_api(issuer, introspection=CREDENTIALS)
    issuer.introspection(**changed)
    is_refused(get(api, "token"))
    issuer.introspection()
    assert status(api, "token") == 200


@pytest.mark.parametrize("token", ["a b", "a" * 20_000, "tökén", '"', "=a"])
def test_what_cannot_be_a_token_is_not_sent_on(issuer: Issuer, token: str) -> None:
    """RFC 6750 §2.1 says which signs a token has."""
    api = an_api(issuer, introspection=CREDENTIALS)
    issuer.introspection()
    is_refused(get(api, token))
    assert issuer.count(INTROSPECT) == 0
    assert status(api, "a.b_c~d") == 200


def test_introspection_demands_scope_and_role_too(issuer: Issuer) -> None:
    """Both kinds of check give the same answers."""
    api = an_api(issuer, introspection=CREDENTIALS)
    issuer.introspection(scope="openid")
    assert 'error="insufficient_scope"' in get(api, "token").headers["WWW-Authenticate"]
    issuer.introspection()
    assert get(api, "token", "/statistics").status_code == 403
    issuer.introspection(roles=["administrator"])
    assert get(api, "token", "/statistics").status_code == 200


@pytest.mark.parametrize("broken", [Document(401), Document(500), Document(body=b"no JSON"), Document.of(True)])
def test_an_introspection_that_fails_is_a_503(issuer: Issuer, broken: Document) -> None:
    """Wrong credentials of the API are not the client's fault either."""
    api = an_api(issuer, introspection=CREDENTIALS)
    issuer.documents[INTROSPECT] = broken
    is_unavailable(get(api, "token"))
    issuer.introspection()
    assert status(api, "token") == 200


def test_an_introspecting_api_whose_issuer_is_gone_answers_503(issuer: Issuer) -> None:
    """Also after it had answered."""
    api = an_api(issuer, introspection=CREDENTIALS)
    issuer.introspection()
    assert status(api, "token") == 200
    issuer.stop()
    is_unavailable(get(api, "token"))


def test_fetching_can_be_handed_in(issuer: Issuer) -> None:
    """For those who need a proxy, a private authority or another library."""
    fetched = []

    def fetch(url: str, headers: Any, body: bytes | None) -> Answer:
        fetched.append(url.removeprefix(issuer.url))
        return Answer(200, {}, issuer.documents[fetched[-1]].body)

    assert status(an_api(issuer, fetch=fetch), issuer.token()) == 200
    assert fetched == [METADATA, JWKS]
    assert issuer.asked == []


def test_importing_it_brings_nothing_of_the_server_along() -> None:
    """An API that only checks tokens needs no database and no settings; httpx2 comes with the first fetch."""
    program = "import sys, auth_server.resource_server; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    ours = {name for name in loaded if name.startswith("auth_server.")}
    parts = ("resource_server", "resource_status", "errors", "keys", *KEYS)
    assert ours == {f"auth_server.{part}" for part in parts}
    assert not loaded & {"sqlalchemy", "alembic", "httpx2", "granian", "flask_login", "flask_wtf"}
