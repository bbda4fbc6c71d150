"""The refresh token grant: rotation, theft, grace, time, and what is looked at again each time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from auth_server.accounts import users
from auth_server.clients import client as clients
from tests.support import asserts, factories
from tests.support.asserts import refused
from tests.support.browser import Browser
from tests.support.rp import RelyingParty, payload

Travel = Callable[[timedelta], None]
MakeApp = Callable[..., Flask]
DAY = timedelta(days=1)


def party(app: Flask, **metadata: Any) -> RelyingParty:
    """Return an app with a browser on an application made by the test itself."""
    with app.app_context():
        known = users.find_by_email("ada@example.org")
    if known is None:
        factories.person(app, "ada@example.org", "Ada Lovelace", roles=["administrator"])
    return RelyingParty(app, Browser(app), *factories.client(app, **metadata))


def test_every_use_gives_a_new_token(rp: RelyingParty) -> None:
    """Rotation (OAuth 2.1 §4.3.1): the old token is spent, the new one works."""
    first = rp.tokens()
    second = rp.refresh(first["refresh_token"]).json
    assert second["refresh_token"] != first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    assert (second["token_type"], second["scope"]) == ("Bearer", first["scope"])
    third = rp.refresh(second["refresh_token"]).json
    assert rp.userinfo(third["access_token"]).status_code == 200
    refused(rp, first["refresh_token"], "the refresh token was used before")


def test_a_reused_token_ends_its_family(rp: RelyingParty) -> None:
    """Theft shows by reuse: the newest tokens end too, and an event says so (RFC 9700 §4.14.2)."""
    stolen = rp.tokens()
    newest = rp.refresh(stolen["refresh_token"]).json
    answer = rp.refresh(stolen["refresh_token"])
    asserts.is_oauth_error(answer, "invalid_grant")
    refused(rp, newest["refresh_token"], "the authorization has ended")
    for token in (stolen["access_token"], newest["access_token"]):
        assert rp.userinfo(token).status_code == 401
        assert rp.introspect(token) == {"active": False}
    (event,) = asserts.events_of(rp.app, "refresh.reused")
    assert (event.result, event.client_id) == ("failure", rp.client.client_id)
    assert event.request_id == answer.headers["X-Request-Id"]


def test_reuse_leaves_other_families_alone(rp: RelyingParty) -> None:
    """By default the one family dies."""
    other, stolen = rp.tokens(), rp.tokens()
    rp.refresh(stolen["refresh_token"])
    rp.refresh(stolen["refresh_token"])
    assert rp.userinfo(other["access_token"]).status_code == 200
    assert rp.refresh(other["refresh_token"]).status_code == 200


def test_reuse_may_end_everything_of_the_person(make_app: MakeApp) -> None:
    """`REFRESH_REUSE_REVOKES=user`: that person's families at every app, nobody else's."""
    rp = party(make_app(refresh_reuse_revokes="user"))
    factories.person(rp.app, "ben@example.org", "Ben")
    elsewhere = party(rp.app, client_name="Elsewhere")
    bens = RelyingParty(rp.app, Browser(rp.app), rp.client, rp.secret)
    stolen, other, bens_own = rp.tokens(), elsewhere.tokens(), bens.tokens(email="ben@example.org")
    rp.refresh(stolen["refresh_token"])
    asserts.is_oauth_error(rp.refresh(stolen["refresh_token"]), "invalid_grant")
    refused(elsewhere, other["refresh_token"], "the authorization has ended")
    assert elsewhere.userinfo(other["access_token"]).status_code == 401
    assert bens.refresh(bens_own["refresh_token"]).status_code == 200


def test_a_stranger_cannot_use_or_end_a_family(rp: RelyingParty) -> None:
    """A foreign client gets the answer that an unknown token gets, and ends nothing (CVE-2026-55672)."""
    tokens = rp.tokens()
    thief = party(rp.app)
    public = RelyingParty(rp.app, rp.browser, factories.public_client(rp.app))
    spent = rp.refresh(tokens["refresh_token"]).json
    answers = set()
    for client in (thief, public):
        for presented in (spent["refresh_token"], tokens["refresh_token"], "x" * 43, spent["refresh_token"][:-1], "é"):
            answers.add(client.refresh(presented).data)
    assert len(answers) == 1
    asserts.is_oauth_error(thief.refresh(spent["refresh_token"]), "invalid_grant")
    assert rp.userinfo(spent["access_token"]).status_code == 200
    assert rp.refresh(spent["refresh_token"]).status_code == 200


@pytest.mark.parametrize("cut", [1, 2, 20, 42])
def test_a_shortened_token_is_unknown(rp: RelyingParty, cut: int) -> None:
    """CVE-2026-27840: nothing but the very token counts."""
    token = rp.tokens()["refresh_token"]
    refused(rp, token[:-cut], "the code or token is unknown")
    refused(rp, token + "A" * cut, "the code or token is unknown")
    assert rp.refresh(token).status_code == 200


def test_other_credentials_are_no_refresh_tokens(rp: RelyingParty) -> None:
    """Each kind is good at its own place only."""
    code = rp.code()
    tokens = rp.exchange(code).json
    for wrong in (code, tokens["access_token"], tokens["id_token"], rp.verifier):
        refused(rp, wrong, "the code or token is unknown")
    asserts.is_oauth_error(rp.exchange(tokens["refresh_token"]), "invalid_grant")
    asserts.is_oauth_error(rp.token(grant_type="refresh_token"), "invalid_request")
    assert rp.refresh(tokens["refresh_token"]).status_code == 200


def test_tokens_are_stored_as_digests_with_their_family(rp: RelyingParty) -> None:
    """A copy of the database gives nobody a token, the sealed successor of a grace neither (RFC 6819 §5.1.4.1.3)."""
    factories.within(rp.app, lambda: clients.change(rp.client, {"refresh_token_grace": 10}))
    first = rp.tokens()
    second = rp.refresh(first["refresh_token"]).json
    stored = asserts.rows(rp.app)
    for tokens in (first, second):
        assert tokens["refresh_token"] not in repr(stored)
        assert tokens["access_token"] not in repr(stored)
        assert tokens["id_token"] not in repr(stored)
    assert len(stored["family"]) == 1
    assert len(stored["refresh_token"]) == 2


def test_a_spent_token_stays_spent_after_a_restart(make_app: MakeApp) -> None:
    """What was rotated is in the database, not in a process's memory (CVE-2026-9802)."""
    rp = party(make_app())
    first = rp.tokens()
    rp.refresh(first["refresh_token"])
    again = RelyingParty(make_app(), rp.browser, rp.client, rp.secret)
    refused(again, first["refresh_token"], "the refresh token was used before")


def test_the_grace_gives_the_same_successor_again(make_app: MakeApp, in_a_while: Travel) -> None:
    """A client whose answer was lost repeats itself: same successor, so the chain never forks."""
    rp = party(make_app(refresh_token_grace=timedelta(seconds=10)))
    first = rp.tokens()["refresh_token"]
    answers = [rp.refresh(first).json["refresh_token"] for _time in range(3)]
    assert len(set(answers)) == 1
    in_a_while(timedelta(seconds=8))
    assert rp.refresh(first).json["refresh_token"] == answers[0]
    in_a_while(timedelta(seconds=4))
    refused(rp, first, "the refresh token was used before")
    refused(rp, answers[0], "the authorization has ended")


def test_theft_within_the_grace_is_noticed_at_the_next_rotation(make_app: MakeApp) -> None:
    """Thief and owner hold the same successor: whoever uses it second ends the family."""
    rp = party(make_app(refresh_token_grace=timedelta(seconds=10)))
    first = rp.tokens()["refresh_token"]
    owners = rp.refresh(first).json["refresh_token"]
    assert rp.refresh(first).json["refresh_token"] == owners
    newest = rp.refresh(owners).json
    refused(rp, first, "the refresh token was used before")
    refused(rp, newest["refresh_token"], "the authorization has ended")
    assert rp.userinfo(newest["access_token"]).status_code == 401


def test_the_grace_is_for_the_same_client_only(make_app: MakeApp) -> None:
    """Another client's try within the seconds is a stranger's."""
    rp = party(make_app(refresh_token_grace=timedelta(seconds=10)))
    first = rp.tokens()["refresh_token"]
    rp.refresh(first)
    refused(party(rp.app), first, "the code or token is unknown")
    assert rp.refresh(first).status_code == 200


def test_a_client_may_have_a_grace_of_its_own(make_app: MakeApp) -> None:
    """Both ways: more than the server's none, and none where the server has some."""
    app = make_app()
    patient = party(app, refresh_token_grace=10)
    token = patient.tokens()["refresh_token"]
    assert patient.refresh(token).json["refresh_token"] == patient.refresh(token).json["refresh_token"]
    strict = party(make_app(refresh_token_grace=timedelta(seconds=10)), refresh_token_grace=0)
    token = strict.tokens()["refresh_token"]
    strict.refresh(token)
    refused(strict, token, "the refresh token was used before")


def test_an_unused_token_dies_after_its_idle_life(rp: RelyingParty, in_a_while: Travel) -> None:
    """Fourteen days by default; use prolongs it."""
    rp.browser.sign_in(remember="yes")
    used, unused = rp.tokens()["refresh_token"], rp.tokens()["refresh_token"]
    in_a_while(13 * DAY)
    used = rp.refresh(used).json["refresh_token"]
    in_a_while(2 * DAY)
    refused(rp, unused, "the refresh token has expired")
    assert rp.refresh(used).status_code == 200


def test_rotation_does_not_prolong_the_familys_life(rp: RelyingParty, in_a_while: Travel) -> None:
    """Thirty days from the sign-in on, though it is used all the time (ASVS 10.4.8)."""
    token = rp.tokens()["refresh_token"]
    for _time in range(3):
        in_a_while(timedelta(days=9, hours=23))
        token = rp.refresh(token).json["refresh_token"]
    in_a_while(timedelta(hours=2))
    last = rp.refresh(token).json
    in_a_while(timedelta(hours=2))
    refused(rp, last["refresh_token"], "the refresh token has expired")


def test_no_access_token_outlives_its_family(rp: RelyingParty, in_a_while: Travel) -> None:
    """The last one is cut to what is left, and says so in `expires_in`."""
    factories.within(rp.app, lambda: clients.change(rp.client, {"refresh_token_ttl": 3600}))
    token = rp.tokens()["refresh_token"]
    in_a_while(timedelta(minutes=55))
    last = rp.refresh(token).json
    assert 280 <= last["expires_in"] <= 300
    claims = payload(last["access_token"])
    assert claims["exp"] - claims["iat"] == last["expires_in"]


def test_a_client_may_have_lives_of_its_own(app: Flask, browser: Browser, in_a_while: Travel) -> None:
    """`refresh_token_idle_ttl` and `refresh_token_ttl` in its metadata."""
    rp = RelyingParty(app, browser, *factories.client(app, refresh_token_idle_ttl=600, refresh_token_ttl=1000))
    idle, used = rp.tokens()["refresh_token"], rp.tokens()["refresh_token"]
    in_a_while(timedelta(seconds=590))
    used = rp.refresh(used).json["refresh_token"]
    in_a_while(timedelta(seconds=20))
    refused(rp, idle, "the refresh token has expired")
    in_a_while(timedelta(seconds=380))
    used = rp.refresh(used).json["refresh_token"]
    in_a_while(timedelta(seconds=20))
    refused(rp, used, "the refresh token has expired")


def test_an_old_spent_token_still_ends_its_family(rp: RelyingParty, in_a_while: Travel) -> None:
    """Spent tokens are kept as long as their family lives."""
    first = rp.tokens()["refresh_token"]
    token = rp.refresh(first).json["refresh_token"]
    for _time in range(2):
        in_a_while(timedelta(days=13))
        token = rp.refresh(token).json["refresh_token"]
    refused(rp, first, "the refresh token was used before")
    refused(rp, token, "the authorization has ended")


def test_a_family_refreshes_at_most_120_times_an_hour(rp: RelyingParty, in_a_while: Travel) -> None:
    """Then 429 with `Retry-After` in JSON, and the token is not spent; an hour later it goes on."""
    other, token = rp.tokens()["refresh_token"], rp.tokens()["refresh_token"]
    for _time in range(120):
        token = rp.refresh(token).json["refresh_token"]
    limited = rp.refresh(token)
    asserts.is_oauth_error(limited, "temporarily_unavailable", 429)
    assert 3500 < int(limited.headers["Retry-After"]) <= 3601
    assert rp.refresh(other).status_code == 200
    in_a_while(timedelta(minutes=61))
    assert rp.refresh(token).status_code == 200


@pytest.mark.parametrize("offline", [True, False])
def test_sign_out_ends_what_was_not_meant_to_stay(rp: RelyingParty, offline: bool) -> None:
    """With `offline_access` a family outlives the session, without it does not."""
    tokens = rp.tokens(scope="openid offline_access" if offline else "openid")
    rp.browser.sign_out()
    assert rp.refresh(tokens["refresh_token"]).status_code == (200 if offline else 400)
    assert rp.userinfo(tokens["access_token"]).status_code == (200 if offline else 401)


def test_a_public_client_refreshes_by_naming_itself(app: Flask, browser: Browser) -> None:
    """Rotation is its protection (RFC 9700 §2.2.2)."""
    rp = RelyingParty(app, browser, factories.public_client(app))
    first = rp.tokens()["refresh_token"]
    assert rp.refresh(first).status_code == 200
    refused(rp, first, "the refresh token was used before")
