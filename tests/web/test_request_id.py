"""The request id, and the address that limits and audit see."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network

import pytest
from flask import Flask

from tests.support import asserts, factories
from tests.support.browser import Browser, Page


@pytest.mark.parametrize("path", ["/login", "/nowhere", "/oauth/token", "/.well-known/jwks.json", "/healthz"])
def test_every_answer_has_an_id_of_its_own(app: Flask, path: str) -> None:
    """Errors included; a caller's own id is not taken over."""
    ids = [
        app.test_client().get(path, headers={"X-Request-Id": "chosen\tby the caller"}).headers["X-Request-Id"]
        for _ in range(3)
    ]
    assert len(set(ids)) == 3
    assert all(len(one) == 16 and one.isalnum() for one in ids)


def test_the_error_page_shows_the_id(browser: Browser) -> None:
    """What a person reads out is what the log knows."""
    response = browser.get("/nowhere")
    assert response.headers["X-Request-Id"] in asserts.is_error_page(response, "not_found", 404).text


PROXY = ("10.0.0.0/8", "2001:db8:ffff::/48")


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "seen"),
    [
        ((), "192.0.2.1", "203.0.113.9", "192.0.2.1"),  # nobody is trusted
        ((), "10.0.0.1", "203.0.113.9", "10.0.0.1"),
        (PROXY, "192.0.2.1", "203.0.113.9", "192.0.2.1"),  # a stranger's header
        (PROXY, "10.0.0.1", "203.0.113.9", "203.0.113.9"),
        (PROXY, "10.0.0.1", "", "10.0.0.1"),
        (PROXY, "10.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9"),  # the left one is the caller's own claim
        (PROXY, "10.0.0.1", "198.51.100.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),  # two proxies of ours
        (PROXY, "10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        (PROXY, "10.0.0.1", "nonsense", "10.0.0.1"),
        (PROXY, "10.0.0.1", "203.0.113.9, nonsense", "10.0.0.1"),
        (PROXY, "10.0.0.1", "203.0.113.9:4711", "10.0.0.1"),
        (PROXY, "10.0.0.1", "2001:db8::7", "2001:db8::7"),
        (PROXY, "2001:db8:ffff::1", "2001:db8::7", "2001:db8::7"),
        (PROXY, "10.0.0.1", "'; DROP TABLE session; --", "10.0.0.1"),
    ],
)
def test_the_callers_address_comes_from_trusted_hops_alone(
    make_app: Callable[..., Flask], trusted: tuple[str, ...], peer: str, forwarded: str, seen: str
) -> None:
    """`X-Forwarded-For` is read from the right and believed of TRUSTED_PROXIES only."""
    app = make_app(trusted_proxies=tuple(ip_network(network) for network in trusted))
    factories.person(app, roles=["administrator"])
    browser = Browser(app, peer)
    fields = {**Page(browser.get("/login").text).inputs, "email": "x", "password": "x"}
    browser.post("/login", fields, headers={"X-Forwarded-For": forwarded})
    assert [row.address for row in asserts.events_of(app, "sign_in.failed")] == [seen]
