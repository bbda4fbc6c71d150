"""What only real HTTP shows: headers as the server sends them, and bytes that no test client would send."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from flask import Flask

from auth_server import config
from tests.support import certificate as certs
from tests.support import factories
from tests.support.live import Server
from tests.support.rp import basic


@pytest.fixture
def service(app: Flask) -> dict[str, str]:
    """Return the Basic header of a service; an administrator exists."""
    factories.person(app, roles=["administrator"])
    client, secret = factories.service(app)
    return basic(client.client_id, secret)


def status_of(server: Server, request: bytes) -> int:
    """Send raw bytes; return the status of the answer, 0 when the server just hangs up."""
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(request)
        connection.settimeout(10)
        answer = connection.recv(65536)
    return int(answer.split(b" ")[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def raw(path: bytes, *headers: bytes, body: bytes = b"", method: bytes = b"POST") -> bytes:
    """Build a request by hand."""
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: localhost:8421", b"Connection: close", *headers]
    return b"\r\n".join([*lines, b"", body])


def test_the_revocation_answer_is_empty(start_server: Callable[..., Server], service: dict[str, str]) -> None:
    """200, no body and no Content-Type, also through the production server; CORS and the id are there."""
    answer = start_server().post("/oauth/revoke", {"token": "x"}, service)
    assert (answer.status, answer.body) == (200, {})
    assert "content-type" not in answer.headers
    assert answer.headers.get("content-length", "0") == "0"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert len(answer.headers["x-request-id"]) == 16


def test_two_certificates_are_none(app: Flask, start_server: Callable[..., Server]) -> None:
    """The header twice, or under another spelling, as the production server hands it on; once, it counts."""
    mine = certs.certificate()
    about = {"token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks": {"keys": [mine.jwk()]}}
    server = start_server(trusted_proxies="127.0.0.1", mtls_cert_header=certs.HEADER)
    seeing = {"mtls_cert_header": certs.HEADER, "trusted_proxies": certs.SETTINGS["trusted_proxies"]}
    config.use(dataclasses.replace(config.current(), **seeing))
    client = factories.service(app, **about)[0]
    body = urlencode({"grant_type": "client_credentials", "client_id": client.client_id}).encode()
    form = (b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: " + str(len(body)).encode())
    shown, other = (f"{certs.HEADER}: {holder.escaped}".encode() for holder in (mine, certs.certificate()))
    misspelt = f"Client_Cert: {mine.escaped}".encode()
    for headers, status in (
        ((shown,), 200),
        ((shown, other), 401),
        ((other, shown), 401),
        ((shown, shown), 401),
        ((misspelt,), 401),
        ((other, misspelt), 401),
        ((misspelt, shown), 200),
    ):
        assert status_of(server, raw(b"/oauth/token", *form, *headers, body=body)) == status


def test_bytes_that_no_client_sends_are_refused(start_server: Callable[..., Server], service: dict[str, str]) -> None:
    """Raw UTF-8 and Latin-1 in headers, doubled headers, odd paths: 4xx or a hang-up, and the server lives on."""
    server = start_server()
    form = b"Content-Type: application/x-www-form-urlencoded"
    body = urlencode({"grant_type": "client_credentials"}).encode()
    length = b"Content-Length: " + str(len(body)).encode()
    good = service["Authorization"].encode()
    requests = {
        "raw bytes in Authorization": raw(b"/oauth/token", form, length, b"Authorization: Basic \xff\xfe", body=body),
        "UTF-8 in Authorization": raw(b"/oauth/token", form, length, "Authorization: Bearer é".encode(), body=body),
        "two Authorization headers": raw(
            b"/oauth/token", form, length, b"Authorization: Basic eDp5", b"Authorization: " + good, body=body
        ),
        "raw bytes in the path": raw(b"/oauth/authorize?client_id=\xff\xfe&state=\xc3\xa9", method=b"GET"),
        "raw bytes in the body": raw(b"/oauth/token", form, b"Content-Length: 4", body=b"\xff\xfe=\x00"),
        "no such escape": raw(b"/oauth/authorize?client_id=%zz%", method=b"GET"),
        "an unknown method": raw(b"/oauth/token", method=b"BREW"),
        "a body that is no number long": raw(b"/oauth/token", form, b"Content-Length: x", body=body),
        "a negative length": raw(b"/oauth/token", form, b"Content-Length: -1", body=body),
        "two lengths": raw(b"/oauth/token", form, b"Content-Length: 3", length, body=body),
        "a length and chunks": raw(b"/oauth/token", form, length, b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        "raw bytes in a cookie": raw(
            b"/login", b"Cookie: auth_server=\xff\xfe; auth_server_browser=\x80", method=b"GET"
        ),
        "a foreign host": raw(b"/oauth/token", form, length, b"Host: evil.test", body=body),
        "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    }
    statuses = {name: status_of(server, request) for name, request in requests.items()}
    wrong = {name: status for name, status in statuses.items() if status >= 500}
    assert wrong == {}
    accepted = {name for name, status in statuses.items() if status == 200}
    assert accepted <= {"raw bytes in a cookie"}
    assert server.post("/oauth/token", {"grant_type": "client_credentials"}, service).status == 200
