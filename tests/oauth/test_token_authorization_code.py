"""The authorization code grant."""

from __future__ import annotations

from tests.support import asserts
from tests.support.rp import RelyingParty, payload


def test_a_code_is_redeemed_for_three_tokens(rp: RelyingParty) -> None:
    """A right request is answered as RFC 6749 §5.1 and OpenID Connect Core §3.1.3.3 say."""
    tokens = rp.tokens()
    assert tokens["token_type"] == "Bearer"
    assert tokens["scope"] == "openid profile email offline_access"
    assert payload(tokens["id_token"])["nonce"] == "the-nonce"
    assert rp.userinfo(tokens["access_token"]).json["sub"] == payload(tokens["id_token"])["sub"]


def test_a_code_used_twice_ends_what_it_produced(rp: RelyingParty) -> None:
    """A replayed code is refused and its family ends (OAuth 2.1 §4.1.3)."""
    code = rp.code()
    tokens = rp.exchange(code).json
    asserts.is_oauth_error(rp.exchange(code), "invalid_grant")
    assert rp.userinfo(tokens["access_token"]).status_code == 401
    asserts.is_oauth_error(rp.refresh(tokens["refresh_token"]), "invalid_grant")
    assert len(asserts.events_of(rp.app, "code.replayed")) == 1
