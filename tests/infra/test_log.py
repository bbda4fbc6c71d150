"""Log lines: JSON off a terminal, readable on one, never forged."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from auth_server import config
from auth_server.config import Settings
from auth_server.infra import events
from auth_server.infra.log import setup_log

NASTY = 'line\r\n{"level": "info", "msg": "forged"}\x1b[31m\u2028"\x00'


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _handlers_stay() -> Iterator[None]:
    """Put the server's handler back: the next test logs too."""
    ours = logging.getLogger("auth_server")
    before = ours.handlers[:], ours.level, ours.propagate
    yield
    ours.handlers[:], ours.level, ours.propagate = before


def written(settings: Settings, stream: io.StringIO, say: Callable[[logging.Logger], None]) -> list[str]:
    """Return the lines that a logger of the server writes."""
    setup_log(settings, stream)
    events.begin(events.Context(request_id="r-1"))
    say(logging.getLogger("auth_server.test"))
    return stream.getvalue().splitlines()


def test_off_a_terminal_a_line_is_one_json_object(app: Flask) -> None:
    """Time in UTC, level, logger, text, request id, and the event's fields."""
    extra = {"fields": {"event": "sign_in.failed", "address": "192.0.2.1"}}
    (line,) = written(config.current(), io.StringIO(), lambda log: log.warning("said", extra=extra))
    found = json.loads(line)
    assert found.pop("ts").endswith("+00:00")
    assert found == {
        "level": "warning",
        "logger": "auth_server.test",
        "msg": "said",
        "request_id": "r-1",
        "event": "sign_in.failed",
        "address": "192.0.2.1",
    }


def test_on_a_terminal_a_line_is_readable(app: Flask) -> None:
    """Time, level, text and fields, for a person."""
    extra = {"fields": {"event": "x", "address": "192.0.2.1"}}
    (line,) = written(config.current(), Terminal(), lambda log: log.info("said", extra=extra))
    assert line.endswith("info    said address='192.0.2.1'")
    assert not line.startswith("{")


@pytest.mark.parametrize(("chosen", "is_json"), [("json", True), ("text", False)])
def test_the_format_can_be_chosen(make_app: Callable[..., Flask], chosen: str, is_json: bool) -> None:
    """LOG_FORMAT decides whatever the stream is."""
    make_app(log_format=chosen)
    for stream in (io.StringIO(), Terminal()):
        (line,) = written(config.current(), stream, lambda log: log.info("said"))
        assert line.startswith("{") is is_json


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_nobody_can_forge_a_line(app: Flask, stream: type[io.StringIO]) -> None:
    """Line ends, escape codes and quotes in a value stay inside its line."""
    lines = written(
        config.current(), stream(), lambda log: log.info("said %s", NASTY, extra={"fields": {"name": NASTY}})
    )
    assert len(lines) == 1
    assert not set(lines[0]) & set("\r\n\x1b\x00\u2028")


def test_an_exception_is_told_with_its_trace(app: Flask) -> None:
    """JSON keeps the trace in the same line; the text form writes it below."""

    def fail(log: logging.Logger) -> None:
        try:
            raise LookupError("why")
        except LookupError:
            log.exception("failed")

    (line,) = written(config.current(), io.StringIO(), fail)
    assert "LookupError: why" in json.loads(line)["trace"]
    assert written(config.current(), Terminal(), fail)[-1] == "LookupError: why"


def test_the_level_holds(make_app: Callable[..., Flask]) -> None:
    """LOG_LEVEL is the least severe line that is written."""
    make_app(log_level="warning")

    def say(log: logging.Logger) -> None:
        log.info("quiet")
        log.warning("loud")

    (line,) = written(config.current(), io.StringIO(), say)
    assert json.loads(line)["msg"] == "loud"


def test_authlib_is_never_asked_for_its_debug_lines(make_app: Callable[..., Flask]) -> None:
    """Its debug lines print whole tokens: even with everything at DEBUG they are off."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    try:
        make_app(log_level="debug")
        assert logging.getLogger("auth_server.test").isEnabledFor(logging.DEBUG)
        for name in ("authlib", "authlib.oauth2.rfc6749.authorization_server", "authlib.integrations.flask_oauth2"):
            assert not logging.getLogger(name).isEnabledFor(logging.DEBUG)
            assert logging.getLogger(name).isEnabledFor(logging.INFO)
    finally:
        root.setLevel(before)
