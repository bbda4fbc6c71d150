"""What a request must satisfy before a view sees it: the right host, a sane size, a signed-in person."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import ParamSpec, TypeVar
from urllib.parse import quote, urlsplit

from flask import Flask, Response, abort, redirect, request

from auth_server import config
from auth_server.accounts import second_factor, sign_in
from auth_server.accounts.sessions import Session
from auth_server.errors import PageError
from auth_server.infra import clock
from auth_server.web import request_id, session
from auth_server.web.machines import LARGEST_BODY, LONGEST_QUERY, MOST_FIELDS

LOGIN_PATH = "/login"
ENROLMENT_PATH = "/account/security/second-factor"
FRESH = timedelta(minutes=10)

P = ParamSpec("P")
R = TypeVar("R")


def setup_guards(app: Flask) -> None:
    app.config.update(MAX_CONTENT_LENGTH=LARGEST_BODY, MAX_FORM_MEMORY_SIZE=LARGEST_BODY, MAX_FORM_PARTS=MOST_FIELDS)

    @app.before_request
    def check_size_and_host() -> Response | None:
        if len(request.query_string) > LONGEST_QUERY:
            abort(414)
        if request.method == "POST" and sum(map(len, request.form.listvalues())) > MOST_FIELDS:
            abort(413)  # Werkzeug's own limit is for multipart forms alone
        return _check_host()


def _check_host() -> Response | None:
    """A page asked under another host than the issuer's: the browser goes to the issuer, a form is refused."""
    if request_id.seen_host() == config.current().issuer_host:
        return None
    if request.method not in ("GET", "HEAD"):
        raise PageError("invalid_request", 421, detail="form sent to a foreign host")
    query = "?" + request.query_string.decode("latin-1") if request.query_string else ""
    return redirect(config.current().url(quote(request.path)) + query, 302)  # type: ignore[return-value]


def signed_in(view: Callable[P, R]) -> Callable[P, R | Response]:
    """Let only signed-in people see a page; others sign in first and come back."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | Response:
        if session.current() is None:
            return to_login(_here_again())
        return view(*args, **kwargs)

    return guarded


def freshly_signed_in(view: Callable[P, R]) -> Callable[P, R | Response]:
    """Let people see a page who have signed in within ten minutes, with every factor they have; others do so first."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | Response:
        here = session.current()
        if here is None or not _is_fresh(here):
            return to_login(_here_again(), fresh=True)
        return view(*args, **kwargs)

    return guarded


def _here_again() -> str:
    return request.full_path.rstrip("?") if request.method == "GET" else request.path


def _is_fresh(here: Session) -> bool:
    is_recent = clock.now() - here.auth_time <= FRESH
    return is_recent and (here.acr == sign_in.ACR_TWO_FACTORS or not second_factor.is_on(here.user_id))


def the_session() -> Session:
    """Return the session of a page behind `signed_in`."""
    found = session.current()
    if found is None:
        abort(401)
    return found


def to_login(then: str, *, fresh: bool = False) -> Response:
    """Send the browser to the login page, and back afterwards; `fresh`: whoever is signed in must sign in again."""
    asked = "fresh=1&" if fresh else ""
    return redirect(f"{LOGIN_PATH}?{asked}next={quote(then, safe='')}", 303)  # type: ignore[return-value]


def to_enrolment(then: str) -> Response:
    """Send the browser to the page that sets up a second factor, and on to `then` afterwards."""
    return redirect(f"{ENROLMENT_PATH}?next={quote(then, safe='')}", 303)  # type: ignore[return-value]


def safe_next(target: str, default: str = "/account") -> str:
    """Return a local path to go on to after a sign-in; anything else is the default (ASVS 3.7.2)."""
    return target if is_local(target) and not target.startswith(LOGIN_PATH) else default


def is_local(target: str) -> bool:
    """Tell whether a link stays on this server, however a browser reads backslashes and control characters."""
    if not target.startswith("/") or target.startswith("//") or len(target) > 4000 or "\\" in target:
        return False
    if any(ord(char) < 33 or ord(char) > 126 for char in target):
        return False
    try:
        parts = urlsplit(target)
    except ValueError:
        return False
    return not parts.scheme and not parts.netloc
