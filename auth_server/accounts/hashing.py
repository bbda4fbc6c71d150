"""The slow hashes: a bounded number at once, a short line in front of them, and everybody else first.

A password hash takes a core for a tenth of a second and more. It runs in a thread of its own kind, of which there are
as many as cores, but one, divided among the worker processes; those threads give way to requests. When the line is
full the next one is refused (`Busy`) rather than made to wait, so that a flood of sign-ins leaves threads for tokens.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import bcrypt

from auth_server.errors import Busy

WAITING = 3
"""How many may wait for each hash that runs."""
_GIVE_WAY = 10

R = TypeVar("R")


def at_once() -> int:
    """Return how many hashes this process computes at the same time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = os.environ.get("WEB_CONCURRENCY", "1")
    return max(1, (cores - 1) // max(1, int(workers) if workers.isdigit() else 1))


def places() -> int:
    """Return how many may hash or wait in this process."""
    return at_once() * (1 + WAITING)


@contextmanager
def in_line() -> Iterator[None]:
    """Take a place in the line for the block; raise `Busy` when there is none. What hashes within needs no other."""
    if getattr(_held, "place", False):
        yield
        return
    if not _places.acquire(blocking=False):
        raise Busy
    _held.place = True
    try:
        yield
    finally:
        _held.place = False
        _places.release()


def matches(password: bytes, stored: bytes) -> bool:
    """Compare with bcrypt; raise `ValueError` for a malformed hash, `Busy`."""
    return _wait_for(lambda: bcrypt.checkpw(password, stored))


def make(password: bytes, rounds: int) -> bytes:
    """Hash with bcrypt; raise `Busy`."""
    return _wait_for(lambda: bcrypt.hashpw(password, bcrypt.gensalt(rounds)))


def _wait_for(work: Callable[[], R]) -> R:
    with in_line():
        return _pool.submit(work).result()


def _give_way() -> None:
    """Lower this thread's priority; elsewhere than on Linux that would lower the whole process's."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _GIVE_WAY)


_held = threading.local()
_places = threading.BoundedSemaphore(places())
_pool = ThreadPoolExecutor(at_once(), "password-hash", _give_way)
