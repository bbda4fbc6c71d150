"""`make demo` as a stranger meets it: the printed lines work, the apps do what they say, the API says no for the right
reasons, and all of it ends."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest

from examples.demo import PARTS
from tests.support import authenticator, live
from tests.support.authenticator import Authenticator
from tests.support.browser import Page
from tests.support.rp import bearer, challenge_of

pytestmark = pytest.mark.sqlite_only
ADA, BEN = "ada@example.org", "ben@example.org"
LOOPBACK = "http://127.0.0.1:49152/callback"  # nobody listens there: the test reads the address
BOTH = pytest.mark.parametrize("path", ["/orders", "/live/orders"])


class RunningDemo:
    """The demo as a process, and what it printed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "demo.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "examples.demo"],
                cwd=live.ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TMPDIR": str(folder), "PORT": "0"},
            )

    def wait(self) -> RunningDemo:
        """Wait until it says where everything is."""
        deadline = time.monotonic() + 150
        while not self.text.endswith("-m examples.service\n\n"):
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.1)
        return self

    @property
    def text(self) -> str:
        return self.log.read_text()

    @property
    def instance(self) -> Path:
        return next(self.folder.glob("auth-server-demo-*"))

    @property
    def issuer(self) -> str:
        return self.address("Issuer")

    def found(self, pattern: str) -> str:
        found = re.search(pattern, self.text)
        assert found, self.text
        return found[1]

    def line_after(self, words: str) -> str:
        return self.found(rf"{words}:\n +(.+)\n")

    def address(self, label: str) -> str:
        return self.found(rf"{label} +(http\S+)").rstrip("/")

    def api(self, path: str) -> str:
        return self.address("API").removesuffix("/orders") + path

    def password(self, email: str) -> str:
        return self.found(rf"{email} +(\S+)")

    def client_id(self, kind: str) -> str:
        return self.found(r"client_id (\S+),") if kind == "phone" else self.found(r"-u ([^:]+):")

    def secret(self) -> str:
        return self.found(r"-u [^:]+:(\S+)")

    def command(self, *words: str, given: str = "") -> Any:
        """Run an `auth-server` command on the demo's database."""
        settings = {"instance_path": self.instance, "issuer": self.issuer}
        done = live.command([*words, "--json"], settings, given)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def new_person(self, email: str) -> str:
        """Make a person who has consented to nothing yet; return the password."""
        password = secrets.token_hex(10)
        self.command("users", "create", email, "--password-stdin", given=password)
        return password

    def client_of(self, name: str) -> str:
        return next(row["client_id"] for row in self.command("clients", "list") if row["client_name"] == name)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout=60)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    running = RunningDemo(tmp_path_factory.mktemp("demo"))
    try:
        yield running.wait()
        folder = running.instance
        assert len(processes_of(folder)) >= len(PARTS)
    finally:
        status = running.stop()
    assert status == 0
    is_gone(running, folder)  # SIGTERM ends every part and removes the folder


@pytest.fixture
def visit(demo: RunningDemo) -> Iterator[Callable[[], httpx2.Client]]:
    """Return a maker of browsers without scripts."""
    browsers: list[httpx2.Client] = []

    def open_browser() -> httpx2.Client:
        browsers.append(httpx2.Client(trust_env=False, timeout=30))
        return browsers[-1]

    yield open_browser
    for browser in browsers:
        browser.close()


def shell(line: str) -> str:
    return subprocess.run(
        ["bash", "-c", line], cwd=live.ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def walk(
    demo: RunningDemo, browser: httpx2.Client, url: str, email: str, *, password: str = "", decision: str = "allow"
) -> httpx2.Response:
    """Follow an address through sign-in and consent, to the first page that is not the server's."""
    answer = browser.get(url)
    while True:
        while answer.is_redirect and not answer.headers["Location"].startswith(LOOPBACK):
            answer = browser.get(answer.url.join(answer.headers["Location"]))
        page = Page(answer.text)
        if page.marker not in ("login", "consent"):
            return answer
        given = {"decision": decision}
        if page.marker == "login":
            given = {"email": email, "password": password or demo.password(email)}
        answer = browser.post(answer.url, data={**page.inputs, **given}, headers={"Origin": demo.issuer})
        assert Page(answer.text).marker != "login", answer.text


def press(browser: httpx2.Client, url: str) -> httpx2.Response:
    """Press the button of a form; return the page that follows."""
    parts = urlsplit(url)
    answer = browser.post(url, headers={"Origin": f"{parts.scheme}://{parts.netloc}"})
    return browser.get(answer.url.join(answer.headers["Location"])) if answer.is_redirect else answer


def call(demo: RunningDemo, path: str, token: str = "", method: str = "GET") -> httpx2.Response:
    headers = bearer(token) if token else {}
    return httpx2.request(method, demo.api(path), headers=headers, trust_env=False)


def service_token(demo: RunningDemo, scope: str) -> str:
    line = demo.line_after("A token for the service")
    return str(json.loads(shell(f"{line} -d 'scope={scope}'"))["access_token"])


def person_token(demo: RunningDemo, email: str, scope: str) -> str:
    """Return a token that the phone app got: no secret, any loopback port, PKCE (RFC 8252 §7.3)."""
    client_id, verifier = demo.client_id("phone"), secrets.token_urlsafe(48)
    asked = {
        **{"client_id": client_id, "redirect_uri": LOOPBACK, "response_type": "code", "scope": scope, "state": "s"},
        **{"code_challenge": challenge_of(verifier), "code_challenge_method": "S256"},
    }
    with closing(httpx2.Client(trust_env=False, timeout=30)) as browser:
        answer = walk(demo, browser, f"{demo.issuer}/oauth/authorize?{urlencode(asked)}", email)
        code = parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]
        fields = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
        fields |= {"client_id": client_id, "redirect_uri": LOOPBACK}
        answer = browser.post(demo.issuer + "/oauth/token", data=fields)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def test_the_printed_lines_get_a_token_and_an_answer(demo: RunningDemo) -> None:
    """The lines are ready to be pasted."""
    token = json.loads(shell(demo.line_after("A token for the service")))
    assert token["token_type"] == "Bearer"
    assert token["scope"] == "orders:read orders:write"
    assert json.loads(shell(demo.line_after("The API with such a token")))["checked"].startswith("locally")
    assert shell(demo.line_after("The same by the sample service")).startswith("200 {")


@BOTH
def test_the_api_asks_for_a_token(demo: RunningDemo, path: str) -> None:
    """401 without one, with a bare challenge, and 401 for one that is none (RFC 6750 §3.1)."""
    answer = call(demo, path)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].split(", ")[0] == 'Bearer realm="https://orders.example.org"'
    answer = call(demo, path, "garbage")
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert call(demo, path, service_token(demo, "orders:read")).status_code == 200


@BOTH
def test_the_api_asks_for_a_scope(demo: RunningDemo, path: str) -> None:
    """403 for a good token without it; what is missing is named (RFC 6750 §3.1)."""
    answer = call(demo, path, service_token(demo, "orders:read"), "POST")
    assert answer.status_code == 403
    assert 'error="insufficient_scope", scope="orders:write"' in answer.headers["WWW-Authenticate"]
    assert call(demo, path, service_token(demo, "orders:read orders:write"), "POST").status_code == 201


@BOTH
def test_the_api_asks_for_a_role(demo: RunningDemo, path: str) -> None:
    """403 for a person without it; it may be held by the API or, for a scope, by the server."""
    scope = "openid roles orders:read orders:write"
    ada, ben = person_token(demo, ADA, scope), person_token(demo, BEN, scope)
    assert call(demo, path + "/statistics", ada).status_code == 200
    assert call(demo, path + "/statistics", ben).status_code == 403
    assert call(demo, path, ada, "POST").status_code == 201
    assert call(demo, path, ben, "POST").status_code == 403


@BOTH
def test_somebody_elses_order_is_not_found(demo: RunningDemo, path: str) -> None:
    """404 as for an order that does not exist; the owner sees it."""
    ada, ben = person_token(demo, ADA, "orders:read orders:write"), person_token(demo, BEN, "orders:read")
    order = call(demo, path, ada, "POST").json()
    assert call(demo, f"{path}/{order['id']}", ada).json() == order
    foreign, missing = call(demo, f"{path}/{order['id']}", ben), call(demo, f"{path}/missing", ben)
    assert foreign.status_code == missing.status_code == 404
    assert foreign.text == missing.text
    assert order not in call(demo, path, ben).json()["orders"]


def test_a_revoked_token_is_refused_at_once_where_the_issuer_is_asked(demo: RunningDemo) -> None:
    """A service's single token is not in the status list, so local verification goes on (docs/trust.md)."""
    token = service_token(demo, "orders:read")
    assert call(demo, "/live/orders", token).status_code == 200
    client = (demo.client_id("service"), demo.secret())
    revoked = httpx2.post(demo.issuer + "/oauth/revoke", data={"token": token}, auth=client, trust_env=False)
    assert revoked.status_code == 200
    assert call(demo, "/live/orders", token).status_code == 401
    assert call(demo, "/orders", token).status_code == 200


def test_people_use_the_web_app(demo: RunningDemo, visit: Callable[[], httpx2.Client]) -> None:
    """A stock client signs people in and calls the API; roles decide there, and the browser never sees a token."""
    start = demo.address("Web app")
    ada, ben = visit(), visit()
    for browser, email, name in ((ada, ADA, "Ada"), (ben, BEN, "Ben")):
        page = walk(demo, browser, start + "/login", email)
        assert f"Signed in as {name}." in page.text
        assert not any(value.startswith("ey") for value in browser.cookies.values())
    assert "<li>Tea " in press(ada, start + "/orders").text
    assert "The API says no." in press(ben, start + "/orders").text
    assert ada.get(start + "/statistics").status_code == 200
    assert ben.get(start + "/statistics").status_code == 403
    assert ada.post(start + "/orders", headers={"Origin": "https://evil.example.org"}).status_code == 403
    assert "Signed in" not in press(ada, start + "/logout").text
    assert "Signed in as Ben." in ben.get(start).text


@BOTH
def test_the_api_asks_for_a_stronger_sign_in(demo: RunningDemo, path: str) -> None:
    """401 with what to ask for (RFC 9470 §3); the same token is good for the rest."""
    ada = person_token(demo, ADA, "orders:read orders:write")
    order = call(demo, path, ada, "POST").json()
    refused = call(demo, f"{path}/{order['id']}/refund", ada, "POST")
    assert refused.status_code == 401
    challenge = refused.headers["WWW-Authenticate"]
    assert 'error="insufficient_user_authentication", acr_values="aal2", max_age="300"' in challenge
    assert call(demo, f"{path}/{order['id']}", ada).status_code == 200


def test_the_web_app_asks_for_what_the_api_demands(demo: RunningDemo, visit: Callable[[], httpx2.Client]) -> None:
    """Without a second factor the person comes back and the order stays; with one it is refunded."""
    browser, start, email = visit(), demo.address("Web app"), "fay@example.org"
    password = demo.new_person(email)
    demo.command("users", "set", email, "--group", "staff")
    walk(demo, browser, start + "/login", email, password=password)
    order = re.search(r'name="order" value="(\w+)"', press(browser, start + "/orders").text)
    assert order

    def refund() -> httpx2.Response:
        return browser.post(start + "/refunds", data={"order": order[1]}, headers={"Origin": start})

    asked = refund()
    demanded = parse_qs(urlsplit(asked.headers["Location"]).query)
    assert (demanded["acr_values"], demanded["max_age"]) == (["aal2"], ["300"])
    assert order[1] in walk(demo, browser, asked.headers["Location"], email, password=password).text
    set_up_a_second_factor(demo, browser)
    back = walk(demo, browser, refund().headers["Location"], email, password=password)
    assert order[1] in back.text
    assert refund().headers["Location"] == "/"
    assert order[1] not in browser.get(start).text


def set_up_a_second_factor(demo: RunningDemo, browser: httpx2.Client) -> None:
    place = f"{demo.issuer}{authenticator.SECURITY}/app"
    for decision in ("begin", "confirm"):
        page = browser.get(place, follow_redirects=True)
        code = {"code": Authenticator(authenticator.key_on(page)).code()} if decision == "confirm" else {}  # type: ignore[arg-type]
        fields = {**Page(page.text).inputs, "decision": decision, **code}
        answer = browser.post(place, data=fields, headers={"Origin": demo.issuer})
        assert answer.status_code in (200, 303), answer.text
    assert Page(answer.text).marker == "account-codes"


def test_a_person_who_says_no_is_back_at_the_app(demo: RunningDemo, visit: Callable[[], httpx2.Client]) -> None:
    """RFC 6749 §4.1.2.1; asked again, the person may say yes. An answer that the app did not ask for is refused."""
    password = demo.new_person("cleo@example.org")
    browser, start = visit(), demo.address("Web app")
    page = walk(demo, browser, start + "/login", "cleo@example.org", password=password, decision="deny")
    assert page.status_code == 400
    assert "Not signed in: access_denied" in page.text
    for answer in ("", f"?code=x&iss={demo.issuer}", f"?code=x&state=x&iss={demo.issuer}"):
        assert visit().get(f"{start}/callback{answer}").status_code == 400
    page = walk(demo, browser, start + "/login", "cleo@example.org", password=password)
    assert "Signed in as" in page.text


def test_the_web_app_refreshes_and_notices_the_end(demo: RunningDemo, visit: Callable[[], httpx2.Client]) -> None:
    """Each call needs a new token here, also calls at once; when an operator ends them, the person signs in again."""
    password = demo.new_person("dora@example.org")
    client_id = demo.client_of("Sample web app")
    demo.command("clients", "set", client_id, "--metadata", "-", given='{"access_token_ttl": 30}')
    time.sleep(1)  # the server looks for changes twice a second
    browser, start = visit(), demo.address("Web app")
    assert "Signed in as" in walk(demo, browser, start + "/login", "dora@example.org", password=password).text
    with ThreadPoolExecutor(4) as pool:
        pages = list(pool.map(lambda _: browser.get(start + "/").text, range(8)))
    assert all("Signed in as" in page for page in pages)
    assert [row["client_id"] for row in demo.command("tokens", "list", "--user", "dora@example.org")] == [client_id]
    demo.command("tokens", "revoke", "--user", "dora@example.org", "--yes")
    page = browser.get(start + "/")
    assert page.status_code == 200
    assert "Signed in as" not in page.text
    demo.command("clients", "set", client_id, "--metadata", "-", given='{"access_token_ttl": null}')


def test_people_use_the_browser_app(demo: RunningDemo, visit: Callable[[], httpx2.Client]) -> None:
    """Its back end keeps the tokens and passes answers on; it shares the host with the web app, not the cookie."""
    start, web = demo.address("Browser app"), demo.address("Web app")
    browser = visit()
    assert browser.get(start + "/api/person").status_code == 401
    assert browser.get(start + "/api/orders").status_code == 401
    assert "Signed in as" in walk(demo, browser, web + "/login", ADA).text
    page = walk(demo, browser, start + "/login", ADA)
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert browser.get(start + "/api/person").json() == {"name": "Ada"}
    assert browser.get(start + "/api/orders").json()["checked"].startswith("locally")
    assert press(browser, start + "/api/orders").status_code == 201
    assert browser.post(start + "/api/orders").status_code == 403
    assert press(browser, start + "/logout").status_code == 204
    assert browser.get(start + "/api/orders").status_code == 401
    assert "Signed in as Ada." in browser.get(web).text


def test_signing_out_gives_the_tokens_back(demo: RunningDemo, visit: Callable[[], httpx2.Client]) -> None:
    """The app revokes what it held (RFC 7009); a live family is listed before and not after."""
    password = demo.new_person("eve@example.org")
    for label, marker in (("Web app", "Sample web app"), ("Browser app", "Sample browser app")):
        browser, start = visit(), demo.address(label)
        walk(demo, browser, start + "/login", "eve@example.org", password=password)
        held = demo.command("tokens", "list", "--user", "eve@example.org")
        assert [row["client_id"] for row in held] == [demo.client_of(marker)]
        press(browser, start + "/logout")
        assert demo.command("tokens", "list", "--user", "eve@example.org") == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_may_be_stopped_while_it_starts(tmp_path: Path, how: signal.Signals) -> None:
    """Ctrl-C before the first line of the welcome leaves nothing either."""
    running = RunningDemo(tmp_path)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("auth-server-demo-*/demo-server.log")):
        assert time.monotonic() < deadline, running.text
        time.sleep(0.05)
    time.sleep(1)
    folder = running.instance
    assert processes_of(folder)
    assert running.stop(how) == 0
    assert not folder.exists()
    assert processes_of(folder) == []
    assert "Traceback" not in running.text


def processes_of(folder: Path) -> list[str]:
    """Return the processes that work on a demo's folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"AUTH_SERVER_INSTANCE_PATH={folder}".encode() in (entry / "environ").read_bytes():
                found.append(entry.name)
    return found


def is_gone(running: RunningDemo, folder: Path) -> None:
    """No process, no listener and no file is left."""
    assert processes_of(folder) == []
    assert not folder.exists()
    for label in ("Issuer", "Web app", "Browser app", "API"):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", urlsplit(running.address(label)).port)) == errno.ECONNREFUSED
