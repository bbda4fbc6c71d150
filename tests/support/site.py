"""A person, an app and the machine endpoints, reached in this process or in several servers by turns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask

from auth_server import config
from auth_server.accounts import users
from tests.support import factories
from tests.support.browser import Browser
from tests.support.live import Answer, Server
from tests.support.rp import RelyingParty, basic, bearer

R = TypeVar("R")
Post = Callable[[int, str, dict[str, str], dict[str, str]], Answer]


def at_once(*acts: Callable[[], R]) -> list[R]:
    """Run everything in threads that start together; return the results in order."""
    barrier = threading.Barrier(len(acts))
    results: dict[int, R] = {}

    def run(number: int, act: Callable[[], R]) -> None:
        barrier.wait()
        results[number] = act()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[number] for number in range(len(acts))]


@dataclass
class Site:
    """`way` picks one of the servers; with none, everything happens in this process."""

    app: Flask
    rp: RelyingParty
    person: users.User
    servers: Sequence[Server] = ()

    def post(self, way: int, path: str, fields: dict[str, str], headers: dict[str, str]) -> Answer:
        if self.servers:
            return self.servers[way % len(self.servers)].post(path, fields, headers)
        client = self.app.test_client(use_cookies=False)  # threads do not share one
        response = client.post(path, data=fields, headers=headers, base_url=config.current().issuer)
        headers_by_name = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, response.json if response.is_json else {}, headers_by_name)

    def exchange(self, code: str, way: int = 0) -> Answer:
        fields = {"grant_type": "authorization_code", "code": code, "code_verifier": self.rp.verifier}
        return self._as_client("/oauth/token", fields | {"redirect_uri": factories.REDIRECT_URI}, way)

    def refresh(self, refresh_token: str, way: int = 0) -> Answer:
        return self._as_client("/oauth/token", {"grant_type": "refresh_token", "refresh_token": refresh_token}, way)

    def revoke(self, token: str, way: int = 0) -> Answer:
        return self._as_client("/oauth/revoke", {"token": token}, way)

    def userinfo(self, access_token: str, way: int = 0) -> Answer:
        return self.post(way, "/oauth/userinfo", {}, bearer(access_token))

    def lives(self, tokens: dict[str, Any]) -> bool:
        """Tell whether anything of a token answer still works anywhere; this presents the refresh token."""
        seen = {self.userinfo(tokens["access_token"], way).status for way in (0, 1)}
        refreshed = self.refresh(tokens["refresh_token"])
        assert seen <= {200, 401}, seen
        assert refreshed.verdict in ((200, ""), (400, "invalid_grant")), refreshed
        return 200 in seen or refreshed.status == 200

    def _as_client(self, path: str, fields: dict[str, str], way: int) -> Answer:
        return self.post(way, path, fields, basic(self.rp.client.client_id, self.rp.secret))


def open_site(app: Flask, servers: Sequence[Server] = ()) -> Site:
    """Return a site with Ada (an administrator is there), Ben at the browser and one confidential client."""
    factories.person(app, "ada@example.org", roles=["administrator"])
    ben = factories.person(app, "ben@example.org", "Ben")
    client, secret = factories.client(app)
    return Site(app, RelyingParty(app, Browser(app), client, secret), ben, servers)
