"""The end session endpoint (OpenID Connect RP-Initiated Logout 1.0): an app asks to sign the person out here too.

Whoever proves with an ID token of ours that the person signed in to them is believed; otherwise the person is asked.
The browser goes back to a registered address of the proved or confirmed app alone; all else ends on our own page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Response, redirect, render_template, request

from auth_server import config
from auth_server.accounts import users
from auth_server.accounts.sessions import Session
from auth_server.clients import client as clients
from auth_server.clients.client import Client
from auth_server.infra import clock, crypto
from auth_server.oauth import hints
from auth_server.oauth.response import with_query
from auth_server.oauth.server import LONGEST_VALUE
from auth_server.tokens import families, subjects
from auth_server.web import csrf, headers, session

PATH = "/oauth/logout"
FIELD = "request"
"""The form field, and the parameter, that carry a checked request along, sealed."""
_SEALED_FOR = "logout-request"
_LIFE = timedelta(hours=1)
_CACHE_ONLY = '"cache"'  # Clear-Site-Data: never cookies, other apps on the host have theirs


@dataclass(frozen=True)
class LogoutRequest:
    """What is left of a request once it is checked: only what holds."""

    client_id: str = ""
    redirect_uri: str = ""
    """Registered for that client; "" for our own page."""
    state: str = ""
    sub: str = ""
    """Whom a good hint names."""

    @property
    def client(self) -> Client | None:
        return clients.find(self.client_id)

    def sealed(self) -> str:
        """Return it as a text that nobody can read or change, good for an hour."""
        expires_at = clock.epoch_seconds(clock.now() + _LIFE)
        values = [self.client_id, self.redirect_uri, self.state, self.sub, expires_at]
        return crypto.seal(_SEALED_FOR, json.dumps(values).encode(), "")


def setup_logout(blueprint: Blueprint) -> None:
    csrf.exempt((PATH, "POST"))  # an app's page posts it (§2); nothing is done before the GET that follows
    blueprint.add_url_rule(PATH, "end_session", end_session, methods=["GET", "POST"])


def end_session() -> Response:
    """Sign out, or ask. A POST from another site brings no cookie: it becomes a GET of our own."""
    found = unsealed(request.args.get(FIELD, "")) or _received()
    if request.method == "POST":
        return redirect(f"{PATH}?{urlencode({FIELD: found.sealed()})}", 303)  # type: ignore[return-value]
    here = session.current()
    if here is None and not found.sub:
        return _nobody_here(found)
    if here is None or _names(found, here):
        return finish(found, "rp_sign_out")
    user, app = users.find(here.user_id), found.client
    return Response(
        render_template(
            "login/logout.html",
            email=user.email if user else "",
            app_name=app.name if app else "",
            fields=[(FIELD, found.sealed())],
        )
    )


def _names(found: LogoutRequest, here: Session) -> bool:
    """Tell whether a good hint names whoever is signed in here."""
    client = found.client
    return client is not None and found.sub == subjects.told(client, here.user_id)


def finish(found: LogoutRequest, cause: str) -> Response:
    """Sign this browser out and send it where it may go, past the apps that are told through it."""
    here = session.current()
    session.end(cause)
    frames = _frames(here) if here else []
    onward = _with_state(found)
    if onward and not frames:
        response: Response = redirect(onward, 303)  # type: ignore[assignment]
    else:
        app = found.client if onward else None
        text = render_template("login/signed_out.html", frames=frames, onward=onward, app_name=app.name if app else "")
        response = Response(text)
        headers.let_in_frames(_origin(frame) for frame in frames)
    response.headers["Clear-Site-Data"] = _CACHE_ONLY
    return response


def _nobody_here(found: LogoutRequest) -> Response:
    """Say that nobody is signed in; an app that proved nothing gets the browser back when the person wants it."""
    onward, app = _with_state(found), found.client
    return Response(
        render_template(
            "login/signed_out.html", frames=[], onward="", back=onward, app_name=app.name if app and onward else ""
        )
    )


def unsealed(text: str) -> LogoutRequest | None:
    """Return the request that a text of ours carries; None for anything else and after its hour."""
    if not text or len(text) > 2 * LONGEST_VALUE:
        return None
    try:
        *values, expires_at = json.loads(crypto.unseal(_SEALED_FOR, text, ""))
    except crypto.CannotUnseal:
        return None
    found = LogoutRequest(*values)
    return found if clock.epoch_seconds(clock.now()) < expires_at else None


def _received() -> LogoutRequest:
    """Check what was sent; what does not hold is left out, so that the person is asked and stays here."""
    sent = _single(request.values.to_dict(flat=False))
    claims = hints.read(sent["id_token_hint"]) if "id_token_hint" in sent else {}
    if claims is None:  # not ours, or altered: it proves nothing, and so does the rest (§4)
        return LogoutRequest()
    client_id = str(claims.get("aud", "")) or sent.get("client_id", "")
    client = clients.find(client_id)
    if client is None or client.is_disabled or sent.get("client_id", client_id) != client_id:
        return LogoutRequest()
    uri = sent.get("post_logout_redirect_uri", "")
    registered = uri in client.post_logout_redirect_uris
    return LogoutRequest(
        client_id=client_id,
        redirect_uri=uri if registered else "",
        state=sent.get("state", "") if registered else "",
        sub=str(claims.get("sub", "")),
    )


def _single(values: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the parameters that were sent once, and are sane."""
    return {
        name: sent[0]
        for name, sent in values.items()
        if len(sent) == 1 and sent[0] and len(sent[0]) <= LONGEST_VALUE and "\x00" not in sent[0]
    }


def _with_state(found: LogoutRequest) -> str:
    """Return the app's address with `state` and nothing else (§3); "" when there is none, or not any more."""
    client = found.client
    if client is None or client.is_disabled or found.redirect_uri not in client.post_logout_redirect_uris:
        return ""
    if not found.state:
        return found.redirect_uri
    return with_query(found.redirect_uri, {"state": found.state})


def _frames(ended: Session) -> list[str]:
    """Return the addresses that the page loads for the apps of this session (Front-Channel Logout §3)."""
    frames = []
    for _session, client_id, _user, subject in families.apps_of_sessions([ended.id]):
        app = clients.find(client_id)
        uri = app.details.get("frontchannel_logout_uri", "") if app and not app.is_disabled else ""
        if uri:
            about = {"iss": config.current().issuer, "sid": subjects.sid(ended.id, subject)}
            frames.append(with_query(uri, about))
    return frames


def _origin(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}"
