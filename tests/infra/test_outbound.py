"""The server's own requests: to public addresses by https, within time and size, or not at all (SECURITY b.27)."""

from __future__ import annotations

import gzip
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from auth_server.infra import destination, outbound
from auth_server.infra.destination import Unreachable
from auth_server.infra.outbound import Outbound
from tests.support import web_server
from tests.support.mail_server import certificate_for
from tests.support.web_server import Behave, WebServer, answer, as_json, endless

MakeApp = Callable[..., Flask]
NAME = "keys.example.org"
PUBLIC = "93.184.216.34"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GZIP = {"Content_Encoding": "gzip"}


def always(*found: str) -> destination.Resolve:
    """Return a resolver that gives the same addresses whatever it is asked."""
    return lambda _host, _port: found


LOCAL = always("127.0.0.1")


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    return certificate_for(tmp_path, NAME, "127.0.0.1")


@pytest.fixture
def serve(make_app: MakeApp, pem: Path) -> Iterator[Callable[[Behave], WebServer]]:
    """Return a starter of TLS servers for `NAME`, which is trusted and exempt from the block of private addresses."""
    make_app(outbound_ca_file=str(pem), outbound_allow_hosts=(NAME,))
    running = []

    def start(behave: Behave) -> WebServer:
        manager = web_server.running(behave, pem)
        running.append(manager)
        return manager.__enter__()

    yield start
    for manager in running:
        manager.__exit__(None, None, None)


def detail_of(url: str, resolve: destination.Resolve = LOCAL, seconds: float = 5.0) -> str:
    """Return why a fetch was refused."""
    with pytest.raises(Unreachable) as refused:
        Outbound(resolve, seconds).fetch_json(url)
    return refused.value.detail


def test_a_document_is_fetched(serve: Callable[[Behave], WebServer]) -> None:
    """The name stands in Host and certificate, the connection goes to the address; nothing compressed is asked for."""
    server = serve(as_json({"keys": []}, Cache_Control="public, max-age=600"))
    found = Outbound(LOCAL).fetch_json(server.url("/jwks?a=b", NAME))
    assert (found.value, found.max_age) == ({"keys": []}, timedelta(minutes=10))
    (request,) = server.requests
    lines = request.decode().split("\r\n")
    assert lines[0] == "GET /jwks?a=b HTTP/1.1"
    assert f"Host: {NAME}:{server.port}" in lines
    assert "Accept-Encoding: identity" in lines
    assert not any(line.lower().startswith(("cookie", "authorization")) for line in lines)


def test_something_is_posted(serve: Callable[[Behave], WebServer]) -> None:
    """Body and headers go out; every status but a redirect is an answer, and with no limit its body is not read."""
    server = serve(answer(b"no", "400 Bad Request", "text/plain"))
    headers = {"Authorization": "Bearer x"}
    url = server.url("/logout", NAME)
    got = Outbound(LOCAL).post(url, b"logout_token=x", "application/x-www-form-urlencoded", headers=headers)
    assert (got.status, got.media_type, got.body) == (400, "text/plain", b"no")
    assert server.requests[0].endswith(b"\r\n\r\nlogout_token=x")
    assert b"Authorization: Bearer x\r\n" in server.requests[0]
    server.behave = endless(HEAD + b"\r\n", b"x" * 1000)
    got = Outbound(LOCAL).post(url, b"", "application/json", most_bytes=0)
    assert (got.status, got.body) == (200, b"")


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1", "http://localhost", "http://[::1]", "http://0.0.0.1", "http://keys.example.org/"),
        *("file:///etc/passwd", "gopher://x/", "ftp://x/", "data:text/plain,x", "javascript:x", "//x/", "x", ""),
        *("https://user@keys.example.org/", "https://u:p@keys.example.org/", "https://", "https:///x", "HTTPS//x"),
        *("https://keys.example.org:22/", "https://keys.example.org:25/", "https://keys.example.org:6379/"),
        *("https://keys.example.org:0/", "https://keys.example.org:99999/", "https://keys.example.org:x/"),
        *("https://[::1", "https://k\r\nHost: x/", "https://k /", "https://k\\x/", "https://ké/", "https://k/#x"),
        "https://k/" + "x" * 2000,
    ],
)
def test_an_address_that_is_not_for_the_web_is_never_resolved(make_app: MakeApp, url: str) -> None:
    """Only https, no user name, web ports, characters of a URL; the same with a good address would be resolved."""
    make_app()
    asked: list[str] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ()

    assert detail_of(url, resolve) in ("malformed address", "no https address", "a port that is not for the web")
    assert asked == []
    assert detail_of("https://keys.example.org:8443/", resolve) == "the host has no address"
    assert asked == ["keys.example.org"]


PRIVATE = [
    *("127.0.0.1", "127.1.2.3", "0.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254"),
    *("192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.0.1"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::ffff:0:127.0.0.1"),
    *("2002:7f00:1::", "2002:a9fe:a9fe::", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "2001:0:7f00:1::"),
    *("", "localhost", "0177.0.0.1"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_host_with_an_address_that_is_not_public_is_not_connected_to(
    make_app: MakeApp, pem: Path, address: str
) -> None:
    """Nor when a public one stands beside it (SS-02); a server that listens sees no connection."""
    make_app(outbound_ca_file=str(pem))
    assert not destination.is_public(address)
    with web_server.running(as_json({}), pem) as server:
        for found in ([address], [PUBLIC, address], [address, PUBLIC]):
            assert detail_of(server.url("/", NAME), always(*found)) == "an address that is not public"
        assert server.connections == 0


@pytest.mark.parametrize("address", [PUBLIC, "2606:4700::1111", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"])
def test_a_public_address_is_one(address: str) -> None:
    """The twin of what is refused; a mapped or translated one is judged by what it leads to."""
    assert destination.is_public(address)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "0", "0x7f000001", "2130706433", "0177.1", "127.1", "[::1]", "[::ffff:127.0.0.1]"],
)
def test_however_this_machine_is_spelt_it_is_not_connected_to(make_app: MakeApp, pem: Path, host: str) -> None:
    """With the system's own resolver: what counts is where a name leads."""
    make_app(outbound_ca_file=str(pem))
    with web_server.running(as_json({}), pem) as server:
        with pytest.raises(Unreachable) as refused:
            outbound.fetch_json(server.url("/", host))
        assert refused.value.detail in ("an address that is not public", "the host is unknown")
        assert server.connections == 0


def test_a_name_that_changes_its_mind_is_asked_once(serve: Callable[[Behave], WebServer]) -> None:
    """Whatever it says the second time (DNS rebinding), the connection goes to what was checked."""
    answers = iter([("127.0.0.1",), ("10.0.0.1",)])
    server = serve(as_json({"a": 1}))
    found = Outbound(lambda _host, _port: next(answers)).fetch_json(server.url("/", NAME))
    assert found.value == {"a": 1}
    assert next(answers) == ("10.0.0.1",)


def test_another_address_is_tried_when_one_does_not_answer(serve: Callable[[Behave], WebServer]) -> None:
    """Nobody listens on the first."""
    server = serve(as_json({"a": 1}))
    assert Outbound(always("127.0.0.2", "127.0.0.1")).fetch_json(server.url("/", NAME)).value == {"a": 1}


@pytest.mark.parametrize("allowed", ["127.0.0.1", "127.0.0.1:{port}"])
def test_a_host_that_the_operator_names_may_be_anywhere(make_app: MakeApp, pem: Path, allowed: str) -> None:
    """With or without its port; with another port it is refused."""
    with web_server.running(as_json({"a": 1}), pem) as server:
        make_app(outbound_ca_file=str(pem), outbound_allow_hosts=(allowed.format(port=server.port),))
        assert outbound.fetch_json(server.url()).value == {"a": 1}
        make_app(outbound_ca_file=str(pem), outbound_allow_hosts=("127.0.0.1:1", "localhost"))
        assert detail_of(server.url()) == "an address that is not public"


def test_plain_http_is_for_named_hosts_of_a_loopback_issuer(make_app: MakeApp) -> None:
    """Neither for others nor for a server in earnest."""
    with web_server.running(as_json({"a": 1})) as server:
        make_app(outbound_allow_hosts=("127.0.0.1",))
        assert outbound.fetch_json(server.url()).value == {"a": 1}
        make_app()
        assert detail_of(server.url()) == "no https address"
        make_app(outbound_allow_hosts=("127.0.0.1",), issuer="https://id.example.org")
        assert detail_of(server.url()) == "no https address"
        assert server.connections == 1


def test_a_certificate_must_be_trusted_and_of_the_name(make_app: MakeApp, serve: Callable[[Behave], WebServer]) -> None:
    """One of our own CA is taken only where OUTBOUND_CA_FILE says so, and only for its name."""
    server = serve(as_json({}))
    assert Outbound(LOCAL).fetch_json(server.url("/", NAME)).value == {}
    make_app(outbound_allow_hosts=(NAME,))
    assert detail_of(server.url("/", NAME)) == "no connection, or a certificate that is not trusted"
    assert len(server.requests) == 1


def test_a_certificate_of_another_name_is_refused(make_app: MakeApp, pem: Path) -> None:
    """Though its authority is trusted."""
    make_app(outbound_ca_file=str(pem), outbound_allow_hosts=("other.example.org", NAME))
    with web_server.running(as_json({}), pem) as server:
        assert "certificate" in detail_of(server.url("/", "other.example.org"))
        assert Outbound(LOCAL).fetch_json(server.url("/", NAME)).value == {}


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "303 See Other", "307 T", "308 P", "304 N"])
def test_no_redirect_is_followed(serve: Callable[[Behave], WebServer], status: str) -> None:
    """Neither by a fetch nor by a post (SS-03)."""
    server = serve(answer(b"", status, Location="/elsewhere"))
    url = server.url("/", NAME)
    assert detail_of(url) == "a redirect, which is not followed"
    with pytest.raises(Unreachable, match="redirect"):
        Outbound(LOCAL).post(url, b"", "application/json", most_bytes=0)
    assert server.connections == 2


@pytest.mark.parametrize(
    ("behave", "detail"),
    [
        (answer(b"{}", "404 Not Found"), "the answer is not 200"),
        (answer(b"{}", "500 Oh"), "the answer is not 200"),
        (answer(b"{}", "204 No Content"), "the answer is not 200"),
        (answer(b"{}", content_type="text/html"), "another content type than expected"),
        (answer(b"{}", content_type="application/jsonp"), "another content type than expected"),
        (answer(b"{}", content_type=""), "another content type than expected"),
        (answer(b"{", content_type="application/json; charset=utf-8"), "the answer is no JSON"),
        (answer(b'"\xff"'), "the answer is no JSON"),
        (answer(b"[" * 60_000), "the answer is no JSON"),
        (answer(b""), "the answer is no JSON"),
        (answer(gzip.compress(b"{}"), **GZIP), "a compressed answer, which was not asked for"),
        (answer(gzip.compress(b" " * 30_000_000), **GZIP), "a compressed answer, which was not asked for"),
        (answer(b" " * (outbound.LARGEST + 1)), "the answer is too large"),
        (endless(HEAD + b"\r\n", b" " * 10_000), "the answer is too large"),
        (
            endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"3e8\r\n" + b" " * 1000 + b"\r\n"),
            "the answer is too large",
        ),
        (endless(HEAD, b"X-More: " + b"x" * 1000 + b"\r\n"), "the connection broke, or the answer is malformed"),
        (lambda send: send(b"SSH-2.0-x\r\n"), "the connection broke, or the answer is malformed"),
        (lambda send: send(HEAD + b"Content-Length: 9\r\n\r\n{}"), "the connection broke, or the answer is malformed"),
        (lambda send: None, "the connection broke, or the answer is malformed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_that_is_not_the_wanted_document(
    serve: Callable[[Behave], WebServer], behave: Behave, detail: str
) -> None:
    """Status, type, size, form: the cause is told in fixed words."""
    server = serve(behave)
    assert detail_of(server.url("/", NAME)) == detail


@pytest.mark.parametrize(
    "behave",
    [answer(gzip.compress(b" " * 30_000_000), **GZIP), endless(HEAD + b"\r\n", b" " * 50_000)],
    ids=["compressed", "endless"],
)
def test_memory_stays_flat_whatever_is_sent(serve: Callable[[Behave], WebServer], behave: Behave) -> None:
    """What unpacks to 30 MB is not unpacked, and what never ends is not read to the end (SS-04)."""
    url = serve(behave).url("/", NAME)
    detail_of(url)
    tracemalloc.start()
    try:
        detail_of(url)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_a_body_of_just_the_limit_is_taken(serve: Callable[[Behave], WebServer]) -> None:
    """One byte more is refused above; the caller may say less."""
    server = serve(answer(b" " * (outbound.LARGEST - 2) + b"{}", content_type="application/jwk-set+json"))
    url = server.url("/", NAME)
    assert Outbound(LOCAL).fetch_json(url).value == {}
    with pytest.raises(Unreachable, match="too large"):
        Outbound(LOCAL).fetch_json(url, most_bytes=100)


@pytest.mark.parametrize(
    "behave",
    [
        web_server.silent,
        endless(b"HTTP/1.1 200 OK\r\n", b"X-More: x\r\n", 0.05),
        endless(HEAD + b"\r\n", b" ", 0.05),
        endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", 0.05),
    ],
    ids=["nothing", "headers in drops", "a body in drops", "chunks in drops"],
)
def test_a_slow_server_gets_the_time_and_no_more(serve: Callable[[Behave], WebServer], behave: Behave) -> None:
    """One limit for the whole: a byte now and then wins no time."""
    server = serve(behave)
    begun = time.monotonic()
    assert detail_of(server.url("/", NAME), seconds=0.6) == "it took too long"
    assert 0.5 < time.monotonic() - begun < 3


def test_a_handshake_that_does_not_come_gets_the_time_and_no_more(make_app: MakeApp) -> None:
    """The server takes the connection and says nothing."""
    make_app(outbound_allow_hosts=("127.0.0.1",))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        begun = time.monotonic()
        assert detail_of(f"https://127.0.0.1:{listener.getsockname()[1]}/", seconds=0.5) == "it took too long"
        assert time.monotonic() - begun < 3


def test_a_name_server_gets_the_time_and_no_more(make_app: MakeApp) -> None:
    """Resolving counts too; a name without address or with none at all is told."""
    make_app()

    def slow(_host: str, _port: int) -> Sequence[str]:
        time.sleep(1.5)
        return [PUBLIC]

    def unknown(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror(-2, "Name or service not known")

    begun = time.monotonic()
    assert detail_of(f"https://{NAME}/", slow, 0.3) == "resolving took too long"
    assert time.monotonic() - begun < 1.2
    assert detail_of(f"https://{NAME}/", unknown) == "the host is unknown"
    assert detail_of(f"https://{NAME}/", always()) == "the host has no address"


def test_the_environment_says_nothing(
    serve: Callable[[Behave], WebServer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No proxy and no authority of the environment is believed."""
    server = serve(as_json({"a": 1}))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    assert Outbound(LOCAL).fetch_json(server.url("/", NAME)).value == {"a": 1}


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("max-age=60", 60),
        ("public, MAX-AGE=60, immutable", 60),
        ('max-age="60"', 60),
        ("no-store", 0),
        ("max-age=60, no-cache", 0),
        ("private", None),
        ("s-maxage=60", None),
        ("max-age=-1", None),
        ("max-age=" + "9" * 50, None),
    ],
)
def test_how_long_an_answer_may_be_kept(said: str, kept: int | None) -> None:
    """RFC 9111 §5.2.2, as far as a cache of our own needs it."""
    found = outbound.Response(200, {"cache-control": said}, b"").max_age
    assert found == (None if kept is None else timedelta(seconds=kept))
