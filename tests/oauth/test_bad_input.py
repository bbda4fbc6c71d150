"""What bad input gets, in any field of any endpoint: a 4xx in its own format, nothing written, never a crash."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from auth_server.clients.client import Client
from auth_server.clients.metadata import DEVICE_CODE, TOKEN_EXCHANGE
from tests.support import asserts, exchange, factories
from tests.support.browser import Browser, Page
from tests.support.device import PATH as DEVICE
from tests.support.device import Device, client_of, decide, enter
from tests.support.rp import RelyingParty, basic, challenge_of

FORM = "application/x-www-form-urlencoded"
NASTY: tuple[str | bytes, ...] = (
    *('"', "'", "\\", "`", "é", "日本語 🙂", "\x00", "a\x00b", b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", "\ufffd"),
    *("x" * 10_000, "é" * 5_000, "<script>alert(1)</script>", "%", "%00", "%zz", "\r\nX-Evil: y", "\u202e", " ", "\t"),
    *("' OR '1'='1", "{{7*7}}", "${7*7}", "../../etc/passwd", "[]", "{}", "null", "-1", "1e400", "9" * 400, "true"),
    *("{" * 2000, "a" * 300 + ".b.c", ".." * 50, "file:///etc/passwd", "javascript:alert(1)", "\x1b[31m", "\ud7ff"),
)  # fmt: skip
AUTHORIZE = (
    *("client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce", "code_challenge"),
    *("code_challenge_method", "prompt", "max_age", "login_hint", "id_token_hint", "ui_locales", "acr_values"),
    *("resource", "request", "request_uri", "registration", "claims", "display", "authorization_details", "flow"),
)
TOKEN = (
    *("grant_type", "code", "redirect_uri", "code_verifier", "refresh_token", "scope", "resource", "audience"),
    *("client_id", "client_secret", "client_assertion", "client_assertion_type", "username", "password", "nonsense"),
    "device_code",
)
MACHINE = ("/oauth/token", "/oauth/revoke", "/oauth/introspect", "/oauth/par", DEVICE)
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def form(fields: dict[str, Any]) -> Any:
    """Encode a form; bytes stay what they are."""
    return urlencode(fields, doseq=True).encode()


def is_page_or_redirect(answer: TestResponse) -> None:
    """A person's endpoint answers with one of our pages or a redirect, and never breaks a header."""
    assert answer.status_code in (200, 302, 303, 400, 401, 403, 404, 405, 413, 414, 421, 429), answer.status_code
    assert "X-Evil" not in answer.headers
    if answer.status_code not in (302, 303):
        assert Page(answer.text).marker != "", answer.text[:200]
        assert answer.content_type == "text/html; charset=utf-8"
        assert "<script>alert" not in answer.text


def is_json_refusal(answer: TestResponse) -> None:
    """A machine's endpoint answers with the RFC's JSON; nothing of the request is in it."""
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text)
    asserts.is_oauth_error(answer, answer.json["error"], answer.status_code)
    description = answer.json.get("error_description", "")
    assert description.isascii()
    assert not set('"\\<>') & set(description)


@pytest.fixture
def quiet(rp: RelyingParty) -> Iterator[Callable[[], None]]:
    """Return a check that nothing has been written since, but for what is audited and requests that wait."""
    before = asserts.rows(rp.app)

    def check() -> None:
        after = asserts.rows(rp.app)
        for table in before:
            if table not in ("authorization_request", "session", "known_browser", "limit_bucket"):
                assert after[table] == before[table], table

    return check


@pytest.mark.parametrize("name", AUTHORIZE)
def test_any_value_of_an_authorization_parameter(rp: RelyingParty, quiet: Callable[[], None], name: str) -> None:
    """Quotes, backslashes, NUL, invalid UTF-8, 10 kB, by GET and POST."""
    stored = 0
    for value in NASTY:
        fields = {**rp.request(), name: value}
        for answer in (
            rp.browser.get("/oauth/authorize?" + form(fields).decode()),
            rp.browser.post("/oauth/authorize", form(fields), content_type=FORM),
        ):
            is_page_or_redirect(answer)
            location = answer.headers.get("Location", "")
            stored += location.startswith(("/login", "/oauth/authorize?flow="))
            assert location.startswith(
                ("https://wiki.example.org/callback?error=", "/login?", "/oauth/authorize?flow=", "")
            )
    assert len(asserts.rows(rp.app)["authorization_request"]) == stored
    quiet()


@pytest.mark.parametrize("name", [*AUTHORIZE, "client_secret", "client_assertion", "client_assertion_type", "nonsense"])
def test_any_value_of_a_pushed_parameter(rp: RelyingParty, quiet: Callable[[], None], name: str) -> None:
    """Refused as JSON, or taken and then shown as a page like any other request; the same beside a reference."""
    pushed = 0
    for value in NASTY:
        headers = {} if name in ("client_id", "client_secret") else basic(rp.client.client_id, rp.secret)
        fields = {**rp.request(), name: value}
        answer = rp.machine.post("/oauth/par", data=form(fields), content_type=FORM, headers=headers)
        if answer.status_code == 201:
            pushed += 1
            is_page_or_redirect(rp.bring(answer.json["request_uri"]))
        else:
            is_json_refusal(answer)
        beside = {"client_id": rp.client.client_id, "request_uri": rp.reference(), name: value}
        is_page_or_redirect(rp.browser.get("/oauth/authorize?" + form(beside).decode()))
    assert len(asserts.rows(rp.app)["authorization_request"]) >= pushed + len(NASTY)
    quiet()


@pytest.mark.parametrize("grant", ["authorization_code", "refresh_token", "client_credentials", DEVICE_CODE])
def test_any_value_of_a_token_parameter(rp: RelyingParty, grant: str) -> None:
    """Refused as JSON where it matters, ignored where it does not; refusals write nothing."""
    factories.api(rp.app)
    scope = "openid email orders:read"
    client, secret = factories.client(rp.app, scope=scope, grant_types=[grant, "authorization_code", "refresh_token"])
    proofs: dict[str, dict[str, str]] = {
        "authorization_code": {"code": "x", "code_verifier": rp.verifier},
        "refresh_token": {"refresh_token": "x"},
        "client_credentials": {},
        DEVICE_CODE: {"device_code": "x"},
    }
    if grant == "client_credentials":  # a service's first token takes its place in the status list
        good = form({"grant_type": grant})
        rp.machine.post("/oauth/token", data=good, content_type=FORM, headers=basic(client.client_id, secret))
    before = asserts.rows(rp.app)
    for name in TOKEN:
        headers = {} if name in ("client_id", "client_secret") else basic(client.client_id, secret)
        for value in NASTY:
            fields = {"grant_type": grant, **proofs[grant], name: value}
            answer = rp.machine.post("/oauth/token", data=form(fields), content_type=FORM, headers=headers)
            if answer.status_code != 200:
                is_json_refusal(answer)
    assert asserts.rows(rp.app) == before


EXCHANGE = (
    *("subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type"),
    *("resource", "audience", "scope", "client_id", "client_secret", "nonsense"),
)


@pytest.mark.parametrize("name", EXCHANGE)
def test_any_value_of_an_exchange(app: Flask, browser: Browser, name: str) -> None:
    """Beside an otherwise right request: refused as JSON without a row, or, where nobody looks, answered."""
    subject = exchange.token(exchange.shop(app, browser))
    backend = exchange.service(app)
    exchange.rule(app)
    about = {"grant_type": TOKEN_EXCHANGE, "subject_token": subject, "subject_token_type": exchange.ACCESS_TOKEN}
    if name == "actor_token":
        about["actor_token_type"] = exchange.ACCESS_TOKEN
    machine = app.test_client(use_cookies=False)
    for value in NASTY:
        before = asserts.rows(app)
        fields = {**about, "resource": exchange.FILES, name: value}
        headers = {} if name in ("client_id", "client_secret") else basic(backend.client.client_id, backend.secret)
        answer = machine.post("/oauth/token", data=form(fields), content_type=FORM, headers=headers)
        if answer.status_code != 200:
            is_json_refusal(answer)
            assert asserts.rows(app) == before
        else:
            assert name == "nonsense" or not value
    assert backend.exchange(subject).status_code == 200


SPENDING = (
    *(
        "code_verifier does not match",
        "code_verifier is missing",
        "redirect_uri differs from the authorization request",
    ),
    "code_verifier is malformed: 43 to 128 characters of A-Z a-z 0-9 - . _ ~",
)
"""The refusals that spend the code they came with."""


def test_any_value_beside_a_right_code(rp: RelyingParty) -> None:
    """With a code that could be redeemed: what does not spend it leaves it good."""
    rp.walk()
    for name in ("redirect_uri", "code_verifier", "scope", "resource", "audience", "nonsense"):
        for value in NASTY[::3]:
            code = rp.code()
            answer = rp.token(
                **{"grant_type": "authorization_code", "code": code, "code_verifier": rp.verifier, name: value}
            )
            if answer.status_code != 200:
                is_json_refusal(answer)
            if answer.status_code != 200 and answer.json["error_description"] not in SPENDING:
                assert rp.exchange(code).status_code == 200, (name, value)


@pytest.mark.parametrize("path", ["/oauth/revoke", "/oauth/introspect"])
def test_any_value_of_a_revocation_or_introspection_parameter(
    rp: RelyingParty, quiet: Callable[[], None], path: str
) -> None:
    """Unknown tokens are answered as unknown; what is no value is refused."""
    for name in ("token", "token_type_hint", "client_id", "client_secret", "client_assertion", "nonsense"):
        for value in NASTY:
            headers = {} if name in ("client_id", "client_secret") else basic(rp.client.client_id, rp.secret)
            answer = rp.machine.post(path, data=form({"token": "x", name: value}), content_type=FORM, headers=headers)
            if answer.status_code == 200:
                assert answer.data in (b"", b'{"active":false}')
            else:
                is_json_refusal(answer)
    quiet()


def test_any_value_of_a_device_authorization_parameter(rp: RelyingParty) -> None:
    """Refused as JSON, or codes as for a right request; a refusal makes no row."""
    client, secret = factories.client(rp.app, grant_types=[DEVICE_CODE], redirect_uris=[])
    for name in ("scope", "resource", "client_id", "client_secret", "client_assertion", "user_code", "nonsense"):
        headers = {} if name in ("client_id", "client_secret") else basic(client.client_id, secret)
        for value in NASTY:
            before = len(asserts.rows(rp.app)["device_grant"])
            answer = rp.machine.post(DEVICE, data=form({name: value}), content_type=FORM, headers=headers)
            if answer.status_code != 200:
                is_json_refusal(answer)
            assert len(asserts.rows(rp.app)["device_grant"]) == before + (answer.status_code == 200), (name, value)


def test_any_value_of_a_devices_form(make_app: Callable[..., Flask]) -> None:
    """A page of ours, and nothing is decided; the right code then still counts. The guess limit is off."""
    app = make_app(login_rate_limit=None)
    factories.person(app, roles=["administrator"])
    device = Device(app, *client_of(app)).started()
    browser = Browser(app)
    page = enter(browser, device.user_code)
    right = {**Page(asserts.is_page(page, "consent").text).inputs, "decision": "unknown"}
    for name in ("user_code", "decision", "scope", "csrf_token", "kept"):
        for value in NASTY:
            for path in ("/device", "/device/confirm"):
                is_page_or_redirect(browser.post(path, form({**right, name: value}), content_type=FORM))
                is_page_or_redirect(browser.get(f"{path}?" + form({name: value}).decode()))
    asserts.is_oauth_error(device.poll(), "authorization_pending")
    assert decide(browser, page).status_code == 200
    assert device.poll().status_code == 200


def test_any_bearer_token(rp: RelyingParty, quiet: Callable[[], None]) -> None:
    """In header or form: 401, or 400 where it comes twice."""
    for value in NASTY:
        answers = [rp.machine.post("/oauth/userinfo", data=form({"access_token": value}), content_type=FORM)]
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        if not set(text) & set("\r\n"):
            header = "Bearer " + text.encode().decode("latin-1")
            answers.append(rp.machine.get("/oauth/userinfo", headers={"Authorization": header}))
        for answer in answers:
            is_json_refusal(answer)
    quiet()


@pytest.mark.parametrize("name", ["email", "password", "next", "csrf_token", "remember", "decision", "flow"])
def test_any_value_of_a_login_field(make_app: Callable[..., Flask], name: str) -> None:
    """A page, and nobody is signed in; the guess limit would answer first, so it is off."""
    app = make_app(login_rate_limit=None)
    factories.person(app, roles=["administrator"])
    browser = Browser(app)
    fields = {"email": "ada@example.org", "password": "wrong " * 4, **Page(browser.get("/login").text).inputs}
    for value in NASTY:
        is_page_or_redirect(browser.post("/login", form({**fields, name: value}), content_type=FORM))
        is_page_or_redirect(browser.get("/login?" + form({name: value}).decode()))
    assert asserts.rows(app)["session"] == []
    assert browser.sign_in().status_code == 303


@pytest.mark.parametrize("name", ["decision", "scope", "csrf_token", "flow", "client_id", "state"])
def test_any_value_of_a_consent_field(rp: RelyingParty, name: str) -> None:
    """A page, and no code; the right answer then still counts."""
    rp.browser.sign_in()
    consent = rp.browser.follow(rp.authorize())
    path = consent.request.full_path
    fields = {**Page(asserts.is_page(consent, "consent").text).inputs, "decision": "unknown"}
    for value in NASTY:
        is_page_or_redirect(rp.browser.post(path, form({**fields, name: value}), content_type=FORM))
        is_page_or_redirect(rp.browser.get("/oauth/authorize?" + form({"flow": value, name: value}).decode()))
    assert asserts.events_of(rp.app, "code.issued") == []
    assert "code=" in rp.browser.follow(rp.browser.submit(consent, path, decision="allow")).headers["Location"]


@pytest.mark.parametrize("path", [*MACHINE, "/oauth/userinfo"])
def test_wrong_content_types(rp: RelyingParty, quiet: Callable[[], None], path: str) -> None:
    """JSON, XML, multipart right and broken, charsets: JSON 4xx, or an answer where the type does not matter."""
    fields = {"grant_type": "client_credentials", "token": "x", "access_token": "x"}
    boundary = "multipart/form-data; boundary=b"
    part = b'--b\r\nContent-Disposition: form-data; name="token"\r\n\r\nx\r\n--b--\r\n'
    bodies: list[tuple[str, bytes]] = [
        ("application/json", json.dumps(fields).encode()),
        ("application/json", b"[1, 2"),
        ("text/xml", b"<token/>"),
        (boundary, part),
        (boundary, part[:40]),
        (boundary, b"x" * 2000),
        ("multipart/form-data", part),
        (FORM + "; charset=utf-16", form(fields)),
        (FORM + "; charset=nonsense", form(fields)),
        (FORM, b"\xff\xfe\x00"),
        (FORM, b"&&&===;;;%"),
        (FORM, b"=&=&=x"),
        (FORM, b"grant_type=%ff&token=%c3%28"),
        ("", form(fields)),
        ("x", form(fields)),
        ('"; boundary="', form(fields)),
        (FORM, b"token[]=x&token[a]=y&grant_type[]=z"),
    ]
    for content_type, body in bodies:
        for headers in ({}, basic(rp.client.client_id, rp.secret)):
            answer = rp.machine.post(path, data=body, content_type=content_type, headers=headers)
            is_json_refusal(answer) if answer.status_code != 200 else None
            assert answer.status_code < 500
    quiet()


@pytest.mark.parametrize("path", [*MACHINE, "/oauth/userinfo", "/.well-known/jwks.json"])
def test_matrix_parameters_and_odd_paths_are_other_paths(rp: RelyingParty, path: str) -> None:
    """`;x=1`, doubled slashes, dots and letters in another case reach no endpoint (CVE-2026-0976)."""
    issuer = "http://localhost:8421"
    for odd in (";x=1", "/", "/x", "%00", "%2e", "/..;/x", "%ff", ".json"):
        assert rp.machine.get(path + odd, base_url=issuer).status_code == 404, odd
        posted = rp.machine.post(path + odd, data={"token": "x"}, base_url=issuer)
        assert posted.status_code in (403, 404), odd  # outside the machine's paths a form needs its CSRF token first
    assert rp.machine.get(path.upper(), base_url=issuer).status_code == 404
    assert rp.machine.get(path, base_url=issuer).status_code in (200, 401, 405)


def test_a_plain_connection_behind_a_proxy_is_no_crash(make_app: Callable[..., Flask]) -> None:
    """TLS ends at the proxy: what arrives is http under any host."""
    app = make_app(issuer="https://auth.example.org")
    factories.person(app, roles=["administrator"])
    client, secret = factories.service(app)
    machine = app.test_client(use_cookies=False)
    for base_url in ("http://auth.example.org", "http://10.0.0.5:8421", "https://auth.example.org"):
        fields = {"grant_type": "client_credentials"}
        answer = machine.post("/oauth/token", data=fields, headers=basic(client.client_id, secret), base_url=base_url)
        assert answer.status_code == 200
    page = machine.get("/oauth/authorize?client_id=x", base_url="http://auth.example.org")
    asserts.is_error_page(page, "unknown_client")


@pytest.mark.parametrize("name", ["Cookie", "Accept-Language", "User-Agent", "X-Forwarded-For", "Origin", "Referer"])
def test_any_header(rp: RelyingParty, name: str) -> None:
    """Headers are read as carefully as fields."""
    for value in NASTY:
        text = (value if isinstance(value, bytes) else value.encode()).decode("latin-1")
        if set(text) & set("\r\n\x00"):
            continue
        headers = {name: f"auth_server={text}; auth_server_browser={text}" if name == "Cookie" else text}
        is_page_or_redirect(rp.browser.get("/oauth/authorize", headers=headers))
        is_page_or_redirect(rp.browser.get("/login", headers=headers))
        assert rp.machine.get("/.well-known/jwks.json", headers={**headers, "If-None-Match": text}).status_code in (
            200,
            304,
        )
        assert rp.machine.post("/oauth/token", data={"a": "b"}, headers=headers).status_code == 400


names = st.sampled_from([*AUTHORIZE, *TOKEN, "token", "token_type_hint", "access_token"]) | st.text(max_size=8)
values = st.sampled_from(NASTY) | st.text(max_size=40) | st.binary(max_size=40)
pairs = st.lists(st.tuples(names, values), max_size=8)
raw = pairs.map(lambda found: urlencode(found).encode()) | st.binary(max_size=200)


@QUICK
@given(path=st.sampled_from([*MACHINE, "/oauth/userinfo"]), body=raw, query=raw, proved=st.booleans())
def test_any_body_and_query_at_machine_endpoints(
    fuzzed: tuple[Flask, Client, str], path: str, body: bytes, query: bytes, proved: bool
) -> None:
    """Whatever bytes arrive: success in the endpoint's form or a JSON refusal."""
    app, client, secret = fuzzed
    machine = app.test_client(use_cookies=False)
    headers = basic(client.client_id, secret) if proved else {}
    address = path + "?" + quote(query, safe="&=%")
    answer = machine.post(address, data=body, content_type=FORM, headers=headers)
    if answer.status_code not in (200, 201):
        is_json_refusal(answer)


@QUICK
@given(fields=pairs, by_post=st.booleans(), kept=st.sets(st.sampled_from(["client_id", "redirect_uri", "state"])))
def test_any_authorization_request(
    fuzzed: tuple[Flask, Client, str], fields: list[tuple[str, str | bytes]], by_post: bool, kept: set[str]
) -> None:
    """A page, the login page or a redirect to the registered address, with `iss`."""
    app, client, _secret = fuzzed
    browser = Browser(app)
    right = {
        "client_id": client.client_id, "redirect_uri": client.redirect_uris[0], "state": "s", "response_type": "code",
        "code_challenge": challenge_of("v" * 43), "code_challenge_method": "S256",
    }  # fmt: skip
    sent = urlencode([*((name, value) for name, value in right.items() if name in kept), *fields])
    if by_post:
        answer = browser.post("/oauth/authorize", sent, content_type=FORM)
    else:
        answer = browser.get("/oauth/authorize?" + sent)
    is_page_or_redirect(answer)
    location = answer.headers.get("Location", "/")
    assert location.startswith("/") or location.startswith(client.redirect_uris[0] + "?")
    if not location.startswith("/"):
        assert "iss=http%3A%2F%2Flocalhost%3A8421" in location


@QUICK
@given(header=st.binary(max_size=80) | st.binary(max_size=60).map(lambda text: b"Basic " + text))
def test_any_authorization_header(fuzzed: tuple[Flask, Client, str], header: bytes) -> None:
    """At every endpoint that reads one."""
    text = header.decode("latin-1").translate(dict.fromkeys(range(32), " "))
    machine = fuzzed[0].test_client(use_cookies=False)
    for path in (*MACHINE, "/oauth/userinfo"):
        fields = {"grant_type": "client_credentials", "token": "x"}
        is_json_refusal(machine.post(path, data=fields, headers={"Authorization": text}))


@pytest.fixture
def fuzzed(app: Flask, ada: object) -> tuple[Flask, Client, str]:
    """Return an application with a person and a client that may do everything; examples share it."""
    factories.api(app)
    grants = ["authorization_code", "refresh_token", "client_credentials", DEVICE_CODE]
    client, secret = factories.client(app, grant_types=grants, scope="openid email orders:read")
    return app, client, secret
