"""What a request must satisfy before a view sees it: the right host, a sane size, a signed-in person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import wraps
from typing import ParamSpec, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from flask import Flask, Response, abort, g, redirect, request

from auth_server import config
from auth_server.access import assurance
from auth_server.accounts import sign_in, users
from auth_server.accounts.sessions import Session
from auth_server.accounts.users import User
from auth_server.errors import PageError
from auth_server.infra import clock, crypto
from auth_server.web import browser, request_id, session
from auth_server.web.machines import LARGEST_BODY, LONGEST_QUERY, MOST_FIELDS

LOGIN_PATH = "/login"
STEP_UP_PATH = LOGIN_PATH + "/step-up"
ENROLMENT_PATH = "/account/security/second-factor"
FRESH = timedelta(minutes=10)
_SEAL, _LONGEST_KEPT = "kept", 1500
_NEVER_KEPT = frozenset({"password", "current", "code", "token", "csrf_token", _SEAL})

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


def signed_in(view: Callable[P, R], *, keep: Sequence[str] = (), on_the_way: bool = False) -> Callable[P, R | Response]:
    """Let only signed-in people see a page; others sign in first and come back, with the inputs in `keep`.

    Whoever must set up a second factor does that first, unless the page is `on_the_way` there.
    """
    _refuse_secrets(keep)

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | Response:
        here = session.current()
        if here is None:
            return to_login(_here_again(keep))
        return _enrolment_first(here, on_the_way, keep) or view(*args, **kwargs)

    return guarded


def freshly_signed_in(
    view: Callable[P, R], *, keep: Sequence[str] = (), on_the_way: bool = False
) -> Callable[P, R | Response]:
    """Let people see a page who have signed in within ten minutes, with every factor they have; others do so first.

    A form that was sent comes back with the inputs in `keep`, see `typed`: never a password or a code.
    `on_the_way` as for `signed_in`.
    """
    _refuse_secrets(keep)

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | Response:
        here = session.current()
        if here is None or not _is_fresh(here):
            return to_login(_here_again(keep), fresh=True)
        return _enrolment_first(here, on_the_way) or view(*args, **kwargs)

    return guarded


def _enrolment_first(here: Session, on_the_way: bool, keep: Sequence[str] = ()) -> Response | None:
    """Send whoever must set up a second factor to do so; note for the page how many days an administrator has left."""
    standing = assurance.standing(here.user_id)
    g.days_to_enrol = standing.days_left
    return to_enrolment(_here_again(keep)) if standing.is_due and not on_the_way else None


def _refuse_secrets(keep: Sequence[str]) -> None:
    if set(keep) & _NEVER_KEPT:
        raise ValueError("a secret does not travel in an address")


def kept() -> dict[str, str]:
    """Return what this browser typed into this page's form before a sign-in lay between; {} for anybody's link."""
    inputs = {name: value for name, value in request.args.items() if name != _SEAL}
    is_ours = crypto.same(request.args.get(_SEAL, ""), _seal(urlencode(inputs)))
    return inputs if is_ours else {}


def typed(name: str) -> str:
    """Return an input of the form: as it was sent, or as it was kept."""
    return request.form.get(name) or kept().get(name, "")


def _here_again(keep: Sequence[str] = ()) -> str:
    if request.method == "GET":
        return request.full_path.rstrip("?")
    query = urlencode(_short_enough({name: request.form[name] for name in keep if name in request.form}))
    return f"{request.path}?{query}&{_SEAL}={_seal(query)}" if query else request.path


def _short_enough(inputs: dict[str, str]) -> dict[str, str]:
    """Leave out what would make the address too long."""
    found: dict[str, str] = {}
    for name, value in inputs.items():
        if len(urlencode({**found, name: value})) <= _LONGEST_KEPT:
            found[name] = value
    return found


def _seal(query: str) -> str:
    """Bind kept inputs to page and browser: a link from elsewhere fills in no form."""
    return crypto.tag("kept-inputs", f"{browser.digest()}:{request.path}:{query}")


def _is_fresh(here: Session) -> bool:
    is_recent = clock.now() - here.shown_since <= FRESH
    return is_recent and (here.acr == sign_in.ACR_TWO_FACTORS or not assurance.has_second_factor(here.user_id))


def the_session() -> Session:
    """Return the session of a page behind `signed_in`."""
    found = session.current()
    if found is None:
        abort(401)
    return found


def the_person() -> User:
    """Return who is signed in, on a page behind `signed_in`."""
    found = users.find(the_session().user_id)
    if found is None:
        raise PageError("not_found", 404)
    return found


def to_login(then: str, *, fresh: bool = False) -> Response:
    """Send the browser to the login page, and back afterwards; `fresh`: whoever is signed in must sign in again."""
    asked = "fresh=1&" if fresh else ""
    return redirect(f"{LOGIN_PATH}?{asked}next={quote(then, safe='')}", 303)  # type: ignore[return-value]


def to_step_up(then: str) -> Response:
    """Send whoever is signed in to the second step alone, and on to `then` afterwards."""
    return redirect(f"{STEP_UP_PATH}?next={quote(then, safe='')}", 303)  # type: ignore[return-value]


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
