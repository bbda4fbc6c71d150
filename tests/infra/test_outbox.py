"""The outbox: written with the act, delivered later, never lost and never in the clear."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text

from auth_server.database import db
from auth_server.infra import events, outbox
from auth_server.infra.outbox import OutboxRow, Undeliverable
from tests.support import asserts, factories
from tests.support.site import at_once

Travel = Callable[[timedelta], None]


def deliver(app: Flask, way: outbox.Deliver) -> int:
    return factories.within(app, lambda: outbox.deliver_due({"test": way}))


def refuse(_payload: dict[str, Any]) -> None:
    raise Undeliverable("nobody is there")


def waiting(app: Flask) -> list[outbox.Waiting]:
    return factories.within(app, outbox.listing)


def test_what_was_written_arrives_once(app: Flask) -> None:
    """Then the row is gone, and the audit says so without what was in it."""
    factories.within(app, lambda: outbox.add("test", {"secret": "s3cret-link"}, about="reset 42"))
    arrived: list[Any] = []
    assert deliver(app, arrived.append) == 1
    assert deliver(app, arrived.append) == 0
    assert arrived == [{"secret": "s3cret-link"}]
    (event,) = asserts.events_of(app, "delivery.arrived")
    assert event.data == {"kind": "test", "about": "reset 42", "tries": 1}
    assert waiting(app) == []


def test_what_is_not_committed_is_not_sent(app: Flask) -> None:
    """The row is part of the act: when that is undone, nobody hears of it."""
    with app.app_context():
        events.begin(events.Context())
        outbox.add("test", {})
        db.session.rollback()
    assert deliver(app, refuse) == 0
    assert waiting(app) == []


def test_nothing_lies_in_the_clear(app: Flask) -> None:
    """A letter may hold a link, so the payload is sealed, and bound to its row."""
    factories.within(app, lambda: outbox.add("test", {"link": "s3cret-link"}))
    factories.within(app, lambda: outbox.add("test", {"link": "another"}))
    with app.app_context():
        one, other = db.session.scalars(select(OutboxRow)).all()
        assert "s3cret-link" not in repr([(row.payload_sealed, row.about) for row in (one, other)])
        sealed = one.payload_sealed, other.payload_sealed
        db.session.execute(text("UPDATE outbox SET payload_sealed = :s WHERE id = :i"), {"s": sealed[1], "i": one.id})
        db.session.execute(text("UPDATE outbox SET payload_sealed = :s WHERE id = :i"), {"s": sealed[0], "i": other.id})
        db.session.commit()
    arrived: list[Any] = []
    assert deliver(app, arrived.append) == 0
    assert arrived == []
    assert len(waiting(app)) == 2


def test_a_failure_is_tried_again_ever_more_rarely(app: Flask, in_a_while: Travel) -> None:
    """Not at once; the reason and the number of tries can be seen; success ends it."""
    factories.within(app, lambda: outbox.add("test", {"n": 1}))
    assert deliver(app, refuse) == 0
    (row,) = waiting(app)
    assert (row.tries, row.last_error, row.claimed_until) == (1, "nobody is there", None)
    arrived: list[Any] = []
    assert deliver(app, arrived.append) == 0
    in_a_while(timedelta(minutes=1, seconds=1))
    assert deliver(app, refuse) == 0
    in_a_while(timedelta(minutes=1))
    assert deliver(app, arrived.append) == 0
    in_a_while(timedelta(minutes=5))
    assert deliver(app, arrived.append) == 1
    assert arrived == [{"n": 1}]
    assert len(asserts.events_of(app, "delivery.failed")) == 2


def test_after_three_days_it_is_given_up_and_seen(app: Flask, in_a_while: Travel) -> None:
    """It stays in the list for a month; an operator can have it tried again."""
    factories.within(app, lambda: outbox.add("test", {"n": 1}))
    in_a_while(timedelta(days=3, seconds=1))
    assert deliver(app, refuse) == 0
    (row,) = waiting(app)
    assert row.next_try_at is None
    assert len(asserts.events_of(app, "delivery.given_up")) == 1
    assert factories.within(app, outbox.prune) == 0
    assert factories.within(app, lambda: outbox.try_again(row.id)) is True
    arrived: list[Any] = []
    assert deliver(app, arrived.append) == 1
    assert factories.within(app, lambda: outbox.try_again(row.id)) is False


def test_what_was_given_up_goes_after_a_month(app: Flask, in_a_while: Travel) -> None:
    """Not before; and what is still tried never."""
    factories.within(app, lambda: outbox.add("test", {}))
    in_a_while(timedelta(days=3, seconds=1))
    deliver(app, refuse)
    in_a_while(timedelta(days=29))
    assert factories.within(app, outbox.prune) == 0
    in_a_while(timedelta(days=2))
    assert factories.within(app, outbox.prune) == 1
    assert waiting(app) == []


def test_one_that_fails_does_not_hold_up_the_others(app: Flask) -> None:
    """Not even when it fails in a way that nobody thought of."""
    for number in range(3):
        factories.within(app, lambda n=number: outbox.add("test", {"n": n}))  # type: ignore[misc]
    arrived: list[int] = []

    def way(payload: dict[str, Any]) -> None:
        arrived.append(3 // (1 - payload["n"]))

    assert deliver(app, way) == 2
    assert [row.last_error for row in waiting(app)] == ["unexpected: ZeroDivisionError"]


def test_ten_at_once_deliver_it_once(app: Flask) -> None:
    """The claim is one conditional UPDATE."""
    factories.within(app, lambda: outbox.add("test", {"n": 1}))
    arrived: list[Any] = []
    results = at_once(*(lambda: deliver(app, arrived.append) for _ in range(10)))
    assert sorted(results) == [0] * 9 + [1]
    assert len(arrived) == 1


def test_a_process_that_dies_leaves_it_to_the_next(app: Flask, in_a_while: Travel) -> None:
    """A claim ends after two minutes, whatever became of whoever made it."""
    factories.within(app, lambda: outbox.add("test", {"n": 1}))

    def die(_payload: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deliver(app, die)
    arrived: list[Any] = []
    assert deliver(app, arrived.append) == 0
    in_a_while(timedelta(minutes=2, seconds=1))
    assert deliver(app, arrived.append) == 1


def test_dropped_is_gone(app: Flask) -> None:
    factories.within(app, lambda: outbox.add("test", {}))
    (row,) = waiting(app)
    assert factories.within(app, lambda: outbox.drop(row.id)) is True
    assert factories.within(app, lambda: outbox.drop(row.id)) is False
    assert waiting(app) == []
