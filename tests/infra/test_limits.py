"""Guess limits: counters of record in the database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from auth_server.database import db
from auth_server.infra import limits
from auth_server.infra.limits import Bucket
from auth_server.values import Rate
from tests.support import factories

THREE = Rate(3, timedelta(minutes=15))


def tries_until_refused(*keys: str, rate: Rate = THREE) -> int:
    """Reserve until refused; return how many were allowed."""
    allowed = 0
    while not limits.reserve(keys, rate).refused:
        allowed += 1
        assert allowed < 100
    return allowed


@pytest.mark.usefixtures("domain")
def test_a_bucket_takes_so_many_tries_and_no_more() -> None:
    """The limit's number is allowed, the next is refused with the time to wait."""
    assert tries_until_refused("a") == 3
    refused = limits.reserve(["a"], THREE)
    assert refused.refused
    assert 890 <= refused.retry_after_seconds <= 901
    assert tries_until_refused("b") == 3


@pytest.mark.usefixtures("domain")
def test_a_refused_try_is_counted_nowhere() -> None:
    """A try that one full bucket refuses leaves the others as they were."""
    assert tries_until_refused("full") == 3
    for _ in range(10):
        assert limits.reserve(["empty", "full"], THREE).refused
    assert tries_until_refused("empty") == 3


@pytest.mark.usefixtures("domain")
def test_a_window_ends(in_a_while: Callable[[timedelta], None]) -> None:
    """After the period, counted from the first try, the bucket is empty again."""
    assert tries_until_refused("a") == 3
    in_a_while(timedelta(minutes=14))
    assert limits.reserve(["a"], THREE).refused
    in_a_while(timedelta(minutes=1, seconds=1))
    assert tries_until_refused("a") == 3


@pytest.mark.usefixtures("domain")
def test_a_success_gives_its_try_back() -> None:
    """`give_back` takes one counted try back and never goes below nothing; `clear` forgets them all."""
    limits.reserve(["a"], THREE)
    limits.give_back(["a"])
    limits.give_back(["a", "unknown"])
    db.session.commit()
    assert tries_until_refused("a") == 3
    limits.clear("a")
    db.session.commit()
    assert tries_until_refused("a") == 3


@pytest.mark.usefixtures("domain")
def test_off_counts_nothing() -> None:
    """Without a rate nothing is refused and no row is made."""
    assert not any(limits.reserve(["a"], None).refused for _ in range(50))
    assert db.session.scalar(select(func.count()).select_from(Bucket)) == 0


def test_parallel_tries_cannot_pass_the_limit(app: Flask) -> None:
    """Of thirty at once exactly three are allowed."""
    allowed: list[bool] = []

    def reserve() -> None:
        with app.app_context():
            allowed.append(not limits.reserve(["a", "b"], THREE).refused)

    threads = [threading.Thread(target=reserve) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(allowed), sum(allowed)) == (30, 3)


def test_passed_windows_are_pruned(app: Flask, in_a_while: Callable[[timedelta], None]) -> None:
    """A bucket goes when its window has passed, and stays until then."""
    with app.app_context():
        limits.reserve(["a"], THREE)
    assert factories.within(app, limits.prune) == 0
    in_a_while(timedelta(minutes=16))
    assert factories.within(app, limits.prune) == 1
