"""One-time secrets in links."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from auth_server.database import db
from auth_server.infra import events, once
from auth_server.infra.once import OneTimeSecret
from tests.support import factories

HOUR = timedelta(hours=1)


def spent(purpose: str, presented: str) -> str | None:
    found = once.spend(purpose, presented)
    return found.subject if found else None


@pytest.mark.usefixtures("domain")
def test_a_secret_is_spent_once() -> None:
    """Looking changes nothing; the first to spend it learns whom it is for, the second nothing."""
    raw_secret = once.make("reset", "ada", HOUR)
    assert [once.subject_of("reset", raw_secret) for _ in range(3)] == ["ada"] * 3
    assert spent("reset", raw_secret) == "ada"
    assert once.spend("reset", raw_secret) is None
    assert once.subject_of("reset", raw_secret) is None


@pytest.mark.usefixtures("domain")
def test_a_secret_of_one_purpose_is_unknown_at_another() -> None:
    """A reset link opens no set-up, and is not spent by the try (CVE-2026-4325)."""
    raw_secret = once.make("reset", "ada", HOUR)
    assert once.subject_of("setup", raw_secret) is None
    assert once.spend("setup", raw_secret) is None
    assert spent("reset", raw_secret) == "ada"


@pytest.mark.usefixtures("domain")
def test_a_secret_expires(in_a_while: Callable[[timedelta], None]) -> None:
    """It is good until its life ends and not a second longer; a week later it is pruned."""
    early, late = once.make("reset", "ada", HOUR), once.make("reset", "ada", HOUR)
    in_a_while(timedelta(minutes=59))
    assert spent("reset", early) == "ada"
    in_a_while(timedelta(minutes=1, seconds=1))
    assert once.subject_of("reset", late) is None
    assert once.spend("reset", late) is None
    assert once.prune() == 0
    in_a_while(timedelta(days=7))
    assert once.prune() == 2


@pytest.mark.usefixtures("domain")
def test_revoking_ends_the_secrets_of_one_subject() -> None:
    """Other people's and other purposes' links live on."""
    mine, other, setup = (once.make(*what, HOUR) for what in (("reset", "ada"), ("reset", "ben"), ("setup", "ada")))
    once.revoke("reset", "ada")
    assert once.spend("reset", mine) is None
    assert spent("reset", other) == "ben"
    assert spent("setup", setup) == "ada"


@pytest.mark.usefixtures("domain")
def test_only_a_digest_is_stored() -> None:
    """The database never holds the secret itself."""
    raw_secret = once.make("reset", "ada", HOUR)
    row = db.session.scalars(select(OneTimeSecret)).one()
    assert raw_secret not in str(row.__dict__)
    assert len(row.digest) == 64


def test_of_many_at_once_one_spends_it(app: Flask) -> None:
    """One conditional UPDATE decides."""
    raw_secret = factories.within(app, lambda: once.make("reset", "ada", HOUR))
    won: list[str | None] = []

    def spend() -> None:
        with app.app_context():
            events.begin(events.Context())
            won.append(spent("reset", raw_secret))
            db.session.commit()

    threads = [threading.Thread(target=spend) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 20
    assert won.count("ada") == 1
