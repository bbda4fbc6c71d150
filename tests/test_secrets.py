"""Nothing that a client ever saw is in the database, the log or the audit."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from auth_server import config
from auth_server.accounts import users
from auth_server.clients import client as clients
from auth_server.infra.log import setup_log
from auth_server.pages import recover, setup
from tests.conftest import SECRET_KEY
from tests.support import exchange, factories
from tests.support.browser import Browser, Page
from tests.support.database import dump, failing
from tests.support.device import Device, allow, client_of
from tests.support.rp import RelyingParty, answer_of, basic

CHOSEN = "chosen by hand: tr0ub4dor and 3 more"
RESET = "set anew: tr0ub4dor and 4 more"
WRONG = "mistyped: tr0ub4dor and 5 more"


class Seen:
    """Collects every secret that a person, a browser or an app gets to see."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {"the master secret": SECRET_KEY}

    def note(self, name: str, value: str | None) -> str:
        assert value, name
        assert len(value) >= 20, name
        self.secrets[f"{name} {len(self.secrets)}"] = value
        return value

    def note_tokens(self, tokens: dict[str, Any]) -> dict[str, Any]:
        for name in ("access_token", "refresh_token", "id_token"):
            if name in tokens:
                self.note(name, tokens[name])
                if "." in tokens[name]:
                    self.note(f"signature of {name}", tokens[name].rpartition(".")[2])
        return tokens

    def note_browser(self, browser: Browser) -> None:
        for name in ("auth_server", "auth_server_browser"):
            if browser.cookie(name):
                self.note(f"cookie {name}", browser.cookie(name))

    def found_in(self, text: str) -> list[str]:
        return [name for name, value in self.secrets.items() if value in text]


def token_in(url: str) -> str:
    return url.rpartition("token=")[2]


def set_up(app: Flask, seen: Seen) -> None:
    """The first administrator, by the link."""
    url = factories.within(app, setup.make_link) or ""
    seen.note("set-up link", token_in(url))
    browser = Browser(app)
    path = url.removeprefix(config.current().issuer)
    fields = {"email": "ada@example.org", "name": "Ada", "password": seen.note("password", CHOSEN)}
    assert browser.submit(browser.get(path), path, **fields).status_code == 303
    seen.note_browser(browser)


def walk(rp: RelyingParty, seen: Seen, **changed: Any) -> dict[str, Any]:
    """Sign in, allow, redeem; note the code, the verifier and the tokens."""
    code = seen.note("code", answer_of(rp.walk(password=CHOSEN, **changed))["code"])
    seen.note("verifier", rp.verifier)
    tokens = rp.exchange(code)
    assert tokens.status_code == 200, tokens.text
    assert rp.exchange(code, code_verifier="x" * 50).status_code == 400
    return seen.note_tokens(tokens.json)


def everything(app: Flask, seen: Seen) -> None:
    """Do all that the server can do, and note what comes of it."""
    set_up(app, seen)
    api, api_secret = factories.api(app)
    factories.api(app, "https://files.example.org", token_format="opaque", scopes={"files:read": "Read"})
    seen.note("secret of an API", api_secret)
    scope = "openid profile email offline_access orders:read files:read"
    client, secret = factories.client(app, scope=scope)
    seen.note("client secret", secret)
    seen.note(
        "second client secret",
        factories.within(app, lambda: clients.add_secret(clients.find(client.client_id) or client)),
    )
    browser = Browser(app)
    rp = RelyingParty(app, browser, client, secret)
    browser.sign_in(password=seen.note("wrong password", WRONG))
    seen.note("csrf token", Page(browser.get("/login").text).inputs["csrf_token"])
    walk(rp, seen, scope="openid profile offline_access orders:read")
    walk(rp, seen, scope="files:read offline_access")
    second = rp.code(password=CHOSEN, scope="openid offline_access")
    tokens = seen.note_tokens(rp.exchange(seen.note("code", second)).json)
    seen.note_browser(browser)
    rotated = seen.note_tokens(rp.refresh(tokens["refresh_token"]).json)
    rp.userinfo(rotated["access_token"])
    rp.introspect(rotated["access_token"])
    rp.introspect(rotated["access_token"], headers=basic(api.client_id, api_secret))
    rp.introspect(rotated["refresh_token"])
    rp.revoke(rotated["access_token"])
    rp.refresh(tokens["refresh_token"])  # reuse
    rp.post("/oauth/token", {"grant_type": "client_credentials"}, headers=basic(client.client_id, "w" * 48))
    seen.note("wrong client secret", "w" * 48)
    service, service_secret = factories.service(app, "orders:read")
    sent = {"grant_type": "client_credentials"}
    seen.note("service secret", service_secret)
    seen.note_tokens(rp.post("/oauth/token", sent, headers=basic(service.client_id, service_secret)).json)
    of_a_device(app, browser, seen)
    of_an_exchange(app, browser, seen)
    provoke_errors(app, rp, seen)
    reset(app, seen)
    browser.sign_in(password=RESET)
    seen.note_browser(browser)
    browser.sign_out()


def of_a_device(app: Flask, browser: Browser, seen: Seen) -> None:
    """A device that is allowed; its short code is checked in `tests/oauth/test_device.py`."""
    device = Device(app, *client_of(app)).started(scope="openid offline_access")
    seen.note("device code", device.codes["device_code"])
    device.poll()
    allow(browser, device.user_code)
    seen.note_tokens(device.tokens())
    device.poll()


def of_an_exchange(app: Flask, browser: Browser, seen: Seen) -> None:
    """A token that a service exchanges, with one of its own beside it; once right, once wrong."""
    files = "https://files.example.org"
    shop = RelyingParty(app, browser, *factories.client(app, client_name="Shop", scope="files:read"))
    subject = walk(shop, seen, scope="files:read")["access_token"]
    backend = exchange.service(app)
    exchange.rule(app, from_audience=files, scopes=("files:read",))
    actor = {"actor_token": seen.note("actor token", backend.own_token()), "actor_token_type": exchange.ACCESS_TOKEN}
    seen.note_tokens(backend.exchange(subject, **actor).json)
    backend.exchange(subject, **actor, scope="files:write")
    backend.exchange(seen.note("no token", "x" * 40))


def provoke_errors(app: Flask, rp: RelyingParty, seen: Seen) -> None:
    """Errors that carry secrets in their requests: a failing database, a crash, forgeries, odd places."""
    tokens = seen.note_tokens(rp.exchange(seen.note("code", rp.code(password=CHOSEN))).json)
    for at in ("before_cursor_execute", "commit"):
        with failing(app, at=at):
            assert rp.refresh(tokens["refresh_token"]).status_code == 503
        with failing(app, 3, at=at):
            Browser(app).sign_in(password=CHOSEN)
    access_token = tokens["access_token"]
    rp.machine.get(f"/oauth/userinfo?access_token={access_token}", base_url=config.current().issuer)
    rp.machine.get(
        "/oauth/userinfo", headers={"Authorization": f"Bearer {access_token}x"}, base_url=config.current().issuer
    )
    rp.machine.post(f"/oauth/token?client_secret={rp.secret}", base_url=config.current().issuer)
    rp.post("/oauth/token", {"grant_type": tokens["refresh_token"]})
    rp.post("/oauth/token", {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"] + "x"})
    rp.post("/oauth/token", {"grant_type": "authorization_code", "code": tokens["refresh_token"]})
    Browser(app).post("/login", {"email": CHOSEN, "password": CHOSEN})
    Browser(app).sign_in(email=CHOSEN, password=CHOSEN)
    Browser(app).get(f"/oauth/authorize?client_id={rp.secret}")
    Browser(app).get(f"/recover/reset?token={tokens['refresh_token']}")
    Browser(app).get(f"/nowhere/{tokens['refresh_token']}")


def reset(app: Flask, seen: Seen) -> None:
    """A new password by a link."""

    def make() -> str:
        user = users.find_by_email("ada@example.org")
        assert user is not None
        return recover.make_link(user)

    url = factories.within(app, make)
    seen.note("reset link", token_in(url))
    path = url.removeprefix(config.current().issuer)
    browser = Browser(app)
    assert browser.submit(browser.get(path), path, password=seen.note("new password", RESET)).status_code == 200
    seen.note_browser(browser)


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    """Return what every logger of the process writes, at DEBUG."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(fields)s", defaults={"fields": ""}))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for name in ("sqlalchemy.engine", "sqlalchemy.pool", "flask-limiter", "werkzeug", "asyncio"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(before)
    for name in ("sqlalchemy.engine", "sqlalchemy.pool", "flask-limiter", "werkzeug", "asyncio"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_no_log_line_has_a_secret(make_app: Any, everything_logged: io.StringIO) -> None:
    """Everything at DEBUG, of us and of the libraries, failures included."""
    app = make_app(log_level="debug")
    own = io.StringIO()
    setup_log(config.current(), own)
    ours = logging.getLogger("auth_server")
    ours.propagate = True
    seen = Seen()
    everything(app, seen)
    for stream, mark in ((own, "token.issued"), (everything_logged, "sqlalchemy.engine")):
        text = stream.getvalue()
        assert text.count("\n") > 50
        assert mark in text
        assert seen.found_in(text) == []
    assert "the database cannot answer" in own.getvalue()


def test_no_row_has_a_secret(app: Flask, database_url: str, tmp_path: Path) -> None:
    """All rows of all tables as text, and the database's files as bytes."""
    seen = Seen()
    everything(app, seen)
    rows = dump(app)
    text = "\n".join(line for lines in rows.values() for line in lines)
    assert len(seen.secrets) > 40
    assert len([name for name, lines in rows.items() if lines]) > 12
    assert seen.found_in(text) == []
    for path in tmp_path.glob("test.db*"):
        assert seen.found_in(path.read_bytes().decode("latin-1")) == []


def test_a_secret_is_looked_for_in_the_right_way(app: Flask) -> None:
    """The twin of the tests above: what is stored in the clear is found, so an empty answer means something."""
    seen = Seen()
    everything(app, seen)
    factories.person(app, "clear@example.org", seen.note("a name", "stored in the clear for all to see"))
    text = "\n".join(line for lines in dump(app).values() for line in lines)
    assert [re.sub(r" \d+$", "", name) for name in seen.found_in(text)] == ["a name"]
