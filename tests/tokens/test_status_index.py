"""Places in the status lists: whose they are, when they are free again, and which bits are set."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from auth_server import jobs
from auth_server.clients import client as clients
from auth_server.database import db
from auth_server.infra import clock
from auth_server.keys import status_list
from auth_server.tokens import ending, models, status_index
from auth_server.tokens.status_index import StatusIndex
from tests.support import factories
from tests.support.browser import Browser
from tests.support.rp import RelyingParty, payload
from tests.support.site import at_once

Travel = Callable[[timedelta], None]
A_WHILE = timedelta(hours=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def few_places(monkeypatch: pytest.MonkeyPatch) -> int:
    """Make lists so short that draws meet; return how many places one has."""
    monkeypatch.setattr(status_index, "SIZE", 4)
    return 4


def place_of(token: str) -> int:
    position = status_index.position_in(payload(token))
    assert position is not None
    return position


def recalled(app: Flask, number: int = 0) -> tuple[int, ...]:
    found = factories.within(app, lambda: status_index.recalled(number))
    assert found is not None
    return found


def rows(app: Flask) -> dict[int, StatusIndex]:
    return factories.within(app, lambda: {row.position: row for row in db.session.scalars(select(StatusIndex))})


def a_service(app: Flask) -> tuple[RelyingParty, Callable[[], int]]:
    """Return a service, and a function that gives the place which its next token carries."""
    party = RelyingParty(app, Browser(app), *factories.service(app))
    return party, lambda: place_of(party.token(grant_type="client_credentials").json["access_token"])


def test_every_jwt_of_a_family_carries_its_place(app: Flask, rp: RelyingParty) -> None:
    """One index for each family (Token Status List §6), by the address of the list and the number in it."""
    tokens = rp.tokens()
    again = rp.refresh(tokens["refresh_token"]).json
    named = payload(tokens["access_token"])["status"]
    assert named == payload(again["access_token"])["status"]
    assert named == {"status_list": {"idx": named["status_list"]["idx"], "uri": "http://localhost:8421/oauth/status/0"}}
    assert 0 <= named["status_list"]["idx"] < status_list.SIZE
    assert "status" not in payload(tokens["id_token"])
    assert place_of(rp.tokens()["access_token"]) != place_of(tokens["access_token"])


def test_an_opaque_token_has_no_use_for_one(app: Flask, rp: RelyingParty) -> None:
    """Whoever holds it asks the issuer anyway; introspection does not speak of places."""
    factories.api(app, token_format="opaque")
    client, secret = factories.client(app, scope="openid orders:read")
    party = RelyingParty(app, rp.browser, client, secret)
    token = party.tokens(scope="openid orders:read")["access_token"]
    assert "status" not in party.introspect(token)
    assert party.introspect(token)["active"] is True


def test_all_tokens_of_a_service_carry_one_place(app: Flask) -> None:
    """No family, so one for the service; other services have others."""
    _party, place = a_service(app)
    _other, other = a_service(app)
    assert place() == place() != other()


def test_a_revoked_access_token_takes_its_familys_along(app: Flask, rp: RelyingParty) -> None:
    """The list cannot tell them apart: the bit is set, and what the app gets next carries another place."""
    tokens = rp.tokens()
    sibling = rp.refresh(tokens["refresh_token"]).json
    former = place_of(tokens["access_token"])
    assert recalled(app) == ()
    rp.revoke(tokens["access_token"])
    assert recalled(app) == (former,)
    renewed = rp.refresh(sibling["refresh_token"]).json
    assert place_of(renewed["access_token"]) != former
    rp.revoke(sibling["access_token"])  # carries the former place too, which is recalled already
    assert recalled(app) == (former,)
    assert place_of(rp.refresh(renewed["refresh_token"]).json["access_token"]) == place_of(renewed["access_token"])


def test_a_revoked_token_of_a_service_leaves_the_others_alone(app: Flask) -> None:
    """Ten workers run in its name: one that gives its token back must not stop nine. The operator's word stops all."""
    party, place = a_service(app)
    token = party.token(grant_type="client_credentials").json["access_token"]
    party.revoke(token)
    assert party.introspect(token)["active"] is False
    assert recalled(app) == ()
    former = place()
    factories.within(app, lambda: ending.end_client_tokens(party.client.client_id, "test"))
    assert recalled(app) == (former,)
    assert place() != former
    factories.within(app, ending.end_all_tokens)
    assert set(recalled(app)) > {former}
    assert place() not in recalled(app)


def test_an_enabled_service_starts_with_another_place(app: Flask) -> None:
    """Nothing of before comes back to life, and nothing new is dead."""
    party, place = a_service(app)
    former = place()
    factories.within(app, lambda: ending.disable_client(party.client))
    factories.within(app, lambda: clients.switch(party.client, enabled=True))
    assert place() != former
    assert recalled(app) == (former,)


def test_an_ended_family_without_a_place_ends_all_the_same(app: Flask, rp: RelyingParty) -> None:
    """As made by a version that knew no lists: its tokens have no claim."""
    tokens = rp.tokens()
    with app.app_context():
        db.session.execute(models.Family.__table__.update().values(status_index=None))
        db.session.commit()
    refreshed = rp.refresh(tokens["refresh_token"]).json
    assert "status" not in payload(refreshed["access_token"])
    rp.revoke(refreshed["access_token"])
    assert rp.introspect(refreshed["access_token"])["active"] is False
    rp.revoke(refreshed["refresh_token"])
    assert recalled(app) == ()


def test_a_place_is_free_again_when_all_that_carried_it_has_expired(
    app: Flask, rp: RelyingParty, in_a_while: Travel
) -> None:
    """An hour after the end, which is the longest life of a token; its bit is set until just before."""
    tokens = rp.tokens()
    place = place_of(tokens["access_token"])
    rp.revoke(tokens["refresh_token"])
    in_a_while(timedelta(minutes=61))
    factories.within(app, jobs.run_due)
    assert recalled(app) == (place,)
    in_a_while(timedelta(minutes=3))
    assert recalled(app) == ()
    assert place in rows(app)
    in_a_while(timedelta(minutes=2))
    factories.within(app, jobs.run_due)
    assert place not in rows(app)


def test_the_place_of_a_living_family_is_kept_to_its_end(app: Flask, rp: RelyingParty, in_a_while: Travel) -> None:
    """And two hours beyond; then it is free, though nobody ended anything."""
    place = place_of(rp.tokens()["access_token"])
    service = a_service(app)[1]()
    in_a_while(timedelta(days=30))
    factories.within(app, jobs.run_due)
    assert place in rows(app)
    in_a_while(timedelta(hours=2, minutes=1))
    factories.within(app, jobs.run_due)
    assert set(rows(app)) == {service}


def test_when_a_list_is_crowded_another_is_begun(app: Flask, few_places: int) -> None:
    """No two get one place, however many there are; an address that names no list has none."""
    taken = factories.within(app, lambda: [status_index.take(clock.now() + A_WHILE) for _ in range(50)])
    assert len(set(taken)) == 50
    lists = max(taken) // few_places + 1
    assert lists >= 50 // few_places
    factories.within(app, lambda: status_index.recall(taken))
    found = [(number, index) for number in range(lists) for index in recalled(app, number)]
    assert sorted(number * few_places + index for number, index in found) == sorted(taken)
    assert factories.within(app, lambda: status_index.recalled(lists)) is None
    assert {status_index.position_in({"status": status_index.claim(place)}) for place in taken} == set(taken)


def test_of_concurrent_draws_none_share_a_place(app: Flask, few_places: int) -> None:
    """Eight at once, each ten places, in lists of four: the row decides who has which."""

    def draw() -> list[int]:
        return [factories.within(app, lambda: status_index.take(clock.now() + A_WHILE)) for _ in range(10)]

    taken = [place for places in at_once(*[draw] * 8) for place in places]
    assert len(set(taken)) == len(taken) == 80
    assert set(rows(app)) == set(taken)


def test_of_concurrent_first_tokens_of_a_service_all_carry_one_place(app: Flask) -> None:
    """Ten at once: one takes the place, the others find it."""
    party, _place = a_service(app)

    def ask() -> Any:
        machine = RelyingParty(app, Browser(app), party.client, party.secret)
        return place_of(machine.token(grant_type="client_credentials").json["access_token"])

    assert len(set(at_once(*[ask] * 10))) == 1
    assert len(rows(app)) == 1


def test_of_concurrent_revocations_of_one_token_one_moves_the_family(app: Flask, rp: RelyingParty) -> None:
    """The family gets one new place, and that one is good."""
    tokens = rp.tokens()
    former = place_of(tokens["access_token"])

    def revoke() -> int:
        return RelyingParty(app, Browser(app), rp.client, rp.secret).revoke(tokens["access_token"]).status_code

    assert at_once(*[revoke] * 6) == [200] * 6
    assert recalled(app) == (former,)
    assert place_of(rp.refresh(tokens["refresh_token"]).json["access_token"]) not in recalled(app)
