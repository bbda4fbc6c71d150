"""`failover`: two servers behind nginx on PostgreSQL and Redis; one is killed, comes back, and is stopped gently."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import callers, load, servers
from benchmarks.callers import Caller
from benchmarks.grounds import OPAQUE, PERSON, OurGround
from benchmarks.servers import Server

_CODES = 20
_FAMILIES = 1000
_ROTATORS = 4
_NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream auth_server {{
        server 127.0.0.1:{first} max_fails=1 fail_timeout=1s;
        server 127.0.0.1:{second} max_fails=1 fail_timeout=1s;
        keepalive 16;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://auth_server;
            proxy_http_version 1.1;
            proxy_connect_timeout 1s;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
        }}
    }}
}}
"""


class Pair:
    """Two servers on one database, and nginx before them at `port`."""

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        self.port = servers.free_port()
        self._folder = folder
        self._ports = (servers.free_port(), servers.free_port())
        shared = {
            **servers.environment(folder / "instance", self.port, database_url),
            "AUTH_SERVER_REDIS_URL": redis_url,
            "AUTH_SERVER_ENDPOINT_RATE_LIMIT": "100000 per minute",
            "AUTH_SERVER_TRUSTED_PROXIES": "127.0.0.1",
            "AUTH_SERVER_REFRESH_TOKEN_GRACE": "10",  # whoever lost an answer asks again
        }
        self.environ = shared
        self._environs = [{**shared, "AUTH_SERVER_INSTANCE_PATH": str(folder / name)} for name in ("first", "second")]
        self._running: dict[int, Server] = {}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run all three until the end of the block."""
        servers.initialise(self.environ)
        (self._folder / "nginx.conf").write_text(
            _NGINX.format(folder=self._folder, port=self.port, first=self._ports[0], second=self._ports[1])
        )
        with ExitStack() as stack:
            stack.callback(lambda: [server.stop() for server in self._running.values()])
            for number in range(len(self._ports)):
                self.start(number)
            command = ["nginx", "-p", str(self._folder), "-c", str(self._folder / "nginx.conf"), "-e", "stderr"]
            nginx = stack.enter_context(subprocess.Popen(command))
            stack.callback(nginx.terminate)
            self._await_nginx()
            yield

    def _await_nginx(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                load.once(self.port, load.get("/healthz"))
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def start(self, number: int) -> None:
        """Start a server and wait until it is ready."""
        port, log = self._ports[number], self._folder / f"{number}.log"
        server = Server(servers.serve_command(port), port, self._environs[number], log, None)
        self._running[number] = server
        server.wait("/readyz")

    def kill(self, number: int) -> None:
        self._running.pop(number).kill()

    def stop(self, number: int) -> None:
        """Ask a server to finish what it is doing and to end."""
        self._running.pop(number).stop()


def run_failover(options: argparse.Namespace) -> int:
    """Keep apps asking while a server is killed, started, stopped gently and started again; report what they saw."""
    redis_url = os.environ.get("AUTH_TEST_REDIS_URL", "")
    if not (options.database and redis_url):
        raise SystemExit("failover: needs --database and AUTH_TEST_REDIS_URL (scripts/with-services gives both)")
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        pair = Pair(Path(name), options.database, redis_url)
        with pair.running():
            found = _watch(pair, options.seconds)
    print(json.dumps(found, indent=2) if options.json else _table(found))
    return int(any(phase["wrong"] for phase in found))


def _watch(pair: Pair, seconds: float) -> list[dict[str, Any]]:
    steps = (
        ("both serve", lambda: None),
        ("one is killed", lambda: pair.kill(0)),
        ("it is back", lambda: pair.start(0)),
        ("the other is stopped gently", lambda: pair.stop(1)),
        ("it is back too", lambda: pair.start(1)),
    )
    ground, found = OurGround(pair.port, pair.environ), []
    keys = callers.key_set(pair.port)
    families = deque(ground.refresh_tokens(f"offline_access {OPAQUE}", _FAMILIES))

    def codes() -> list[str]:
        return ground.codes(f"{PERSON} {OPAQUE}", _CODES)

    for name, act in steps:
        acts = [callers.signs(keys), callers.signs(keys), callers.redeems(codes), callers.revokes, callers.revokes]
        acts += [callers.rotates(families) for _rotator in range(_ROTATORS)]
        over = threading.Event()
        apps = [Caller(pair.port, over, what) for what in acts]
        for app in apps:
            app.start()
        time.sleep(seconds / 2)
        act()
        time.sleep(seconds / 2)
        over.set()
        for app in apps:
            app.join()
        found.append(_sum(name, apps))
    return found


def _sum(name: str, apps: list[Caller]) -> dict[str, Any]:
    answered: Counter[int] = sum((app.answered for app in apps), Counter())
    return {
        "phase": name,
        "answered": answered.total(),
        "statuses": dict(sorted(answered.items())),
        "lost": sum(app.lost for app in apps),
        "wrong": [what for app in apps for what in app.wrong],
    }


def _table(found: list[dict[str, Any]]) -> str:
    lines = [f"{'':30}{'answered':>9}{'lost':>6}{'wrong':>6}  statuses"]
    for phase in found:
        statuses = ", ".join(f"{status}: {count}" for status, count in phase["statuses"].items())
        wrong = len(phase["wrong"])
        lines.append(f"{phase['phase']:30}{phase['answered']:9,}{phase['lost']:6}{wrong:6}  {statuses}")
        lines += [f"  WRONG: {what}" for what in phase["wrong"][:3]]
    return "\n".join(lines)
