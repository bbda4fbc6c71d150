"""Who is signed in: the session cookie, and Flask-Login as a thin `current_user` over our own session rows.

Flask-Login's own session, remember cookie and protection are not used: `login_user` is never called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, g, request
from flask_login import LoginManager, UserMixin

from auth_server import config
from auth_server.accounts import sessions, sign_in, users
from auth_server.accounts.sessions import Session
from auth_server.infra import events
from auth_server.tokens import ending
from auth_server.web import browser, i18n

COOKIE = "auth_server"


class CurrentUser(UserMixin):  # type: ignore[misc]
    """The signed-in person as Flask-Login, views and templates see them."""

    def __init__(self, user: users.User, session: Session) -> None:
        self.user = user
        self.session = session

    def get_id(self) -> str:
        return str(self.user.id)

    @property
    def name(self) -> str:
        return str(self.user.name)

    @property
    def email(self) -> str:
        return str(self.user.email)


class SessionLoginManager(LoginManager):  # type: ignore[misc]
    """Loads the person from our session row; a foreign `remember_token` cookie changes nothing."""

    def _load_user(self) -> None:
        session = current()
        user = users.find(session.user_id) if session else None
        g._login_user = CurrentUser(user, session) if user and session else self.anonymous_user()


def setup_session(app: Flask) -> None:
    """Make `current_user` available; Flask-Login's hooks on Flask's session are left out."""
    manager = SessionLoginManager()
    app.extensions["login_manager"] = manager
    app.login_manager = manager  # type: ignore[attr-defined]
    app.session_interface = browser.BrowserInterface()
    app.after_request(_renew_remembered_cookie)
    i18n.ask_person(_claims)


def current() -> Session | None:
    """Return the live session of this request, or None."""
    if "sign_in_session" not in g:
        handle = _presented_handle()
        g.sign_in_session = sessions.find(handle) if handle else None
        if g.sign_in_session:
            _act_as(g.sign_in_session)
    found: Session | None = g.sign_in_session
    return found


def begin(proved: sign_in.Proved, *, remember: bool) -> Session:
    """Start a session for somebody who has just signed in, always with a new handle.

    The same person's session of this browser goes on, so that its end still ends what was born in it; another
    person's ends. So does everything else of this person where the sign-in was that unusual.
    """
    former = current()
    if proved.ends_all_else:
        ending.sign_out_everywhere(proved.user.id, "watch")
        former = former if former and former.user_id != proved.user.id else None
    proof: dict[str, Any] = {"amr": proved.amr, "acr": proved.acr, "remember": remember}
    proof |= {"address": events.context().address, "shown_since": proved.shown_since}
    if former and former.user_id == proved.user.id:
        session, raw_handle = sessions.renew(former, **proof)
    else:
        if former:
            ending.end_session(former.id, "replaced")
        agent = events.context().user_agent
        session, raw_handle = sessions.start(proved.user.id, browser_digest=browser.digest(), user_agent=agent, **proof)
    g.sign_in_session = session
    g.pop("_login_user", None)
    g.new_handle = raw_handle
    _act_as(session)
    ending.end_oldest_sessions(proved.user.id, kept=session.id)
    return session


def end(cause: str) -> None:
    """Sign this browser out."""
    session = current()
    if session:
        ending.end_session(session.id, cause)
    g.sign_in_session = None
    g.pop("_login_user", None)
    g.drop_handle = True


def theme() -> str:
    """Return "light" or "dark" as the person chose, or "" to follow the system; looks nobody up for it."""
    here = g.get("sign_in_session")
    person = users.find(here.user_id) if here else None
    return person.theme if person and person.theme != users.SYSTEM else ""


def _claims() -> Mapping[str, Any]:
    """Return the claims of whoever is signed in."""
    session = current()
    user = users.find(session.user_id) if session else None
    return user.claims if user else {}


def _act_as(session: Session) -> None:
    context = events.context()
    context.actor_kind, context.actor, context.session = "person", session.user_id, session.id


def _presented_handle() -> str | None:
    return browser.read_cookie(browser.cookie_name(COOKIE))


def _renew_remembered_cookie(response: Response) -> Response:
    """Set the cookie after a sign-in, prolong it where the person is kept signed in, drop it after a sign-out."""
    if response.status_code >= 500:
        return response  # nothing of this request is kept
    name = browser.cookie_name(COOKIE)
    session: Any = g.get("sign_in_session")
    if "new_handle" in g:
        life = config.current().remember_ttl if session.remember else None
        browser.put_cookie(response, name, g.new_handle, life)
    elif "drop_handle" in g:
        browser.drop_cookie(response, name)
    elif session and session.remember and request.method == "GET":
        handle = _presented_handle()
        if handle:
            browser.put_cookie(response, name, handle, config.current().remember_ttl)
    return response
