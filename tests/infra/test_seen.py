"""What may be shown once: every process knows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from auth_server import database
from auth_server.database import db
from auth_server.infra import clock, seen
from auth_server.infra.seen import Seen
from tests.support import factories
from tests.support.site import at_once

HOUR = timedelta(hours=1)


def count() -> int:
    return db.session.scalar(select(func.count()).select_from(Seen)) or 0


@pytest.mark.usefixtures("domain")
def test_a_value_is_new_once() -> None:
    """Case and purpose tell values apart (CVE-2020-15222); what is kept is a digest."""
    until = clock.now() + HOUR
    assert seen.first_time("assertion", "wiki:Abc", until)
    assert not seen.first_time("assertion", "wiki:Abc", until)
    assert seen.first_time("assertion", "wiki:abc", until)
    assert seen.first_time("proof", "wiki:Abc", until)
    assert count() == 3
    assert "Abc" not in repr(db.session.execute(select(Seen.digest)).all())


@pytest.mark.usefixtures("domain")
def test_it_is_forgotten_when_nobody_would_take_it_any_more(in_a_while: Callable[[timedelta], None]) -> None:
    """An hour longer than it lives, for clocks that differ."""
    assert seen.first_time("assertion", "x", clock.now() + HOUR)
    in_a_while(HOUR + timedelta(minutes=59))
    assert seen.prune() == 0
    assert not seen.first_time("assertion", "x", clock.now() + HOUR)
    in_a_while(timedelta(minutes=2))
    assert seen.prune() == 1
    assert seen.first_time("assertion", "x", clock.now() + HOUR)


def test_what_was_undone_was_not_seen(app: Flask) -> None:
    """A request that crashed may come again; one that was answered, however, is over."""

    def show(*, keep: bool) -> bool:
        with app.app_context(), database.work() as work:
            is_new = seen.first_time("assertion", "x", clock.now() + HOUR)
            if keep:
                work.commit()
            return is_new

    assert [show(keep=False), show(keep=True), show(keep=True)] == [True, True, False]


def test_of_ten_at_once_one_is_the_first(app: Flask) -> None:
    """One INSERT decides, whoever asks."""
    until = clock.now() + HOUR
    shown = at_once(*[lambda: factories.within(app, lambda: seen.first_time("assertion", "x", until))] * 10)
    assert sorted(shown) == [False] * 9 + [True]


def test_of_ten_machines_at_once_one_is_the_first(app: Flask) -> None:
    """The same where the request is a machine's, in a transaction without the session."""
    until = clock.now() + HOUR

    def show() -> bool:
        with app.app_context(), database.work() as work:
            is_new = seen.first_time("assertion", "x", until)
            work.commit()
            return is_new

    assert sorted(at_once(*[show] * 10)) == [False] * 9 + [True]
