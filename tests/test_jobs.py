"""Work in the background: once a minute over all processes, and only on what nobody can use any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from flask import Flask
from sqlalchemy import event, select

from auth_server import jobs
from auth_server.accounts import browsers, challenges, pending, users
from auth_server.database import db
from auth_server.infra import clock, crypto, events, seen
from auth_server.keys import keyring
from auth_server.pages import recover
from auth_server.tokens.models import Family, RefreshToken
from auth_server.tokens.opaque import OpaqueAccessToken
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.database import dump
from tests.support.device import Device, allow, client_of
from tests.support.rp import RelyingParty

Travel = Callable[[timedelta], None]
TRANSIENT = (
    *("session", "family", "authorization_code", "refresh_token", "opaque_access_token", "revocation"),
    *("one_time_secret", "authorization_request", "pending_sign_in", "spent_challenge", "seen", "device_grant"),
)


def test_it_runs_once_a_minute_over_all_processes(app: Flask, in_a_while: Travel) -> None:
    """Of several that look at once, one does it; a minute later it is due again."""
    done: list[bool] = []

    def look() -> None:
        with app.app_context():
            events.begin(events.Context(actor_kind="job"))
            done.append(jobs.run_due())
            db.session.commit()

    for _minute in range(2):
        threads = [threading.Thread(target=look) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        in_a_while(timedelta(minutes=1, seconds=1))
    assert (len(done), sum(done)) == (12, 2)


def test_nothing_in_use_is_pruned(rp: RelyingParty, app: Flask) -> None:
    """What people and apps hold now is there afterwards."""
    tokens = rp.tokens()
    rp.authorize(prompt="login")
    before = dump(app, but=("limit_bucket",))
    assert factories.within(app, jobs.run_due) is True
    assert dump(app, but=("limit_bucket",)) == before
    assert rp.userinfo(tokens["access_token"]).status_code == 200
    assert rp.browser.get("/account").status_code == 200


def test_what_nobody_can_use_any_more_goes(
    rp: RelyingParty, app: Flask, ada: users.User, ben: users.User, in_a_while: Travel
) -> None:
    """Sessions, requests, links, families and their tokens, tries and revocations."""
    files = "https://files.example.org"
    factories.api(app, files, token_format="opaque", scopes={"files:read": "Read your files"})
    client, secret = factories.client(app, scope="openid files:read")
    RelyingParty(app, rp.browser, client, secret).tokens(scope="openid files:read")
    tokens = rp.tokens()
    rp.revoke(tokens["access_token"])
    rp.authorize(prompt="login")
    device = Device(app, *client_of(app)).started()
    allow(rp.browser, device.user_code)
    device.tokens()
    device.started()
    Browser(app).sign_in(password="wrong")
    factories.within(app, lambda: recover.make_link(users.find(ada.id) or ada))
    factories.within(app, lambda: pending.begin(ada.id, amr=("pwd",), remember=False, browser_digest="x"))
    factories.within(app, lambda: challenges.spend(challenges.make(challenges.SIGN_IN, "x")))
    factories.within(app, lambda: seen.first_time("jti", "x", clock.now()))
    assert all(dump(app)[name] for name in (*TRANSIENT, "limit_bucket"))
    in_a_while(timedelta(days=31))
    factories.within(app, jobs.run_due)
    left = dump(app)
    assert {name: left[name] for name in TRANSIENT} == {name: [] for name in TRANSIENT}
    assert all("jobs:" in row for row in left["limit_bucket"])
    assert left["user_account"]
    assert left["consent"]
    assert rp.tokens(email=ben.email)["access_token"]


def test_browsers_go_when_their_cookie_is_over(
    app: Flask, ada: users.User, ben: users.User, in_a_while: Travel
) -> None:
    """After 400 days unused; the last one of an account stays, so that a stranger's is still told as a new one."""

    def seen(person: users.User, *names: str) -> None:
        for name in names:
            factories.within(app, lambda n=name: browsers.note(person.id, crypto.digest(n)))

    def left(person: users.User) -> list[str]:
        return [each.digest for each in factories.within(app, lambda: browsers.listing(person.id))]

    seen(ada, "an old one", "one in use", "the last one")
    seen(ben, "his only one")
    in_a_while(timedelta(days=200))
    seen(ada, "one in use")
    in_a_while(timedelta(days=199))
    factories.within(app, jobs.run_due)
    assert len(left(ada)) == 3
    in_a_while(timedelta(days=2))
    factories.within(app, jobs.run_due)
    assert left(ada) == [crypto.digest("one in use")]
    in_a_while(timedelta(days=400))
    factories.within(app, jobs.run_due)
    assert (left(ada), left(ben)) == ([crypto.digest("one in use")], [crypto.digest("his only one")])
    Browser(app).sign_in(email="ben@example.org")
    assert [row.subject for row in asserts.events_of(app, "sign_in.new_device")] == [ben.id]
    in_a_while(timedelta(hours=25))
    factories.within(app, jobs.run_due)
    assert len(left(ben)) == 1


def test_audit_events_are_kept_as_long_as_said(app: Flask, ada: users.User, in_a_while: Travel) -> None:
    """400 days by default, then they go."""
    in_a_while(timedelta(days=399))
    factories.within(app, jobs.run_due)
    assert len(asserts.events_of(app, "user.created")) == 1
    in_a_while(timedelta(days=2))
    factories.within(app, jobs.run_due)
    assert asserts.events_of(app, "user.created") == []


def test_keys_rotate_by_themselves(app: Flask, in_a_while: Travel) -> None:
    """After KEY_ROTATION_INTERVAL; the old ones retire an hour and five minutes later."""

    def states() -> list[str]:
        return sorted({row["state"] for row in factories.within(app, keyring.listing)})

    factories.within(app, jobs.run_due)
    assert states() == ["current", "next"]
    in_a_while(timedelta(days=90, minutes=1))
    factories.within(app, jobs.run_due)
    assert states() == ["current", "next", "retiring"]
    in_a_while(timedelta(hours=1, minutes=6))
    factories.within(app, jobs.run_due)
    assert states() == ["current", "next", "retired"]
    assert {row.actor_kind for row in asserts.events_of(app, "keys.rotated")} == {"job"}


@contextmanager
def deletions(app: Flask, table: str) -> Iterator[list[int]]:
    """Collect how many rows each DELETE from a table takes."""
    sizes: list[int] = []

    def note(_connection: Any, cursor: Any, statement: str, *_more: Any) -> None:
        if statement.split()[:3] == ["DELETE", "FROM", table]:
            sizes.append(cursor.rowcount)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "after_cursor_execute", note)
    yield sizes
    event.remove(engine, "after_cursor_execute", note)


def test_much_is_pruned_in_small_transactions(app: Flask) -> None:
    """Ten thousand expired tokens go in one run, a thousand at a time: nobody waits long for the lock."""
    long_ago = clock.now() - timedelta(days=1)
    rows = [{"digest": f"d{number}", "claims": {}, "expires_at": long_ago} for number in range(10_000)]
    table = OpaqueAccessToken.__table__
    factories.within(app, lambda: db.session.execute(table.insert(), rows))
    with deletions(app, "opaque_access_token") as sizes:
        assert factories.within(app, jobs.run_due) is True
    assert sizes == [1000] * 10 + [0]
    assert asserts.rows(app)["opaque_access_token"] == []


def test_a_family_with_many_tokens_goes_bit_by_bit(app: Flask, rp: RelyingParty, in_a_while: Travel) -> None:
    """The tokens first, a thousand at a time, then the family, so that nothing is left to go with it."""
    rp.tokens()
    family_id = factories.within(app, lambda: db.session.execute(select(Family.id)).scalar_one())
    moments = {"created_at": clock.now(), "expires_at": clock.now(), "window_count": 0}
    rows = [{"digest": f"d{number}", "family_id": family_id, **moments} for number in range(2_500)]
    factories.within(app, lambda: db.session.execute(RefreshToken.__table__.insert(), rows))
    in_a_while(timedelta(days=30, hours=3))
    with deletions(app, "refresh_token") as of_tokens, deletions(app, "family") as of_families:
        assert factories.within(app, jobs.run_due) is True
    assert of_tokens == [1000, 1000, 501]
    assert of_families == [1]
    assert (asserts.rows(app)["family"], asserts.rows(app)["authorization_code"]) == ([], [])
