"""`make demo`: the real server on a throw-away database, with people, one client of each kind, sample apps and an API.

Everything listens on this machine only, and is gone when it stops.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

PORTS = {"server": 8421, "web": 8431, "browser": 8432, "api": 8433}
AUDIENCE = "https://orders.example.org"
PEOPLE = (("ada@example.org", "Ada", ["administrator"]), ("ben@example.org", "Ben", []))
DECLARED = """
[group.staff]
name = "Staff"

[role.clerk]                       # only clerks may change orders
scopes = ["orders:write"]
groups = ["staff"]

[api."https://orders.example.org"]
name   = "Orders"
scopes = { "orders:read" = "See your orders", "orders:write" = "Change your orders" }
"""


class Demo:
    """The running demo: a folder, its processes, and what the commands answered."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="auth-server-demo-"))
        self.processes: list[subprocess.Popen[bytes]] = []
        self.ports = {name: _free_port(port) for name, port in PORTS.items()}
        self.issuer = f"http://localhost:{self.ports['server']}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AUTH_SERVER_")}
        self.environment = {
            **kept,
            "AUTH_SERVER_INSTANCE_PATH": str(self.folder),
            "AUTH_SERVER_ISSUER": self.issuer,
            "AUTH_SERVER_LOG_LEVEL": "warning",
        }

    def address(self, name: str) -> str:
        return f"http://localhost:{self.ports[name]}"

    def command(self, *words: str, given: str = "") -> Any:
        """Run one `auth-server` command and return its JSON."""
        done = subprocess.run(
            [*_AUTH_SERVER, *words], env=self.environment, input=given, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"auth-server {' '.join(words)}: {done.stderr}")
        return json.loads(done.stdout) if "--json" in words else done.stdout

    def start(self, *words: str, **environment: str) -> None:
        process = subprocess.Popen(
            [sys.executable, *words],
            env={**self.environment, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.processes.append(process)

    def stop(self) -> None:
        """End every process and remove the folder."""
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


_AUTH_SERVER = (sys.executable, "-c", "from auth_server.cli import main; main()")


def main() -> None:
    """Start, say where everything is, and wait for Ctrl-C or SIGTERM."""
    demo = Demo()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: sys.exit(0))
    try:
        people = _seed(demo)
        demo.start("-c", "from auth_server.cli import main; main()", "serve", "--port", str(demo.ports["server"]))
        _wait_for(demo.issuer + "/readyz")
        clients = _start_apps(demo)
        print(_welcome(demo, people, clients), flush=True)
        while all(process.poll() is None for process in demo.processes):
            time.sleep(0.5)
        raise SystemExit("a part of the demo has stopped")
    finally:
        demo.stop()


def _seed(demo: Demo) -> dict[str, str]:
    """Make the database, the API, the roles and two people; return their passwords."""
    demo.command("init")
    declared = demo.folder / "demo.toml"
    declared.write_text(DECLARED)
    demo.command("apply", str(declared))
    passwords = {}
    for email, name, roles in PEOPLE:
        passwords[email] = "-".join(secrets.token_hex(3) for _ in range(3))
        options = [word for role in roles for word in ("--role", role)] + (["--group", "staff"] if roles else [])
        demo.command("users", "create", email, "--name", name, *options, "--password-stdin", given=passwords[email])
    return passwords


def _client(demo: Demo, **metadata: Any) -> dict[str, Any]:
    answer: dict[str, Any] = demo.command("clients", "create", "--metadata", "-", "--json", given=json.dumps(metadata))
    return answer


def _start_apps(demo: Demo) -> dict[str, dict[str, Any]]:
    """Register one client of each kind, and start the apps and the API."""
    scope = "openid profile email roles offline_access orders:read orders:write"
    clients = {
        "web": _client(
            demo, client_name="Sample web app", redirect_uris=[demo.address("web") + "/callback"], scope=scope
        ),
        "browser": _client(
            demo, client_name="Sample browser app", redirect_uris=[demo.address("browser") + "/callback"], scope=scope
        ),
        "native": _client(
            demo,
            client_name="Sample phone app",
            redirect_uris=["http://127.0.0.1/callback", "org.example.sample:/callback"],
            scope=scope,
            application_type="native",
            token_endpoint_auth_method="none",
        ),
        "service": _client(
            demo, client_name="Sample service", grant_types=["client_credentials"], scope="orders:read orders:write"
        ),
    }
    api = next(row for row in demo.command("apis", "list", "--json") if row["identifier"] == AUDIENCE)
    secret = demo.command("clients", "secrets", api["client_id"], "--add", "--json")["client_secret"]
    shared = {"ISSUER": demo.issuer, "API": demo.address("api")}
    credentials = {"CLIENT_ID": api["client_id"], "CLIENT_SECRET": secret}
    demo.start("-m", "examples.orders_api", **shared, **credentials, PORT=str(demo.ports["api"]))
    for name, extra in (("web", {}), ("browser", {"BROWSER_APP": "1"})):
        own = {"CLIENT_ID": clients[name]["client_id"], "CLIENT_SECRET": clients[name]["client_secret"]}
        place = {"ADDRESS": demo.address(name), "PORT": str(demo.ports[name])}
        demo.start("-m", "examples.web_app", **shared, **own, **place, **extra)
    for name in ("web", "browser", "api"):
        _wait_for(demo.address(name) + "/")
    return clients


def _welcome(demo: Demo, people: dict[str, str], clients: dict[str, dict[str, Any]]) -> str:
    service = clients["service"]
    credentials = f"{service['client_id']}:{service['client_secret']}"
    token = f"curl -s -u {credentials} -d grant_type=client_credentials {demo.issuer}/oauth/token"
    lines = [
        "",
        "  The demo runs on a throw-away database; Ctrl-C ends it and removes everything.",
        "",
        f"  Issuer        {demo.issuer}",
        f"  Web app       {demo.address('web')}/",
        f"  Browser app   {demo.address('browser')}/   (its back end keeps the tokens)",
        f"  API           {demo.address('api')}/orders   (verifies locally)",
        f"                {demo.address('api')}/live/orders   (asks the issuer)",
        f"  Phone app     client_id {clients['native']['client_id']}",
        "",
        *(f"  {email}   password {password}" for email, password in people.items()),
        "",
        "  A token for the service:",
        f"  {token}",
        "",
        "  The API with it:",
        f'  curl -s -H "Authorization: Bearer $({token} | sed \'s/.*"access_token":"\\([^"]*\\)".*/\\1/\')"'
        f" {demo.address('api')}/orders",
        "",
    ]
    return "\n".join(lines)


def _free_port(wanted: int) -> int:
    """Return the wanted port, or the next one that nobody listens on."""
    for port in range(wanted, wanted + 200, 20):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit("no free port found")


def _wait_for(url: str) -> None:
    """Wait until something answers there, whatever it says."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            urlopen(url, timeout=2).close()  # noqa: S310 - our own address
        except URLError as cause:
            if hasattr(cause, "code"):
                return
            time.sleep(0.1)
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{url} does not answer")


if __name__ == "__main__":
    main()
