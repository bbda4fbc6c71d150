"""The document of a client: its address, what may stand in it, how it is fetched, how long it counts (b.13, b.27)."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from auth_server.clients import documents
from auth_server.values import Rate
from tests.support import asserts, described
from tests.support.assertion import signer
from tests.support.browser import Browser
from tests.support.described import HOST, Publisher
from tests.support.site import at_once
from tests.support.web_server import Behave, Send, answer, endless

Travel = Callable[[timedelta], None]
MakeApp = Callable[..., Flask]
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
DISCOVERY = "/.well-known/oauth-authorization-server"
FLAG = "client_id_metadata_document_supported"
ARRIVED_NOT = "did not arrive"


@pytest.fixture
def wiki(make_app: MakeApp, tmp_path: Path) -> Iterator[Publisher]:
    with described.published(make_app, tmp_path) as found:
        yield found


def refused(wiki: Publisher, **changed: Any) -> str:
    """Return the text of the page that refuses a document."""
    page = asserts.is_error_page(wiki.begin(**changed), "invalid_client_metadata")
    assert wiki.client() is None
    return page.text


@pytest.mark.parametrize(
    "client_id",
    [
        *(
            "http://wiki.example.org/c",
            "https://wiki.example.org",
            "https://wiki.example.org/",
            "HTTPS://wiki.example/c",
        ),
        *("https://wiki.example.org/c#x", "https://wiki.example.org/c?a=b", "https://user@wiki.example.org/c"),
        *("https://user:secret@wiki.example.org/c", "https://wiki.example.org/../c", "https://wiki.example.org/./c"),
        *("https://wiki.example.org/a/..", "https://wiki.example.org/%2e%2e/c", "https://wiki.example.org\\c/x"),
        *("https://Wiki.example.org/c", "https://wiki.example.org./c", "https://wiki.example.org:/c"),
        *("https://wiki.example.org:0443/c", "https://wiki.exämple/c", "https://[::1]/c", "https:///c", "https://*/c"),
        *("https://wiki.example.org/c\n", "https://wiki.example.org/ c", "https://wiki.example.org/" + "c" * 255),
    ],
)
def test_an_address_of_another_form_is_unknown(wiki: Publisher, client_id: str) -> None:
    """https, a host in lower case, a path, no more (CM-01); the page says which form it must have."""
    page = asserts.is_error_page(wiki.begin(client_id=client_id), "unknown_client")
    if client_id.lower().startswith("https"):
        assert "client_id must be an https address" in page.text
    assert wiki.asked == 0
    assert wiki.begin().status_code == 303


def test_off_nobody_is_asked(make_app: MakeApp, tmp_path: Path) -> None:
    """The page and `invalid_client` say what to do, whoever the client is (CM-05); the metadata say nothing."""
    with described.published(make_app, tmp_path) as wiki:
        assert Browser(wiki.app).get(DISCOVERY).json[FLAG] is True
        rp = wiki.party()
        token = rp.tokens()["refresh_token"]
        asked = wiki.asked
        wiki.app = rp.app = make_app(client_id_metadata="off")
        advice = "client ID metadata documents are switched off here: ask the operator to register the app"
        assert advice in asserts.is_error_page(wiki.begin(), "unknown_client").text
        machine = wiki.app.test_client(use_cookies=False)
        form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": wiki.client_id}
        for refusal in (
            wiki.push(),
            machine.post("/oauth/token", data=form),
            machine.post("/oauth/token", data={**form, "client_id": "https://unknown.example.org/c"}),
        ):
            asserts.is_oauth_error(refusal, "invalid_client", 401)
            assert refusal.json["error_description"].startswith(advice)
        assert wiki.asked == asked
        assert FLAG not in Browser(wiki.app).get(DISCOVERY).json


@pytest.mark.parametrize(
    ("rules", "accepted"),
    [
        ((), False),
        ((HOST,), True),
        ((f"{HOST}:PORT",), True),
        ((f"{HOST}:1",), False),
        (("wiki.example.org",), False),
        (("wiki.example.org", HOST), True),
        (("*.0.0.1",), True),
        (("*.1",), True),
        (("*.0.1:1",), False),
        (("*.example.org",), False),
        ((f"!{HOST}",), False),
        ((HOST, f"!{HOST}:PORT"), False),
        ((HOST, "!wiki.example.org"), True),
    ],
)
def test_the_operator_says_whose_documents_count(
    make_app: MakeApp, tmp_path: Path, rules: tuple[str, ...], accepted: bool
) -> None:
    """By host, with or without port; what is exempt from the block of private addresses must be named expressly."""
    with described.published(make_app, tmp_path) as wiki:
        pem = str(tmp_path / "mail.pem")
        rules = tuple(rule.replace("PORT", str(wiki.server.port)) for rule in rules)
        wiki.app = make_app(outbound_ca_file=pem, outbound_allow_hosts=(HOST,), client_id_metadata_hosts=rules)
        if accepted:
            assert wiki.begin().status_code == 303
        else:
            text = asserts.is_error_page(wiki.begin(), "unknown_client").text
            assert "documents of this host are not accepted here" in text
        assert wiki.asked == int(accepted)


def test_a_host_that_is_refused_later_is_refused_at_every_step(make_app: MakeApp, tmp_path: Path) -> None:
    """The page that is open, the code that is held, the refresh token."""
    with described.published(make_app, tmp_path) as wiki:
        rp = wiki.party()
        tokens, begun = rp.tokens(), rp.authorize()
        wiki.app = rp.app = rp.browser.app = make_app(client_id_metadata_hosts=(f"!{HOST}",))
        rp.browser = rp.browser.at(wiki.app)
        rp.machine = wiki.app.test_client(use_cookies=False)
        asserts.is_error_page(rp.browser.follow(begun), "unknown_client")
        asserts.is_oauth_error(rp.refresh(tokens["refresh_token"]), "invalid_client", 401)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"client_id": "https://wiki.example.org/client.json"}, "client_id: must be the address of the document"),
        ({"client_id": None}, "client_id: must be the address of the document"),
        ({"client_id": ["x"]}, "client_id: must be the address of the document"),
        ({"client_name": None}, "client_name: is missing"),
        ({"client_name": 7}, "client_name: expected a text"),
        ({"client_name": "x" * 501}, "client_name: expected a text"),
        ({"redirect_uris": None}, "redirect_uris: is missing"),
        ({"redirect_uris": []}, "redirect_uris: is missing"),
        ({"redirect_uris": ["http://wiki.example.org/"]}, "redirect_uris: plain http is for localhost"),
        ({"redirect_uris": ["https://*.example.org/"]}, "redirect_uris: expected an absolute address"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "redirect_uris: "),
        ({"redirect_uris": "https://wiki.example.org/"}, "redirect_uris: expected a list"),
        ({"client_secret": "x"}, "client_secret: everybody can read this document"),
        ({"client_secret": None, "client_secret_expires_at": 0}, "client_secret_expires_at: everybody"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "possible are none, private_key_jwt"),
        ({"token_endpoint_auth_method": "client_secret_post"}, "possible are none, private_key_jwt"),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, "possible are none, private_key_jwt"),
        ({"token_endpoint_auth_method": "tls_client_auth"}, "possible are none, private_key_jwt"),
        ({"token_endpoint_auth_method": ["none"]}, "possible are none, private_key_jwt"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "jwks: private_key_jwt needs jwks or jwks_uri"),
        ({"token_endpoint_auth_signing_alg": "HS256"}, "token_endpoint_auth_signing_alg: not one of"),
        ({"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}}, "jwks: only public keys belong here"),
        ({"jwks": {"keys": [signer("ES256").jwk(d="AAAA")]}}, "jwks: only public keys belong here"),
        ({"jwks": {"keys": []}, "jwks_uri": "https://wiki.example.org/k"}, "jwks: give either the keys or jwks_uri"),
        ({"jwks_uri": "http://wiki.example.org/k"}, "jwks_uri: plain http"),
        ({"grant_types": ["client_credentials"]}, "grant_types: authorization_code must be among them"),
        ({"grant_types": []}, "grant_types: authorization_code must be among them"),
        ({"response_types": ["token"]}, "response_types: code must be among them"),
        ({"scope": ["openid"]}, "scope: expected scopes"),
        ({"backchannel_logout_uri": "http://10.0.0.1/"}, "backchannel_logout_uri: plain http"),
    ],
)
def test_what_is_wrong_is_said_by_its_name(wiki: Publisher, changed: dict[str, Any], says: str) -> None:
    """It is the developer's own document; nothing of it is kept, and the right one counts a minute later."""
    wiki.publish(**changed)
    assert says in refused(wiki)


def test_a_document_for_many_servers_is_understood(wiki: Publisher) -> None:
    """Grants, responses and members that we do not have are left out; a method is not needed."""
    wiki.publish(
        grant_types=["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code", "magic"],
        response_types=["code", "token"],
        token_endpoint_auth_method=None,
        application_type="native",
        software_statement="x.y.z",
        **{"client_name#de": "Wiki", "x": {"deep": [1, None]}, "logo_uri": "https://wiki.example.org/logo.png"},
    )
    client = wiki.party().client
    assert client.grant_types == {"authorization_code", "refresh_token"}
    assert client.is_public
    assert client.is_native
    assert client.require_pkce
    assert "x" not in client.details


BODIES: list[tuple[Behave, str]] = [
    (answer(b"[]"), "the document is no JSON object"),
    (answer(b'"x"'), "the document is no JSON object"),
    (answer(b"{"), "the document is no JSON object"),
    (answer(b""), "the document is no JSON object"),
    (answer(b"\xff\xfe"), "the document is no JSON object"),
    (answer(b'{"a": NaN}'), "the document is no JSON object"),
    (answer(b'{"client_name": "a", "client_name": "b"}'), "the document is no JSON object, or has a member twice"),
    (answer(b'{"x": ' + b"[" * 4000 + b"]" * 4000 + b"}"), "the document is no JSON object"),
    (answer(b"{}", content_type="text/html"), "its Content-Type is not application/json"),
    (answer(b"{}", content_type=""), "its Content-Type is not application/json"),
    (answer(b"", "404 Not Found"), "its status is not 200"),
    (answer(b"{}", "201 Created"), "its status is not 200"),
    (answer(b"", "302 Found", Location="http://169.254.169.254/"), "it redirects"),
    (answer(b"", "307 Temporary Redirect", Location="/other"), "it redirects"),
    (answer(gzip.compress(b"{}"), Content_Encoding="gzip"), "it is compressed"),
    (answer(json.dumps({"x": "y" * documents.LARGEST}).encode()), "it is larger than 10240 bytes"),
    (endless(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b" " * 1000), "it is larger than"),
    (lambda send: send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), ARRIVED_NOT),
]


@pytest.mark.parametrize(("behave", "says"), BODIES)
def test_what_is_no_document_is_refused(wiki: Publisher, behave: Behave, says: str) -> None:
    """Size, type, status, form (CM-02); no redirect is followed. What came is shown to nobody."""
    wiki.serve(behave)
    assert says in refused(wiki)
    assert wiki.asked == 1


def test_a_slow_document_is_waited_for_five_seconds(wiki: Publisher) -> None:
    """However it trickles in; the next request within the minute does not wait at all (SS-10)."""
    wiki.serve(endless(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", b" ", 0.2))
    begun = time.monotonic()
    assert ARRIVED_NOT in refused(wiki)
    assert 4 < time.monotonic() - begun < 15
    begun = time.monotonic()
    assert ARRIVED_NOT in refused(wiki)
    assert time.monotonic() - begun < 4
    assert wiki.asked == 1


def test_private_addresses_are_never_connected_to(make_app: MakeApp, tmp_path: Path) -> None:
    """And the page tells no more than that nothing came, whatever is there or not there (SS-02, SS-08)."""
    with described.published(make_app, tmp_path) as wiki:
        wiki.app = make_app(outbound_ca_file=str(tmp_path / "mail.pem"))
        texts = set()
        for host in (f"127.0.0.1:{wiki.server.port}", "127.0.0.1:2", "localhost", "10.0.0.1", "169.254.169.254", "0"):
            client_id = f"https://{host}/latest"
            page = asserts.is_error_page(wiki.begin(client_id=client_id), "invalid_client_metadata")
            assert "public" in page.text
            texts.add(page.text.partition("<dl")[2].partition("</dl>")[0].replace(client_id, ""))
        assert len(texts) == 1
        assert ARRIVED_NOT in texts.pop()
        assert wiki.asked == 0


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({}, HOUR),
        ({"Cache_Control": "max-age=1800"}, 30 * MINUTE),
        ({"Cache_Control": "no-store"}, 5 * MINUTE),
        ({"Cache_Control": "max-age=1"}, 5 * MINUTE),
        ({"Cache_Control": "public, max-age=99999999"}, DAY),
    ],
)
def test_a_document_counts_as_long_as_its_server_says(
    wiki: Publisher, in_a_while: Travel, said: dict[str, str], kept: timedelta
) -> None:
    """Within bounds: from five minutes to a day."""
    wiki.publish(headers=said)
    wiki.begin()
    in_a_while(kept - 5 * SECOND)
    assert wiki.begin().status_code == 303
    assert wiki.asked == 1
    in_a_while(10 * SECOND)
    assert wiki.begin().status_code == 303
    assert wiki.asked == 2
    assert wiki.begin().status_code == 303
    assert wiki.asked == 2
    assert asserts.events_of(wiki.app, "client.changed") == []


def test_what_was_no_document_is_asked_for_again_after_a_minute(wiki: Publisher, in_a_while: Travel) -> None:
    """Whoever mends the document waits no longer than that, and nobody makes us a hammer meanwhile (CM-04)."""
    wiki.publish(client_name=None)
    for _time in range(5):
        refused(wiki)
    assert wiki.asked == 1
    wiki.publish()
    refused(wiki)
    in_a_while(61 * SECOND)
    assert wiki.begin().status_code == 303
    assert wiki.asked == 2


def test_an_outage_is_bridged_for_a_day(wiki: Publisher, in_a_while: Travel) -> None:
    """A known document counts on while its server gives none, which is asked once a minute; then no more."""
    wiki.begin()
    wiki.fail()
    in_a_while(HOUR + MINUTE)
    for _time in range(5):
        assert wiki.begin().status_code == 303
    assert wiki.asked == 2
    in_a_while(2 * HOUR)
    assert wiki.begin().status_code == 303
    assert wiki.asked == 3
    in_a_while(DAY)
    asserts.is_error_page(wiki.begin(), "invalid_client_metadata")
    wiki.publish()
    in_a_while(2 * MINUTE)
    assert wiki.begin().status_code == 303


@pytest.mark.parametrize(
    "behave", [answer(b"", "404 Not Found"), answer(b"", "410 Gone"), answer(b"{}"), answer(b'{"client_id": "x"}')]
)
def test_a_document_that_is_taken_away_counts_at_once(wiki: Publisher, in_a_while: Travel, behave: Behave) -> None:
    """Gone, or describing no client any more, is the owner's word and no outage."""
    wiki.begin()
    wiki.serve(behave)
    in_a_while(HOUR + MINUTE)
    asserts.is_error_page(wiki.begin(), "invalid_client_metadata")
    wiki.publish()
    in_a_while(2 * MINUTE)
    assert wiki.begin().status_code == 303


def test_ten_at_once_read_it_once(wiki: Publisher) -> None:
    """A crowd that comes with an unknown client, by both doors, waits for one answer; there is one row."""
    good, ready = wiki.server.behave, 0.5

    def slowly(send: Send) -> None:
        time.sleep(ready)
        good(send)

    wiki.serve(slowly)
    acts = [*([lambda: wiki.begin().status_code] * 7), *([lambda: wiki.push().status_code] * 3)]
    assert at_once(*acts) == [303] * 7 + [201] * 3
    assert wiki.asked == 1
    assert len(asserts.events_of(wiki.app, "client.created")) == 1


def test_too_many_at_once_are_told_to_come_again(wiki: Publisher) -> None:
    """Documents that nobody sends do not take all the places there are: 429 with the time to wait, on both doors."""
    places = documents._MOST_WAITING
    taken = [documents._waiting.acquire(blocking=False) for _place in range(places)]
    try:
        assert all(taken)
        page = wiki.begin()
        asserts.is_error_page(page, "rate_limited", 429)
        assert int(page.headers["Retry-After"]) > 0
        pushed = wiki.push()
        asserts.is_oauth_error(pushed, "temporarily_unavailable", 429)
        assert int(pushed.headers["Retry-After"]) > 0
    finally:
        for _place in taken:
            documents._waiting.release()
    assert wiki.asked == 0
    assert wiki.begin().status_code == 303
    assert wiki.push().status_code == 201


def test_looks_at_unknown_addresses_are_limited_for_each_address(make_app: MakeApp, tmp_path: Path) -> None:
    """Both doors count together; who comes with a known client, or from elsewhere, is not concerned."""
    rate = Rate(3, timedelta(minutes=1))
    with described.published(make_app, tmp_path, create_rate_limit=rate) as wiki:
        names = [f"/app-{number}/client.json" for number in range(6)]

        def come(path: str, door: Callable[..., Any], **options: Any) -> int:
            wiki.path = path
            wiki.publish()
            return int(door(**options).status_code)

        assert come(names[0], wiki.begin) == 303
        assert come(names[1], wiki.begin) == 303
        assert come(names[2], wiki.push) == 201
        assert come(names[3], wiki.push) == 429
        assert come(names[3], wiki.begin) == 429
        assert wiki.asked == 3
        assert come(names[0], wiki.push) == 201
        elsewhere = Browser(wiki.app, "203.0.113.7")
        assert come(names[3], wiki.begin, browser=elsewhere) == 303
        assert wiki.asked == 4


def test_nothing_is_held_while_a_document_is_waited_for(wiki: Publisher) -> None:
    """Neither connection nor turn to write: others write meanwhile."""
    good = wiki.server.behave
    answers: list[int] = []

    def meanwhile(send: Send) -> None:
        answers.extend(Browser(wiki.app).sign_in().status_code for _time in range(3))
        good(send)

    wiki.serve(meanwhile)
    assert wiki.push().status_code == 201
    assert answers == [303] * 3
