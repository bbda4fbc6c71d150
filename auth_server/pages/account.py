"""The account: where the person is signed in, and which apps may use the account."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, redirect, render_template, request

from auth_server import config
from auth_server.access import apis, consents
from auth_server.accounts import sessions, users
from auth_server.clients import client as clients
from auth_server.clients import document_address
from auth_server.clients.client import Client
from auth_server.errors import PageError
from auth_server.oauth import consent
from auth_server.tokens import ending, exchanges, families
from auth_server.tokens.claims import OF_SCOPE
from auth_server.tokens.exchanges import Passed
from auth_server.tokens.families import Family
from auth_server.web import guards, words
from auth_server.web.i18n import gettext as _


def setup_account(app: Flask) -> None:
    blueprint = Blueprint("account", __name__, url_prefix="/account")
    blueprint.add_url_rule("", "overview", guards.signed_in(overview))
    blueprint.add_url_rule("/sessions", "sessions", guards.signed_in(signed_in_browsers))
    blueprint.add_url_rule("/sessions", "end_sessions", guards.signed_in(end_sessions), methods=["POST"])
    blueprint.add_url_rule("/apps", "apps", guards.signed_in(connected_apps))
    blueprint.add_url_rule("/apps", "disconnect", guards.signed_in(disconnect), methods=["POST"])
    app.register_blueprint(blueprint)


def overview() -> str:
    here = guards.the_session()
    user = users.find(here.user_id)
    if user is None:
        raise PageError("not_found", 404)
    return render_template(
        "account/overview.html",
        account={"name": user.name, "email": user.email, "since": user.created_at},
        session_count=len(sessions.listing(user.id)),
        app_count=len(_apps(user.id)),
    )


def signed_in_browsers() -> str:
    here = guards.the_session()
    rows = [
        {
            "id": row.id,
            "browser": words.browser(row.user_agent) or _("Unknown browser"),
            "how": words.methods(row.amr),
            "signed_in": row.created_at,
            "last_active": row.last_seen_at,
            "address": row.address,
            "country": words.country(row.country),
            "current": row.id == here.id,
        }
        for row in sessions.listing(here.user_id)
    ]
    return render_template("account/sessions.html", sessions=rows)


def end_sessions() -> Response:
    """End one of the person's own sessions, or all others; somebody else's is "not found"."""
    here = guards.the_session()
    decision = request.form.get("decision")
    if decision == "end_others":
        ending.end_other_sessions(here.user_id, kept=here.id)
    elif decision == "end":
        chosen = request.form.get("session", "")
        if chosen not in {row.id for row in sessions.listing(here.user_id)}:
            raise PageError("not_found", 404, detail="no such session of this person")
        ending.end_session(chosen, "ended_by_user")
    else:
        raise PageError("invalid_request", detail="no decision")
    return redirect("/account/sessions", 303)  # type: ignore[return-value]


def connected_apps() -> str:
    here = guards.the_session()
    minutes = int(config.current().access_token_ttl.total_seconds() // 60)
    return render_template("account/apps.html", apps=_apps(here.user_id), access_minutes=minutes)


def disconnect() -> Response:
    """Disconnect one app, or all."""
    here = guards.the_session()
    connected = {app["id"] for app in _apps(here.user_id)}
    decision = request.form.get("decision")
    if decision == "disconnect":
        chosen = {request.form.get("app", "")} & connected
    elif decision == "disconnect_all":
        chosen = connected
    else:
        raise PageError("invalid_request", detail="no decision")
    if not chosen:
        raise PageError("not_found", 404, detail="no such app of this person")
    for client_id in chosen:
        ending.disconnect(here.user_id, client_id)
    return redirect("/account/apps", 303)  # type: ignore[return-value]


def _apps(user_id: str) -> list[dict[str, Any]]:
    """Return what the person has allowed, and first-party apps that hold tokens."""
    allowed = {given.client_id: given for given in consents.of_user(user_id)}
    held = families.of_user(user_id)
    client_ids = list(dict.fromkeys([*allowed, *(family.client_id for family, _used in held)]))
    passed = exchanges.of_user(user_id)
    return [row for row in (_app(client_id, allowed.get(client_id), held, passed) for client_id in client_ids) if row]


def _host(client: Client) -> str:
    """Return where the app is from: where its document stands, or else where the browser goes back to."""
    if client.is_described:
        return document_address.host_of(client.client_id)
    return urlsplit(client.redirect_uris[0]).netloc if client.redirect_uris else ""


def _app(
    client_id: str, given: consents.Given | None, held: list[tuple[Family, datetime]], passed: list[Passed]
) -> dict[str, Any] | None:
    client = clients.find(client_id)
    if client is None:
        return None
    own = [(family, used) for family, used in held if family.client_id == client_id]
    scopes = set(given.scopes if given else ()) | {scope for family, _used in own for scope in family.scopes}
    claims = set(given.claims if given else ()) | {name for family, _used in own for name in family.consented_claims}
    claims -= {name for scope in scopes for name in OF_SCOPE.get(scope, ())}
    uses = [used for _family, used in own]
    granted = given.granted_at if given else min(family.created_at for family, _used in own)
    return {
        "id": client_id,
        "name": client.name,
        "initials": consent.initials(client.name),
        "unverified": client.is_self_registered,
        "host": _host(client),
        "permissions": [*map(consent.title_of, sorted(scopes)), *consent.titles_of_claims(sorted(claims))],
        "granted": granted,
        "last_used": max(uses) if uses else None,
        "passed_on": _passed_on({family.id for family, _used in own}, passed),
    }


def _passed_on(family_ids: set[str], passed: list[Passed]) -> list[dict[str, Any]]:
    """Return each service that acted for the person because of an app, and where; the latest first."""
    known = apis.register().by_identifier
    latest: dict[tuple[str, str], datetime] = {}
    for row in passed:
        if row.family_id in family_ids:
            latest.setdefault((row.client_id, row.audience), row.last_at)
    services = [(clients.find(client_id), known.get(audience), at) for (client_id, audience), at in latest.items()]
    return [{"service": found.name, "api": api.name, "last": at} for found, api, at in services if found and api]
