"""`make demo` as a stranger meets it: the printed lines work, the API says no for the right reasons, all of it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.support.browser import Page

pytestmark = pytest.mark.sqlite_only
ROOT = Path(__file__).resolve().parent.parent


class RunningDemo:
    """The demo as a process, and what it printed."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "demo.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "examples.demo"],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TMPDIR": str(folder)},
            )
        self.folder = folder
        deadline = time.monotonic() + 120
        while "The API with it" not in self.text:
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.2)
        time.sleep(0.2)

    @property
    def text(self) -> str:
        return self.log.read_text()

    def line_after(self, words: str) -> str:
        return re.search(re.escape(words) + r".*\n\s+(.+)\n", self.text)[1]  # type: ignore[index]

    def address(self, label: str) -> str:
        return re.search(rf"{label}\s+(http\S+)", self.text)[1]  # type: ignore[index]

    def password(self, email: str) -> str:
        return re.search(rf"{email}\s+password (\S+)", self.text)[1]  # type: ignore[index]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=30)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    running = RunningDemo(tmp_path_factory.mktemp("demo"))
    yield running
    running.stop()


def shell(line: str) -> str:
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout


def sign_in(demo: RunningDemo, email: str, start: str) -> httpx2.Client:
    """Sign a person in to a sample app as a browser would, without scripts."""
    browser = httpx2.Client(follow_redirects=True, trust_env=False)
    page = browser.get(start + "login")
    for _step in range(4):
        form = Page(page.text)
        if form.marker not in ("login", "consent"):
            break
        given = (
            {"decision": "allow"} if form.marker == "consent" else {"email": email, "password": demo.password(email)}
        )
        origin = f"{page.url.scheme}://{page.url.netloc.decode()}"
        page = browser.post(str(page.url), data={**form.inputs, **given}, headers={"Origin": origin})
    assert page.url.path == "/", page.text
    return browser


def test_the_printed_lines_get_a_token_and_an_answer(demo: RunningDemo) -> None:
    """The curl lines are ready to be pasted."""
    token = shell(demo.line_after("A token for the service"))
    assert '"token_type":"Bearer"' in token
    assert '"orders":[]' in shell(demo.line_after("The API with it"))


def test_the_api_says_no_for_the_right_reasons(demo: RunningDemo) -> None:
    """401 without a token, 403 without scope or role, 404 for somebody else's order, on both kinds of check."""
    api = demo.address("API")
    assert httpx2.get(api).status_code == 401
    assert httpx2.get(api.replace("/orders", "/live/orders")).status_code == 401
    token = service_token(demo, "orders:read")
    assert call(api, token).status_code == 200
    assert call(api.replace("/orders", "/live/orders"), token).status_code == 200
    assert httpx2.post(api, headers=bearer(token)).status_code == 403
    assert call(api.replace("/orders", "/statistics"), token).status_code == 403
    assert call(api + "/1", token).status_code == 404
    writer = service_token(demo, "orders:read orders:write")
    own = httpx2.post(api, headers=bearer(writer)).json()
    assert call(f"{api}/{own['id']}", writer).status_code == 200


def test_people_use_the_web_app_and_its_sign_out_shows_at_once(demo: RunningDemo) -> None:
    """A stock client signs in; roles decide; the revoked token is refused by the API that asks the issuer."""
    start = demo.address("Web app")
    with closing(sign_in(demo, "ada@example.org", start)) as ada:
        assert ada.get(start + "orders").status_code == 200
        assert ada.get(start + "statistics").status_code == 200
    start = demo.address("Browser app")
    with closing(sign_in(demo, "ben@example.org", start)) as ben:
        assert ben.get(start + "api/orders").json()["checked"].startswith("by introspection")
        assert ben.get(start + "statistics").status_code == 403
        ben.get(start + "logout")
        assert ben.get(start + "api/orders").status_code == 401


def test_a_revoked_token_is_refused_at_once_where_the_issuer_is_asked(demo: RunningDemo) -> None:
    """Local verification goes on until the token expires; that is the trade (docs/trust.md)."""
    credentials = re.search(r"-u (\S+):(\S+) ", demo.text)
    assert credentials
    token = service_token(demo, "orders:read")
    api = demo.address("API")
    httpx2.post(demo.address("Issuer") + "/oauth/revoke", data={"token": token}, auth=(credentials[1], credentials[2]))
    assert call(api.replace("/orders", "/live/orders"), token).status_code == 401
    assert call(api, token).status_code == 200


def test_nothing_remains(demo: RunningDemo) -> None:
    """SIGTERM ends every process and removes the folder."""
    addresses = [demo.address(name) for name in ("Issuer", "Web app", "Browser app", "API")]
    demo.stop()
    assert list(demo.folder.glob("auth-server-demo-*")) == []
    for address in addresses:
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"http://{urlsplit(address).netloc}/")


def service_token(demo: RunningDemo, scope: str) -> str:
    line = demo.line_after("A token for the service")
    answer: dict[str, Any] = httpx2.Response(200, text=shell(f"{line} -d 'scope={scope}'")).json()
    return str(answer["access_token"])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def call(url: str, token: str) -> httpx2.Response:
    return httpx2.get(url, headers=bearer(token))
