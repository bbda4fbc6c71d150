"""`peers`: our server, the baseline and other servers side by side in one run, and how we stand against our goals."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import RSAKey

from benchmarks import baseline, goals, limits, load, servers
from benchmarks.grounds import APP, CHALLENGE, REDIRECT_URI, SECRET, SERVICE
from benchmarks.peers import installed
from benchmarks.rows import ROWS, Row
from benchmarks.targets import Target, measure, results

_CANAILLE_ROWS = frozenset(
    {"metadata", "jwks", "cc-opaque", "code-jwt", "refresh-jwt", "introspect-jwt", "userinfo-jwt"}
)
"""Its access tokens are JWTs where a person is behind them."""
_DOT_ROWS = frozenset({"metadata", "jwks", "cc-opaque", "code", "refresh-openid", "introspect", "userinfo"})
"""Its access tokens are always opaque."""
_NODE_ROWS = frozenset(goals.GOALS)


class MintingGround:
    """A peer that makes codes and refresh tokens itself, when it is asked outside the timed part."""

    def __init__(self, port: int) -> None:
        self.port = port

    def codes(self, scope: str, count: int) -> list[str]:
        return self._mint("code", scope, count)

    def refresh_tokens(self, scope: str, count: int) -> list[str]:
        return self._mint("refresh", scope, count)

    def _mint(self, kind: str, scope: str, count: int) -> list[str]:
        asked = urlencode({"kind": kind, "scope": scope, "count": count})
        status, body = load.once(self.port, load.get(f"/mint?{asked}"))
        if status != 200:
            raise RuntimeError(f"nothing minted: {status} {body[:300]!r}")
        fresh: list[str] = json.loads(body)
        return fresh


@dataclass(frozen=True)
class Peer:
    """How a peer is started: its command for a port, and what it is told beside the clients."""

    command: Callable[[int], list[str]]
    told: Callable[[Path], dict[str, str]]
    rows: frozenset[str]


def _keys(folder: Path) -> dict[str, str]:
    return {"KEYS": str(folder / "set.json"), "PEM": str(folder / "key.pem")}


def _node(store: str, address: Callable[[Path], str]) -> Peer:
    def told(folder: Path) -> dict[str, str]:
        return {"STORE": store, "STORE_ADDRESS": address(folder), **_keys(folder)}

    return Peer(lambda _port: ["node", str(installed.node_modules() / "oidc_provider.mjs")], told, _NODE_ROWS)


def _told_python(name: str) -> Callable[[Path], dict[str, str]]:
    def told(folder: Path) -> dict[str, str]:
        return {"STORE_ADDRESS": str(folder / f"{name}.db"), **_keys(folder)}

    return told


def _gunicorn(name: str) -> Callable[[int], list[str]]:
    def command(port: int) -> list[str]:
        python = installed.python(f"{name}_requirements.txt")
        place = ["--chdir", str(installed.HERE), "--bind", f"127.0.0.1:{port}"]
        threads = ["--worker-class", "gthread", "--threads", "4"]
        return [str(python), "-m", "gunicorn", *place, *threads, f"{name}_app:application"]

    return command


def peers() -> dict[str, Peer]:
    """Return the peers by name; the one over Redis only where AUTH_TEST_REDIS_URL names one."""
    found = {
        "oidc-provider-mem": _node("memory", lambda _folder: ""),
        "oidc-provider": _node("sqlite", lambda folder: str(folder / "node.db")),
        "DOT": Peer(_gunicorn("dot"), _told_python("dot"), _DOT_ROWS),
        "canaille": Peer(_gunicorn("canaille"), _told_python("canaille"), _CANAILLE_ROWS),
    }
    redis_url = os.environ.get("AUTH_TEST_REDIS_URL")
    if redis_url:
        found["oidc-provider-redis"] = _node("redis", lambda _folder: redis_url)
    return found


def start(stack: ExitStack, folder: Path, wanted: list[str] | None) -> tuple[list[Target], list[str]]:
    """Start the peers; return those that run, and a line for each that does not."""
    _write_keys(folder)
    running, missing = [], []
    for name, peer in peers().items():
        if wanted and name not in wanted:
            continue
        port = servers.free_port()
        clients = {"APP": APP, "SERVICE": SERVICE, "SECRET": SECRET, "REDIRECT_URI": REDIRECT_URI}
        environ = {**os.environ, **clients, "CHALLENGE": CHALLENGE, "PORT": str(port), **peer.told(folder)}
        log = folder / f"{name}.log"
        try:
            command = peer.command(port)
            server = stack.enter_context(
                servers.running(command, port, environ, log, "/.well-known/openid-configuration")
            )
        except (installed.NotInstalled, RuntimeError) as cause:
            missing.append(f"NOT MEASURED: {name}: {str(cause)[-500:]}")
            continue
        running.append(Target(name, server, MintingGround(port), rows=peer.rows))
    return running, missing


def _write_keys(folder: Path) -> None:
    """Give the peers keys of our own sizes, as a key set and as PEM."""
    baseline.make_keys(folder / "peers.json")
    by_alg = json.loads((folder / "peers.json").read_text())
    named = [{**jwk, "alg": alg, "use": "sig", "kid": alg} for alg, jwk in by_alg.items()]
    (folder / "set.json").write_text(json.dumps({"keys": named}))
    private: Any = RSAKey.import_key(by_alg["RS256"]).private_key
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (folder / "key.pem").write_bytes(pem)


def run(options: argparse.Namespace, ours: list[Target], stack: ExitStack, folder: Path) -> int:
    """Measure the rows at every server; return 1 when any answer was an error."""
    others, missing = start(stack, folder, options.peer)
    wanted = options.only or {row.name for row in ROWS if any(other.does(row) for other in others)}
    rows = [row for row in ROWS if row.name in wanted]
    targets = [*ours, *others]
    measure(targets, [limits.BARE, *rows], options.rounds, options.seconds)
    found = results(targets, [limits.BARE, *rows])
    signatures = limits.signatures()
    if options.json:
        print(json.dumps({"rows": found, "signatures_us": signatures, "missing": missing}, indent=2))
    else:
        report(rows, found, missing)
        print("\n" + limits.line(found[limits.BARE.name]["baseline"], signatures))
    return int(any(result["errors"] for about in found.values() for result in about.values()))


def report(rows: list[Row], found: dict[str, dict[str, Any]], missing: list[str]) -> None:
    """Print each row: every server, our ratio to it, and whether floor and goal are reached."""
    print(
        f"{'row':16}{'server':22}{'req/s':>8}{'min-max':>16}{'CPU us':>8}{'p50':>7}{'p99 ms':>8}{'errors':>7}"
        + f"{'ratio':>8}"
    )
    for row in rows:
        ours = found[row.name]["auth-server"]
        for name, result in found[row.name].items():
            low, high = result["rate_range"]
            ratio = f"{ours['rate'] / result['rate']:7.2f}x" if result["rate"] else "       -"
            print(
                f"{row.name:16}{name:22}{result['rate']:8,.0f}{f'{low:,.0f}-{high:,.0f}':>16}{result['cpu_us']:8,.0f}"
                f"{result['p50_ms']:7.1f}{result['p99_ms']:8.1f}{result['errors']:7}{ratio}"
            )
        print("\n".join(f"{'':16}{verdict}" for verdict in goals.verdicts(row.name, found)))
    for row in rows:
        for name, result in found[row.name].items():
            if result["errors"]:
                print(f"ERRORS in {row.name} at {name}: {result['errors']}, the first: {result['first_error']}")
    print("\n".join(missing), file=sys.stderr)
