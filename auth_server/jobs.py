"""Work that no request should wait for: mail, the key schedule, and the end of rows that nobody can use any more.

Threads of `serve` do it: mail at once, the rest once a minute over all processes and machines on one database.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from auth_server import config
from auth_server.access import unwanted
from auth_server.accounts import browsers, challenges, letters, notices, pending, sessions
from auth_server.database import MOST_DELETED, db
from auth_server.infra import audit, events, limits, once, outbox, seen
from auth_server.keys import keyring
from auth_server.oauth import waiting
from auth_server.tokens import backchannel, devices, families, opaque, revocations, status_index
from auth_server.values import Rate

log = logging.getLogger("auth_server.jobs")
_MOST_TURNS = 1000
_LOOK_FOR_MAIL_EVERY_SECONDS = 5
_ONE_RUN = Rate(1, timedelta(minutes=1))
_ONE_A_DAY = Rate(1, timedelta(days=1))


def run_due() -> bool:
    """Do what is due, unless another process did so within the minute; False then."""
    if limits.reserve(["jobs:due"], _ONE_RUN).refused:
        return False
    settings = config.current()
    keyring.follow_schedule(settings.key_rotation_interval)
    notices.tell_of_throttling()
    for prune in (
        limits.prune,
        once.prune,
        seen.prune,
        outbox.prune,
        sessions.prune,
        pending.prune,
        challenges.prune,
        waiting.prune,
        devices.prune,
        families.prune_tokens,
        families.prune,
        opaque.prune,
        revocations.prune,
        status_index.prune,
        unwanted.prune,
    ):
        _until_nothing_is_left(prune)
    _until_nothing_is_left(lambda: audit.prune(settings.audit_retention))
    if not limits.reserve(["jobs:browsers"], _ONE_A_DAY).refused:
        _until_nothing_is_left(browsers.prune)
    return True


def _until_nothing_is_left(prune: Callable[[], int]) -> None:
    """Delete in small transactions, between which others get their turn; the rest waits for the next run."""
    for _turn in range(_MOST_TURNS):
        count = prune()
        db.session.commit()
        if count < MOST_DELETED:
            return


def start(app: Flask) -> threading.Event:
    """Run in the background until the returned event is set. A failed run is logged and tried again."""
    stopped = threading.Event()
    for name, loop in (("jobs", _loop), ("outbox", _deliver)):
        threading.Thread(target=loop, args=(app, stopped), name=name, daemon=True).start()
    return stopped


def deliver_due() -> int:
    """Deliver what waits in the outbox and is due; return how many arrived."""
    return outbox.deliver_due({letters.MAIL: letters.deliver, backchannel.KIND: backchannel.deliver})


def _loop(app: Flask, stopped: threading.Event) -> None:
    while not stopped.wait(_ONE_RUN.period.total_seconds()):
        _run(app, run_due)


def _deliver(app: Flask, stopped: threading.Event) -> None:
    """Deliver as soon as this process has written something, and look now and then for what others wrote."""
    while not stopped.is_set():
        outbox.bell.wait(_LOOK_FOR_MAIL_EVERY_SECONDS)
        _run(app, deliver_due)


def _run(app: Flask, work: Callable[[], object]) -> None:
    with app.app_context():
        events.begin(events.Context(request_id="jobs", actor_kind="job", actor="schedule"))
        try:
            work()
            db.session.commit()
        except SQLAlchemyError:
            db.session.rollback()
            log.exception("the scheduled work failed")
