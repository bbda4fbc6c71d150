"""Liveness and readiness."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from auth_server import config, database
from auth_server.infra import schema
from auth_server.keys import keyring
from auth_server.web.answers import Answer, as_json
from auth_server.web.machines import Machines, Request


def setup_probes(machines: Machines) -> None:
    machines.add("/healthz", healthz)
    machines.add("/readyz", readyz)


def healthz(_request: Request) -> Answer:
    """The process lives; nothing is touched."""
    return as_json({"status": "ok"})


def readyz(_request: Request) -> Answer:
    """200 while database, schema and keys are good; a missing Redis only degrades."""
    checks = {"database": _database(), "schema": "unknown", "keys": "unknown"}
    if checks["database"] == "ok":
        checks["schema"] = _schema()
        checks["keys"] = _keys() if checks["schema"] == "ok" else "unknown"
    if config.current().redis_url:
        checks["redis"] = _redis(config.current().redis_url)
    good = all(state == "ok" for name, state in checks.items() if name != "redis")
    return as_json({"status": "ok" if good else "failing", "checks": checks}, 200 if good else 503)


def _database() -> str:
    try:
        database.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return "failing"
    return "ok"


def _schema() -> str:
    try:
        return "ok" if schema.is_current() else "not migrated"
    except SQLAlchemyError:
        return "failing"


def _keys() -> str:
    try:
        keyring.signer("RS256")
    except (keyring.NoKey, SQLAlchemyError):
        return "missing"
    return "ok"


def _redis(url: str) -> str:
    import redis  # only where it is configured

    try:
        redis.Redis.from_url(url, socket_connect_timeout=0.2, socket_timeout=0.2).ping()
    except redis.RedisError:
        return "degraded"
    return "ok"
