"""The check of JWT access tokens (RFC 9068 §4)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from auth_server.keys import access_token, jose
from auth_server.keys.jose import BadToken, Key

ISSUER = "https://id.example.org"
API = "https://orders.example.org"
NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
NATIVE = jose.generate("ES256")
JWK = jose.public_jwk(NATIVE, "ES256")
SIGNER = Key(JWK["kid"], "ES256", jose.wrap(NATIVE))
VERIFIER = jose.import_public(JWK)
MISSING = ...  # its text is the same in every process, so that the cases are


def token(typ: str = "at+jwt", **changed: Any) -> str:
    """Return a signed token with right claims but for those changed; `MISSING` takes one away."""
    claims = {
        "iss": ISSUER,
        "sub": "ada",
        "aud": API,
        "exp": SECONDS + 900,
        "iat": SECONDS,
        "jti": "1",
        "client_id": "wiki",
        "scope": "orders:read orders:write",
        **changed,
    }
    return jose.sign({name: value for name, value in claims.items() if value is not MISSING}, SIGNER, typ=typ)


def check(text: str, *, now: datetime = NOW, leeway: int = 0, audiences: list[str] | None = None) -> dict[str, Any]:
    return access_token.verify(
        text,
        issuer=ISSUER,
        audiences=[API] if audiences is None else audiences,
        find_key={VERIFIER.kid: VERIFIER}.get,
        now=now,
        leeway=timedelta(seconds=leeway),
    )


def test_a_right_token_is_accepted() -> None:
    """Ours, alive and for this API; `aud` may be a list, `typ` the long form in any case (RFC 9068 §4)."""
    claims = check(token())
    assert claims["sub"] == "ada"
    assert access_token.scopes_of(claims) == {"orders:read", "orders:write"}
    assert check(token(aud=["https://other.example.org", API]))
    assert check(token(typ="application/at+jwt"))
    assert check(token(typ="AT+JWT"))


@pytest.mark.parametrize("typ", ["JWT", "", "id+jwt", "logout+jwt", "at+jwt ", "dpop+jwt"])
def test_another_kind_of_token_is_refused(typ: str) -> None:
    """An ID token is no access token (RFC 9068 §4, RFC 8725 §3.11)."""
    with pytest.raises(BadToken):
        check(token(typ=typ))


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://evil.example"},
        {"iss": ISSUER + "/"},
        {"iss": MISSING},
        {"aud": "https://other.example.org"},
        {"aud": []},
        {"aud": MISSING},
        {"aud": {API: True}},
        {"aud": [[API]]},
        {"sub": MISSING},
        {"sub": 7},
        {"client_id": MISSING},
        {"jti": MISSING},
        {"jti": 1},
        {"exp": MISSING},
        {"exp": str(SECONDS + 900)},
        {"exp": True},
        {"exp": None},
        {"iat": MISSING},
        {"iat": str(SECONDS)},
        {"iat": False},
        {"nbf": "0"},
    ],
    ids=str,
)
def test_a_wrong_or_missing_claim_is_refused(changed: dict[str, Any]) -> None:
    """Every required claim must be there and of its type (RFC 9068 §2.2)."""
    with pytest.raises(BadToken):
        check(token(**changed))


@pytest.mark.parametrize(
    ("changed", "leeway", "good"),
    [
        ({"exp": SECONDS + 1}, 0, True),
        ({"exp": SECONDS}, 0, False),
        ({"exp": SECONDS - 59}, 60, True),
        ({"exp": SECONDS - 60}, 60, False),
        ({"iat": SECONDS + 1}, 0, True),
        ({"iat": SECONDS + 5}, 0, False),
        ({"iat": SECONDS + 60}, 60, True),
        ({"iat": SECONDS + 65}, 60, False),
        ({"nbf": SECONDS - 10}, 0, True),
        ({"nbf": SECONDS + 5}, 0, False),
        ({"nbf": SECONDS + 60}, 60, True),
        ({"nbf": SECONDS + 65}, 60, False),
        ({"exp": SECONDS + 0.5}, 0, True),
    ],
    ids=str,
)
def test_times_hold_to_the_second(changed: dict[str, Any], leeway: int, good: bool) -> None:
    """Our own tokens expire to the second; `resource_server` allows 60."""
    if good:
        assert check(token(**changed), leeway=leeway)["sub"] == "ada"
    else:
        with pytest.raises(BadToken):
            check(token(**changed), leeway=leeway)


def test_an_unknown_key_is_refused() -> None:
    """A token of a key that is not published, or without `kid`, is not ours."""
    native = jose.generate("ES256")
    stranger = Key("unknown", "ES256", jose.wrap(native))
    claims = check(token())
    with pytest.raises(BadToken):
        check(jose.sign(claims, stranger, typ="at+jwt"))
    nameless = Key("", "ES256", SIGNER.jwk)
    with pytest.raises(BadToken):
        check(jose.sign(claims, nameless, typ="at+jwt"))


def test_the_issuer_itself_reads_tokens_for_every_api() -> None:
    """Introspection accepts any audience; an API only its own."""
    find: Callable[[str], Key | None] = {VERIFIER.kid: VERIFIER}.get
    text = token(aud="https://other.example.org")
    claims = access_token.verify(text, issuer=ISSUER, audiences=None, find_key=find, now=NOW)
    assert access_token.audience_of(claims) == {"https://other.example.org"}
    with pytest.raises(BadToken):
        check(text)


@pytest.mark.parametrize("scope", [MISSING, None, 7, ["a"]], ids=["missing", "null", "number", "list"])
def test_without_a_scope_text_nothing_is_granted(scope: Any) -> None:
    """A missing or odd `scope` is no scope."""
    assert access_token.scopes_of(check(token(scope=scope))) == frozenset()
