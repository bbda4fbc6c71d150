"""Slow hashes are bounded: so many at once, so many waiting, and a clear 503 for the next."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from flask import Flask
from sqlalchemy import select

from auth_server.accounts import hashing, users
from auth_server.database import db
from auth_server.errors import Busy
from auth_server.infra import limits
from tests.support import asserts, factories
from tests.support.browser import Browser, Page
from tests.support.database import dump
from tests.support.rp import RelyingParty


def everybody_else(stack: ExitStack) -> int:
    """Take every place in the line, each in a thread of its own, until the stack closes; return how many there were."""
    leave, taken = threading.Event(), threading.Semaphore(0)
    refused = threading.Event()

    def wait() -> None:
        try:
            with hashing.in_line():
                taken.release()
                leave.wait(30)
        except Busy:
            refused.set()

    threads = []
    while not refused.is_set():
        threads.append(threading.Thread(target=wait))
        threads[-1].start()
        while not refused.is_set() and not taken.acquire(timeout=0.01):
            pass
    stack.callback(lambda: [thread.join() for thread in threads])
    stack.callback(leave.set)
    return len(threads) - 1


@pytest.fixture
def crowded() -> Iterator[int]:
    """Let everybody else stand in line."""
    with ExitStack() as stack:
        yield everybody_else(stack)


def test_the_line_is_short(crowded: int) -> None:
    """Cores but one at once, three waiting for each."""
    assert crowded == hashing.at_once() * (1 + hashing.WAITING)
    with pytest.raises(Busy):
        hashing.make(b"x", 4)


def test_there_is_room_again() -> None:
    """The twin: when the others have left, a hash is made and matches."""
    with ExitStack() as stack:
        everybody_else(stack)
    made = hashing.make(b"a password", 4)
    assert hashing.matches(b"a password", made)
    assert not hashing.matches(b"another", made)


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many processes there are, each computes at least one and together they leave a core."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(9)))
    found = {}
    for workers in ("1", "2", "4", "64", "none"):
        monkeypatch.setenv("WEB_CONCURRENCY", workers)
        found[workers] = hashing.at_once()
    assert found == {"1": 8, "2": 4, "4": 2, "64": 1, "none": 8}


def test_a_sign_in_beyond_the_line_is_told_to_come_back(app: Flask, browser: Browser, crowded: int) -> None:
    """503 with `Retry-After` on the form itself, the address kept; the try is not counted and nothing is written."""
    fields = {**Page(browser.get("/login").text).inputs, "email": "ada@example.org", "password": "wrong"}
    before = dump(app, but=("limit_bucket",))
    for _time in range(12):
        answer = browser.post("/login", fields)
        page = asserts.is_page(answer, "login", 503)
        assert int(answer.headers["Retry-After"]) > 0
        assert 'value="ada@example.org"' in answer.text
        assert page.marker == "login"
    assert dump(app, but=("limit_bucket",)) == before
    with app.app_context():
        assert [row.count for row in db.session.scalars(select(limits.Bucket))] == [0] * 4


def test_the_right_password_signs_in_after_the_crowd(browser: Browser) -> None:
    """The twin: what was refused as busy was no failed try."""
    with ExitStack() as stack:
        everybody_else(stack)
        for _time in range(12):
            assert browser.sign_in(password="wrong").status_code == 503
    assert browser.sign_in().status_code == 303


def test_tokens_are_given_while_people_wait(rp: RelyingParty, crowded: int, ada: users.User) -> None:
    """The token endpoint needs no place in the line."""
    client, secret = factories.service(rp.app)
    assert crowded
    fields = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": secret}
    assert rp.machine.post("/oauth/token", data=fields).status_code == 200
