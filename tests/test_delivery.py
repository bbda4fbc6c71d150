"""The running server delivers: what it writes itself, and what a command wrote."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Flask

from auth_server.accounts import letters
from tests.accounts.test_letters import COMMON, MORE
from tests.support import factories, mail_server
from tests.support.live import Server


def arrived(server: mail_server.MailServer, how_many: int) -> bool:
    until = time.monotonic() + 30
    while len(server.letters) < how_many and time.monotonic() < until:
        time.sleep(0.05)
    return len(server.letters) == how_many


def test_a_running_server_delivers(app: Flask, start_server: Callable[..., Server]) -> None:
    """Even what waited before it started, and what another process writes; a server that is killed loses nothing."""
    values = COMMON | MORE["notice"][0]

    def write() -> None:
        letters.send("notice", "ben@example.org", language="en", **values)

    factories.within(app, write)
    with mail_server.running() as post:
        serving = start_server(mail_url=f"smtp://127.0.0.1:{post.port}")
        assert arrived(post, 1)
        serving.kill()
        factories.within(app, write)
        start_server(mail_url=f"smtp://127.0.0.1:{post.port}")
        assert arrived(post, 2)
