"""`make demo`: the real server on a throw-away database, with people, one client of each kind, sample apps and an API.

Everything listens on this machine only, and is gone when it stops. `PORT=9000 make demo` moves it, `PORT=0` takes any
free ports.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

AUDIENCE = "https://orders.example.org"
FIRST_PORT = 8421
PARTS = ("server", "web", "browser", "api")
AUTH_SERVER = ("-c", "from auth_server.cli import main; main()")
ROLE = """
[role.clerk]
scopes = ["orders:write"]  # only clerks may change orders
groups = ["staff"]
"""
PEOPLE = (
    ("ada@example.org", "--name", "Ada", "--role", "administrator", "--group", "staff"),
    ("ben@example.org", "--name", "Ben"),
)
SCOPE = "openid profile email roles offline_access orders:read orders:write"
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
Answer = dict[str, Any]


class Demo:
    """The running demo: a folder, its processes and where they listen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ports = _free_ports(int(os.environ.get("PORT") or FIRST_PORT))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AUTH_SERVER_")}
        self.environment = {
            **kept,
            "AUTH_SERVER_INSTANCE_PATH": str(folder),
            "AUTH_SERVER_ISSUER": self.address("server"),
            "AUTH_SERVER_LOG_LEVEL": "warning",
        }

    def address(self, name: str) -> str:
        return f"http://localhost:{self.ports[name]}"

    def command(self, *words: str, given: str = "") -> Any:
        """Run one `auth-server` command and return its JSON."""
        done = subprocess.run(
            [sys.executable, *AUTH_SERVER, *words, "--json"],
            env=self.environment, input=given, capture_output=True, text=True, check=False, start_new_session=True,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"auth-server {' '.join(words)}: {done.stderr}")
        return json.loads(done.stdout)

    def start(self, name: str, *words: str, **environment: str) -> None:
        """Start a part, out of reach of the terminal's Ctrl-C: the demo stops its parts in order."""
        with self._log(name).open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *words],
                env={**self.environment, **environment}, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def wait_for(self, name: str, path: str = "/") -> None:
        """Wait until a part answers, whatever it says."""
        deadline = time.monotonic() + 60
        while not _answers(self.ports[name], path):
            self.check()
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.address(name)} does not answer")
            time.sleep(0.1)

    def check(self) -> None:
        """Stop when a part has stopped, and say what it said."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise SystemExit(f"the {name} has stopped:\n{self._log(name).read_text()}")

    def stop(self) -> None:
        """End every part, the server last."""
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)

    def _log(self, name: str) -> Path:
        return self.folder / f"demo-{name}.log"


def main() -> None:
    """Start, say where everything is, and wait for Ctrl-C or SIGTERM."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory(prefix="auth-server-demo-", ignore_cleanup_errors=True) as folder:
        demo = Demo(Path(folder))
        try:
            print("Starting; this takes some seconds.", flush=True)
            run(demo)
        finally:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)  # nothing interrupts the cleaning
            demo.stop()


def run(demo: Demo) -> None:
    """Start the server, fill it by its own commands as an operator would, start the apps, and watch over all."""
    demo.start("server", *AUTH_SERVER, "serve", "--port", str(demo.ports["server"]))
    demo.wait_for("server", "/readyz")
    api = create_api(demo)
    with ThreadPoolExecutor(3) as pool:
        passwords = dict(pool.map(lambda person: create_person(demo, *person), PEOPLE))
        clients = dict(pool.map(lambda about: create_client(demo, *about), client_metadata(demo).items()))
    start_apps(demo, api, clients)
    print(welcome(demo, passwords, clients), flush=True)
    while True:
        demo.check()
        time.sleep(0.5)


def create_api(demo: Demo) -> Answer:
    """Make the API, a group, and a role that guards a scope; return the API's credentials."""
    titles = ("orders:read=See your orders", "orders:write=Change your orders")
    scopes = [word for title in titles for word in ("--scope", title)]
    api: Answer = demo.command("apis", "create", AUDIENCE, "--name", "Orders", *scopes)
    demo.command("groups", "create", "staff")
    file = demo.folder / "role.toml"
    file.write_text(ROLE)
    demo.command("apply", str(file))
    return api


def create_person(demo: Demo, email: str, *options: str) -> tuple[str, str]:
    """Return the address and a new password."""
    password = "-".join(secrets.token_hex(3) for _ in range(3))
    demo.command("users", "create", email, *options, "--password-stdin", given=password)
    return email, password


def client_metadata(demo: Demo) -> dict[str, Answer]:
    """Return one client of each kind (RFC 7591)."""
    web, browser = (demo.address(name) + "/callback" for name in ("web", "browser"))
    native = {
        "redirect_uris": ["http://127.0.0.1/callback", "org.example.sample:/callback"],
        "application_type": "native",
        "token_endpoint_auth_method": "none",
    }
    return {
        "web": {"client_name": "Sample web app", "scope": SCOPE, "redirect_uris": [web]},
        "browser": {"client_name": "Sample browser app", "scope": SCOPE, "redirect_uris": [browser]},
        "native": {"client_name": "Sample phone app", "scope": SCOPE, **native},
        "service": {
            "client_name": "Sample service",
            "grant_types": ["client_credentials"],
            "scope": "orders:read orders:write",
        },
    }


def create_client(demo: Demo, kind: str, metadata: Answer) -> tuple[str, Answer]:
    """Return the kind and the registration."""
    return kind, demo.command("clients", "create", "--metadata", "-", given=json.dumps(metadata))


def start_apps(demo: Demo, api: Answer, clients: dict[str, Answer]) -> None:
    """Start the API and the apps, each with its own credentials."""
    modules = {"api": "orders_api", "web": "web_app", "browser": "browser_app"}
    for name, own in {**clients, "api": api}.items():
        if name in modules:
            place = {"ADDRESS": demo.address(name), "PORT": str(demo.ports[name])}
            demo.start(name, "-m", f"examples.{modules[name]}", **place, **_surroundings(demo, own))
    for name in PARTS:
        demo.wait_for(name)


def welcome(demo: Demo, passwords: dict[str, str], clients: dict[str, Answer]) -> str:
    """Return what to click and what to paste."""
    service = clients["service"]
    credentials = f"{service['client_id']}:{service['client_secret']}"
    get_token = f"curl -s -u {credentials} -d grant_type=client_credentials {demo.address('server')}/oauth/token"
    only_token = 'sed \'s/.*"access_token":"\\([^"]*\\)".*/\\1/\''
    surroundings = " ".join(f"{name}={value}" for name, value in _surroundings(demo, service).items())
    return f"""
  The demo runs on a throw-away database; Ctrl-C ends it and removes everything.

  Issuer        {demo.address("server")}
  Web app       {demo.address("web")}/
  Browser app   {demo.address("browser")}/   (its back end keeps the tokens)
  API           {demo.address("api")}/orders   (verifies tokens locally)
                {demo.address("api")}/live/orders   (asks the issuer about each one)
  Phone app     client_id {clients["native"]["client_id"]}, no secret

  Sign in as    ada@example.org   {passwords["ada@example.org"]}   (administrator, and a clerk who may order)
                ben@example.org   {passwords["ben@example.org"]}   (may look)

  A token for the service:
  {get_token}

  The API with such a token:
  curl -s -H "Authorization: Bearer $({get_token} | {only_token})" {demo.address("api")}/orders

  The same by the sample service:
  {surroundings} {sys.executable} -m examples.service
"""


def _surroundings(demo: Demo, own: Answer) -> dict[str, str]:
    credentials = {"CLIENT_ID": own["client_id"], "CLIENT_SECRET": own["client_secret"]}
    return {"ISSUER": demo.address("server"), "API": demo.address("api"), **credentials}


def _free_ports(first: int) -> dict[str, int]:
    """Return a port for each part: the first one or, where somebody listens, the next; any, when it is 0."""
    candidates = iter(range(first, 65536) if first else [0] * len(PARTS))
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < len(PARTS):
            probe = held.enter_context(socket.socket())
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", next(candidates)))
                found.append(probe.getsockname()[1])
    return dict(zip(PARTS, found, strict=True))


def _answers(port: int, path: str) -> bool:
    with suppress(OSError, HTTPException), closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    return False


if __name__ == "__main__":
    main()
