"""The life of signing keys: next, current, retiring, retired, revoked."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from auth_server.accounts import users
from auth_server.database import db
from auth_server.infra import events
from auth_server.keys import jose, keyring
from auth_server.keys.keyring import CURRENT, NEXT, RETIRED, RETIRING, REVOKED, SigningKey
from tests.conftest import SECRET_KEY
from tests.support import asserts, factories
from tests.support.rp import RelyingParty

WHOLE = {(alg, state): 1 for alg in jose.ALGORITHMS for state in (CURRENT, NEXT)}


def states(app: Flask, *, but: tuple[str, ...] = (RETIRING, RETIRED, REVOKED)) -> Counter[tuple[str, str]]:
    """Count keys by algorithm and state."""
    rows = factories.within(app, keyring.listing)
    return Counter((row["alg"], row["state"]) for row in rows if row["state"] not in but)


def rows(app: Flask) -> dict[str, SigningKey]:
    """Return every row by kid."""
    with app.app_context():
        found = {row.kid: row for row in db.session.scalars(select(SigningKey))}
        db.session.expunge_all()
        db.session.rollback()
        return found


def kid_of(app: Flask, state: str, alg: str = "RS256") -> str:
    found = [row.kid for row in rows(app).values() if (row.state, row.alg) == (state, alg)]
    assert len(found) == 1
    return found[0]


def key_set(app: Flask) -> list[dict[str, Any]]:
    response = app.test_client().get("/.well-known/jwks.json")
    assert response.status_code == 200
    found: list[dict[str, Any]] = response.json["keys"]
    return found


def published_kids(app: Flask) -> set[str]:
    return {key["kid"] for key in key_set(app)}


def test_there_is_a_current_and_a_next_key_for_each_algorithm(app: Flask) -> None:
    """`init` makes them once; repeating it changes nothing."""
    assert states(app) == WHOLE
    before = set(rows(app))
    factories.within(app, keyring.ensure)
    assert set(rows(app)) == before
    assert published_kids(app) == before


def test_the_key_set_is_public(app: Flask) -> None:
    """No private part is published; each key says its use and algorithm (RFC 7517 §4)."""
    for key in key_set(app):
        assert not set(key) & {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}
        assert key["use"] == "sig"
        assert key["alg"] in jose.ALGORITHMS


def test_rotation_promotes_the_next_key_and_keeps_old_tokens_good(rp: RelyingParty, app: Flask) -> None:
    """The published next key signs at once; what the old one signed verifies until it expires."""
    old, following = kid_of(app, CURRENT), kid_of(app, NEXT)
    tokens = rp.tokens()
    assert jose.header(tokens["access_token"])["kid"] == old
    factories.within(app, keyring.rotate)
    assert states(app) == WHOLE
    assert (kid_of(app, CURRENT), kid_of(app, RETIRING)) == (following, old)
    assert rp.userinfo(tokens["access_token"]).status_code == 200
    assert rp.introspect(tokens["access_token"])["active"] is True
    fresh = rp.refresh(tokens["refresh_token"]).json
    assert jose.header(fresh["access_token"])["kid"] == following
    assert {old, following, kid_of(app, NEXT)} <= published_kids(app)
    assert len(asserts.events_of(app, "keys.rotated")) == 1


def test_the_private_part_of_a_retiring_key_is_gone(app: Flask) -> None:
    """A key that may not sign any more cannot."""
    factories.within(app, keyring.rotate)
    for row in rows(app).values():
        assert (row.private_sealed is not None) is (row.state in (CURRENT, NEXT))


def test_private_parts_are_sealed(app: Flask) -> None:
    """At rest they are AEAD boxes, bound to their row and to the master secret."""
    from auth_server.infra import crypto

    sealed = {row.kid: row.private_sealed or "" for row in rows(app).values()}
    first, second, *_rest = sealed
    assert all(box.startswith("v1.") and "PRIVATE" not in box for box in sealed.values())
    assert jose.load_private(crypto.unseal("signing-key", sealed[first], first))
    with pytest.raises(crypto.CannotUnseal):
        crypto.unseal("signing-key", sealed[second], first)


def test_a_retired_key_is_no_longer_published(
    rp: RelyingParty, app: Flask, in_a_while: Callable[[timedelta], None]
) -> None:
    """When its longest token has expired it goes; until then the schedule leaves it alone."""
    old = kid_of(app, CURRENT)
    factories.within(app, keyring.rotate)
    in_a_while(timedelta(hours=1))
    factories.within(app, lambda: keyring.follow_schedule(timedelta(days=90)))
    assert rows(app)[old].state == RETIRING
    in_a_while(timedelta(minutes=6))
    factories.within(app, lambda: keyring.follow_schedule(timedelta(days=90)))
    assert rows(app)[old].state == RETIRED
    assert old not in published_kids(app)


def test_the_schedule_rotates_when_the_interval_has_passed(app: Flask, in_a_while: Callable[[timedelta], None]) -> None:
    """Not a day early, once when due, and not again at the next look."""
    old = kid_of(app, CURRENT)
    for wait, same in ((timedelta(days=89), True), (timedelta(days=2), False), (timedelta(minutes=1), False)):
        in_a_while(wait)
        factories.within(app, lambda: keyring.follow_schedule(timedelta(days=90)))
        assert (kid_of(app, CURRENT) == old) is same
    assert states(app) == WHOLE
    assert Counter(row.state for row in rows(app).values())[RETIRING] == len(jose.ALGORITHMS)


def test_the_schedule_publishes_a_key_a_day_before_it_signs(
    app: Flask, in_a_while: Callable[[timedelta], None]
) -> None:
    """A next key younger than 24 hours waits, however late the rotation is."""
    in_a_while(timedelta(days=91))
    factories.within(app, keyring.rotate)
    current = kid_of(app, CURRENT)
    in_a_while(timedelta(hours=23))
    factories.within(app, lambda: keyring.follow_schedule(timedelta(hours=1)))
    assert kid_of(app, CURRENT) == current
    in_a_while(timedelta(hours=2))
    factories.within(app, lambda: keyring.follow_schedule(timedelta(hours=1)))
    assert kid_of(app, CURRENT) != current


@pytest.mark.parametrize("state", [CURRENT, NEXT, RETIRING])
def test_a_revoked_key_is_replaced_and_refused_at_once(rp: RelyingParty, app: Flask, state: str) -> None:
    """Everything it signed is refused, its private part is gone and the set is whole again."""
    tokens = rp.tokens()
    if state == RETIRING:
        factories.within(app, keyring.rotate)
    kid = kid_of(app, state)
    good_after = jose.header(tokens["access_token"])["kid"] != kid
    assert rp.userinfo(tokens["access_token"]).status_code == 200
    assert factories.within(app, lambda: keyring.revoke(kid)) is True
    assert states(app) == WHOLE
    assert rows(app)[kid].private_sealed is None
    assert kid not in published_kids(app)
    assert (rp.userinfo(tokens["access_token"]).status_code == 200) is good_after
    assert rp.introspect(tokens["access_token"])["active"] is good_after
    assert rp.refresh(tokens["refresh_token"]).status_code == 200
    assert [row.data["kid"] for row in asserts.events_of(app, "key.revoked")] == [kid]


def test_revoking_what_is_unknown_or_revoked_changes_nothing(app: Flask) -> None:
    """`keys revoke` is refused for no live key, and not repeated."""
    kid = kid_of(app, CURRENT)
    assert factories.within(app, lambda: keyring.revoke("unknown")) is False
    assert factories.within(app, lambda: keyring.revoke(kid)) is True
    before = {row.kid: row.state for row in rows(app).values()}
    assert factories.within(app, lambda: keyring.revoke(kid)) is False
    assert {row.kid: row.state for row in rows(app).values()} == before


@pytest.mark.parametrize("act", [keyring.ensure, keyring.rotate], ids=["ensure", "rotate"])
def test_two_at_once_do_no_harm(app: Flask, act: Callable[[], None]) -> None:
    """Whatever several workers do at the same time, one key is current and one next."""

    def run() -> None:
        with app.app_context():
            events.begin(events.Context(actor_kind="job"))
            act()
            db.session.commit()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states(app) == WHOLE


def test_without_keys_nothing_is_signed(app: Flask) -> None:
    """An uninitialised database has no signer, and says so."""

    def empty() -> None:
        db.session.query(SigningKey).delete()
        keyring._cache.bump()

    factories.within(app, empty)
    with app.app_context(), pytest.raises(keyring.NoKey):
        keyring.signer("RS256")


def test_keys_survive_a_new_master_secret(make_app: Callable[..., Flask], rp: RelyingParty, ada: users.User) -> None:
    """With SECRET_KEY_PREVIOUS the sealed keys are still read, so nobody's tokens break."""
    tokens = rp.tokens()
    app = make_app(secret_key="another-0123456789-abcdefghijklmnopqrstuvwxyz", secret_key_previous=SECRET_KEY)
    again = RelyingParty(app, rp.browser, rp.client, rp.secret)
    assert again.userinfo(tokens["access_token"]).status_code == 200
    assert again.refresh(tokens["refresh_token"]).status_code == 200
