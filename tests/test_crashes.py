"""A kill at any moment, and a database that keeps everybody waiting: nothing answered is lost, nothing works twice."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from tests.support.live import Answer, Server
from tests.support.site import Site, at_once, open_site

KILLS = 8
WAITED_FOR_SECONDS = 2.0
TOO_LONG_SECONDS = 7.0
"""Longer than a request waits for a lock (5 s on both databases)."""
REFUSED = (400, "invalid_grant")
UNAVAILABLE = (503, "temporarily_unavailable")


@dataclass
class Journal:
    """What one app knows when the server dies: answered tokens, spent ones, and a request without an answer."""

    tokens: dict[str, Any]
    spent: list[str] = field(default_factory=list)
    unanswered: bool = False


@pytest.fixture
def site(app: Flask, start_server: Callable[..., Server]) -> Site:
    return open_site(app, [start_server()])


def test_a_kill_loses_no_refresh_token_and_doubles_none(site: Site) -> None:
    """SIGKILL during a stream of refreshes: the last answered token works, every earlier one does not."""
    server = site.servers[0]
    unanswered = 0
    for seed in range(KILLS // 2):
        journals = [Journal(site.exchange(_code(site)).body) for _ in range(3)]
        _kill_during(server, seed, *(partial(_refresh_until_killed, site, known) for known in journals))
        server.start()
        for known in journals:
            _check_refresh(site, known)
        unanswered += sum(known.unanswered for known in journals)
    assert unanswered, "no kill hit a request; the test showed nothing"


def _check_refresh(site: Site, known: Journal) -> None:
    """An unanswered refresh has happened, or has not; either way its token works at most once more."""
    assert site.userinfo(known.tokens["access_token"]).status == 200
    first = site.refresh(known.tokens["refresh_token"])
    assert first.status == 200 or (known.unanswered and first.verdict == REFUSED)
    for token in [*known.spent[-2:], known.tokens["refresh_token"]]:
        assert site.refresh(token).verdict == REFUSED
    if first.status == 200:  # that was reuse: the family has ended
        assert not site.lives(first.body)


def test_a_kill_loses_no_redeemed_code_and_doubles_none(site: Site) -> None:
    """SIGKILL during a stream of redemptions: what was answered lives, and no code works a second time."""
    server = site.servers[0]
    unanswered = 0
    for seed in range(KILLS // 2):
        waiting = [_code(site) for _ in range(60)]
        tried: dict[str, Answer] = {}
        _kill_during(server, seed, *[partial(_redeem_until_killed, site, waiting, tried)] * 3)
        server.start()
        for code, answer in tried.items():
            _check_code(site, code, answer)
        assert waiting, "every code was redeemed before the kill; the test showed nothing"
        assert site.exchange(waiting[0]).status == 200
        unanswered += sum(answer.status == 0 for answer in tried.values())
    assert unanswered, "no kill hit a request; the test showed nothing"


def _check_code(site: Site, code: str, answer: Answer) -> None:
    if answer.status == 200:
        assert site.userinfo(answer.body["access_token"]).status == 200
        refreshed = site.refresh(answer.body["refresh_token"])
        assert refreshed.status == 200
        assert site.exchange(code).verdict == REFUSED
        assert not site.lives(refreshed.body)
        return
    again = site.exchange(code)
    assert again.verdict in ((200, ""), REFUSED)
    assert site.exchange(code).verdict == REFUSED


def test_a_short_lock_delays_and_a_long_one_is_503(site: Site, database_url: str) -> None:
    """Another writer holds the database: the request waits and succeeds once, or is refused and nothing happened."""
    code, other_code, tokens = _code(site), _code(site), site.exchange(_code(site)).body
    with _locked(database_url, WAITED_FOR_SECONDS):
        begun = time.monotonic()
        assert site.exchange(code).status == 200
        assert time.monotonic() - begun > WAITED_FOR_SECONDS / 2
    assert site.exchange(code).verdict == REFUSED
    refresh = tokens["refresh_token"]
    with _locked(database_url, TOO_LONG_SECONDS):
        answers = at_once(
            lambda: site.exchange(other_code), lambda: site.refresh(refresh), lambda: site.revoke(refresh)
        )
    assert [answer.verdict for answer in answers] == [UNAVAILABLE] * 3
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
    assert site.userinfo(tokens["access_token"]).status == 200
    assert site.exchange(other_code).status == 200
    assert site.exchange(other_code).verdict == REFUSED
    successor = site.refresh(refresh).body
    assert site.revoke(successor["refresh_token"]).status == 200
    assert not site.lives(successor)


def test_a_revocation_behind_a_short_lock_happens(site: Site, database_url: str) -> None:
    """A 200 means that the tokens are dead, also when it had to wait."""
    tokens, kept = site.exchange(_code(site)).body, site.exchange(_code(site)).body
    with _locked(database_url, WAITED_FOR_SECONDS):
        assert site.revoke(tokens["refresh_token"]).status == 200
    assert not site.lives(tokens)
    assert site.lives(kept)


def _code(site: Site) -> str:
    return site.rp.code(email="ben@example.org")


def _kill_during(server: Server, seed: int, *streams: Callable[[threading.Semaphore], None]) -> None:
    """Kill the server while the streams run: after some answers and a few milliseconds, each time others."""
    chance = random.Random(seed)
    answered = threading.Semaphore(0)

    def kill() -> None:
        for _ in range(chance.randint(3, 25)):
            answered.acquire()
        time.sleep(chance.uniform(0, 0.01))
        server.kill()

    at_once(kill, *(lambda stream=stream: stream(answered) for stream in streams))


def _refresh_until_killed(site: Site, known: Journal, answered: threading.Semaphore) -> None:
    while not known.unanswered:
        presented = known.tokens["refresh_token"]
        answer = site.refresh(presented)
        if answer.status == 0:
            known.unanswered = True
            return
        assert answer.status == 200, answer
        known.spent.append(presented)
        known.tokens = answer.body
        answered.release()


def _redeem_until_killed(
    site: Site, waiting: list[str], seen: dict[str, Answer], answered: threading.Semaphore
) -> None:
    while waiting:
        code = waiting.pop()
        seen[code] = site.exchange(code)
        if seen[code].status == 0:
            return
        assert seen[code].status == 200, seen[code]
        answered.release()


@contextmanager
def _locked(url: str, seconds: float) -> Iterator[None]:
    """Keep every writer waiting for some seconds from now on; reading goes on."""
    engine = create_engine(url, poolclass=NullPool)
    held, released = threading.Event(), threading.Event()

    def hold() -> None:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.connection.driver_connection.isolation_level = None
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                tables = "authorization_code, refresh_token, family, revocation"
                connection.execute(text(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE"))
            held.set()
            released.wait(seconds)
            connection.rollback()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        yield
    finally:
        released.set()
        thread.join()
