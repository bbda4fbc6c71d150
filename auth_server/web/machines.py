"""The machines' floor: endpoints that answer programs, in front of Flask.

A machine endpoint needs no routing rules, session, cookie, CSRF token, template or language, and Flask would ask about
each of them on every request. Here a request is a table look-up, one handler inside one `database.work`, and one list
of headers. There is no second way to these endpoints, so nothing can drift: the pages' floor never sees their paths
(`web.surface`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.datastructures import EnvironHeaders
from werkzeug.exceptions import HTTPException
from werkzeug.wsgi import get_input_stream

from auth_server import config, database
from auth_server.errors import InvalidRequest, ProtocolError, TemporarilyUnavailable, TooLarge
from auth_server.infra import clock, events, strict_json
from auth_server.keys import certificate
from auth_server.keys.certificate import Shown
from auth_server.web import answers, request_id, surface
from auth_server.web.answers import Answer, Headers
from auth_server.web.headers import transport_security
from auth_server.web.limits import CreatedLimit, RefusedLimit

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
LARGEST_BODY = 64 * 1024
MOST_FIELDS = 100
LONGEST_QUERY = 16_384
_CORS_CACHE_SECONDS = 3600
_WRITERS = 2
"""So many requests that write are worked on at once in a process on SQLite. It has one writer: those in a
crowd poll for their turn and take the interpreter from one another: a tenth of the rate, a quarter more at p99."""

log = logging.getLogger("auth_server.web")

Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class Request:
    """What an endpoint may know of a request."""

    def __init__(self, environ: Environ) -> None:
        self.environ = environ
        self.method: str = environ["REQUEST_METHOD"]
        self.path: str = environ.get("PATH_INFO", "")

    @property
    def authorization(self) -> str | None:
        return self.environ.get("HTTP_AUTHORIZATION")

    @cached_property
    def headers(self) -> EnvironHeaders:
        return EnvironHeaders(self.environ)

    @cached_property
    def shown(self) -> Shown:
        """Return the certificate of the client's connection, which only a trusted proxy can tell of."""
        settings = config.current()
        if not settings.sees_certificates or not request_id.is_from_proxy(self.environ):
            return certificate.NOTHING
        name = settings.mtls_cert_header.upper().replace("-", "_")
        return certificate.read(self.environ.get(f"HTTP_{name}", ""), clock.now())

    @cached_property
    def form(self) -> dict[str, list[str]]:
        """Return the fields as they came; raise `InvalidRequest` for another content type, `TooLarge`.

        A form without fields comes without a body, and from most libraries without a type.
        """
        content_type = self.environ.get("CONTENT_TYPE", "")
        if not content_type and not self._body():
            return {}
        if _media_type(content_type) != FORM:
            raise InvalidRequest(f"the body must be {FORM}")
        return _fields(_text(self._body()))

    @cached_property
    def json(self) -> dict[str, Any]:
        """Return the object that was sent; raise `InvalidRequest` for anything else, `TooLarge`."""
        if _media_type(self.environ.get("CONTENT_TYPE", "")) != JSON:
            raise InvalidRequest(f"the body must be {JSON}")
        return _object(_text(self._body()))

    @cached_property
    def query(self) -> dict[str, list[str]]:
        """Return the parameters of the query."""
        return _fields(_text(self.environ.get("QUERY_STRING", "").encode("latin-1")))

    def _body(self) -> bytes:
        length = self.environ.get("CONTENT_LENGTH", "")
        if length.isdecimal() and int(length) <= LARGEST_BODY:
            read: bytes = self.environ["wsgi.input"].read(int(length))
            return read
        try:
            body: bytes = get_input_stream(self.environ, max_content_length=LARGEST_BODY).read()
        except HTTPException as cause:  # too large, or the client went away
            raise TooLarge() if cause.code == 413 else InvalidRequest("the body ended early") from cause
        return body


Handler = Callable[[Request], Answer]


@dataclass(frozen=True, slots=True)
class _Endpoint:
    handle: Handler
    methods: tuple[str, ...]
    is_limited: bool
    creates: bool
    gate: AbstractContextManager[Any]


class Machines:
    """WSGI middleware: answers the machine endpoints, and lets the application have every other path."""

    def __init__(
        self, application: Wsgi, settings: config.Settings, limit: RefusedLimit, created: CreatedLimit
    ) -> None:
        self._application = application
        self._endpoints: dict[str, _Endpoint] = {}
        self._limit = limit
        self._created = created
        self._common = (*_PROTECTION, *transport_security(settings))
        self._writers_gate = threading.Semaphore(_WRITERS) if database.has_one_writer() else nullcontext()

    def add(
        self,
        path: str,
        handler: Handler,
        methods: tuple[str, ...] = ("GET",),
        *,
        limited: bool = False,
        writes: bool = False,
        creates: bool = False,
    ) -> None:
        """Mount an endpoint; at a path that ends with a slash, for everything directly below it.

        `limited`: its refusals count against the caller's address; `writes`: most answers do; `creates`: it creates
        rows for strangers, so all requests count.
        """
        gate = self._writers_gate if writes else nullcontext()
        self._endpoints[path] = _Endpoint(handler, methods, limited, creates, gate)

    @property
    def routes(self) -> dict[str, tuple[str, ...]]:
        """Return the paths and the methods they take."""
        return {path: endpoint.methods for path, endpoint in self._endpoints.items()}

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        endpoint = self._endpoints.get(path)
        if endpoint is None:
            if not surface.is_for_machines(path):
                return self._application(environ, start_response)
            endpoint = self._endpoints.get(path[: path.rfind("/") + 1])
        here = request_id.context_of(environ)
        events.begin(here)
        request = Request(environ)
        answer = self._answer(endpoint, request, here.address)
        headers = [*answer.headers, *self._common, (request_id.HEADER, here.request_id)]
        if path not in surface.PROBES:
            headers += _CORS
        if answer.status not in (204, 304):
            headers.append(("Content-Length", str(len(answer.body))))
        start_response(_LINES[answer.status], headers)
        return [b"" if request.method == "HEAD" else answer.body]

    def _answer(self, endpoint: _Endpoint | None, request: Request, address: str) -> Answer:
        if len(request.environ.get("QUERY_STRING", "")) > LONGEST_QUERY:
            return answers.of_status(414)
        if endpoint is None:
            return answers.of_status(404)
        if request.method not in endpoint.methods and not (request.method == "HEAD" and "GET" in endpoint.methods):
            return _of_other_method(endpoint, request)
        if not endpoint.is_limited:
            return _handle(endpoint.handle, request, endpoint.gate)
        wait = self._limit.seconds_to_wait(address)
        if wait:
            return _wait(wait, "too many refused requests; wait")
        if endpoint.creates and (wait := self._created.seconds_to_wait(address)):
            return _wait(wait, "too many requests; wait")
        answer = _handle(endpoint.handle, request, endpoint.gate)
        if 400 <= answer.status < 500 and answer.is_refusal:
            self._limit.count(address)
        return answer


def _handle(handler: Handler, request: Request, gate: AbstractContextManager[Any]) -> Answer:
    """Let the endpoint answer in a transaction of its own; every answer below 500 commits, a crash undoes."""
    with database.work(gate) as work:
        try:
            answer = _spoken(handler, request)
            if answer.status < 500:
                work.commit()
        except SQLAlchemyError:
            log.exception("the database cannot answer")
            return answers.unavailable()
        except Exception:
            log.exception("unexpected failure")
            return answers.as_json({"error": "server_error"}, 500)
    return answer


def _spoken(handler: Handler, request: Request) -> Answer:
    try:
        return handler(request)
    except ProtocolError as error:
        return answers.of_error(error, had_credentials=request.authorization is not None)


def _of_other_method(endpoint: _Endpoint, request: Request) -> Answer:
    """Answer a preflight, or say which methods there are."""
    allowed = ("Allow", ", ".join((*endpoint.methods, *(["HEAD"] if "GET" in endpoint.methods else []), "OPTIONS")))
    if request.method != "OPTIONS":
        return answers.of_status(405, (allowed,))
    if request.path in surface.PROBES or "HTTP_ACCESS_CONTROL_REQUEST_METHOD" not in request.environ:
        return Answer(200, b"", (allowed, *answers.NO_STORE))
    others = [method for method in endpoint.methods if method not in _USUAL_METHODS]
    methods = ("Access-Control-Allow-Methods", ", ".join((*_USUAL_METHODS, *others, "OPTIONS")))
    return Answer(204, b"", (methods, *_PREFLIGHT, *answers.NO_STORE))


def _wait(seconds: int, why: str) -> Answer:
    refusal = TemporarilyUnavailable(why, retry_after_seconds=seconds)
    return answers.of_error(refusal, had_credentials=False)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("the request is not UTF-8") from None


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _object(text: str) -> dict[str, Any]:
    try:
        return strict_json.read_object(text)
    except strict_json.NotAnObject:
        raise InvalidRequest("the body must be a JSON object") from None
    except ValueError:
        raise InvalidRequest("the body is not well-formed JSON, or names something twice") from None


def _fields(text: str) -> dict[str, list[str]]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise TooLarge from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_PROTECTION: Headers = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)
_CORS: Headers = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "WWW-Authenticate, DPoP-Nonce, X-Request-Id"),
)
_USUAL_METHODS = ("GET", "POST")
_PREFLIGHT: Headers = (
    ("Access-Control-Allow-Headers", "Authorization, Content-Type, DPoP"),
    ("Access-Control-Max-Age", str(_CORS_CACHE_SECONDS)),
)


def setup_machines(app: Flask, settings: config.Settings, limit: RefusedLimit, created: CreatedLimit) -> Machines:
    """Put the machines' floor in front of the application, and return it for the endpoints to be mounted on."""
    machines = Machines(app.wsgi_app, settings, limit, created)
    app.wsgi_app = machines  # type: ignore[method-assign]
    app.extensions["machines"] = machines
    return machines
