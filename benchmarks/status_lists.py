"""`status`: the status list with many families, at the server and at an API that looks at it."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from auth_server.database import db
from auth_server.infra import clock
from auth_server.keys import jose, status_list
from auth_server.resource_server import Answer
from auth_server.resource_status import StatusLists
from benchmarks import load, loads
from benchmarks.grounds import OurGround
from benchmarks.rows import STATUS_LIST
from benchmarks.targets import measure

FAMILIES = 50_000
RECALLED = (0, 100, 10_000)
_ISSUER = "https://id.example.org"
_URI = _ISSUER + "/oauth/status/0"


def run_status(options: argparse.Namespace) -> int:
    """Measure the list with so many families, of which so many were recalled within the last hour."""
    found: dict[str, dict[str, Any]] = {STATUS_LIST.name: {}}
    beside = {}
    for recalled in RECALLED:
        with loads.ours(options) as target:
            _fill(target.ground, recalled)
            measure([target], [STATUS_LIST], options.rounds, options.seconds)
            _status, body = load.once(target.server.port, load.get("/oauth/status/0"))
            found[STATUS_LIST.name][f"{recalled:,}"] = target.result(STATUS_LIST)
            beside[f"{recalled:,}"] = {"bytes": len(body), **_costs(recalled)}
    status = loads.report(options, found, "recalled", "0")
    print(json.dumps(beside) if options.json else "\n".join(f"{many} recalled: {beside[many]}" for many in beside))
    return status


def _fill(ground: OurGround, recalled: int) -> None:
    """Take the places of as many families as a large server has, and set some bits."""
    places = random.Random(1).sample(range(status_list.SIZE), FAMILIES)
    later, now = clock.now() + timedelta(hours=1), clock.now()
    rows = [
        {"position": place, "expires_at": later, "recalled_at": now if number < recalled else None}
        for number, place in enumerate(places)
    ]
    with ground.app.app_context():
        db.session.execute(db.metadata.tables["status_index"].insert(), rows)
        db.session.commit()


def _costs(recalled: int) -> dict[str, float]:
    """Return what one list and one look at it cost, alone: making and reading in ms, a token's check in us."""
    key = jose.Key("one", "RS256", jose.wrap(jose.generate("RS256")))
    places = random.Random(1).sample(range(status_list.SIZE), recalled)
    times: dict[str, Any] = {"issuer": _ISSUER, "uri": _URI, "now": int(time.time())}

    def make() -> str:
        return status_list.sign(places, key, **times, ttl_seconds=300, life_seconds=900)

    token = make()
    about: dict[str, Any] = {"issuer": _ISSUER, "uri": _URI, "find_key": lambda _kid: key, "now": datetime.now(UTC)}
    lists = StatusLists(_ISSUER, lambda *_: Answer(200, {}, token.encode()), lambda _kid: key, timedelta(0))
    claims = {"status": {"status_list": {"idx": 7, "uri": _URI}}}
    return {
        "make_ms": round(_seconds(make, 50) * 1e3, 2),
        "read_ms": round(_seconds(lambda: status_list.verify(token, **about), 50) * 1e3, 2),
        "check_us": round(_seconds(lambda: lists.is_recalled(claims), 20_000) * 1e6, 2),
    }


def _seconds(act: Callable[[], object], times: int) -> float:
    act()
    begun = time.process_time()
    for _ in range(times):
        act()
    return (time.process_time() - begun) / times
