"""What happened in the account in the last 90 days, in plain words, and the way out for whoever did not do it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Blueprint, Flask, Response, render_template, request

from auth_server.clients import client as clients
from auth_server.errors import PageError
from auth_server.infra import audit
from auth_server.infra.events import FAILURES, Event
from auth_server.tokens import ending
from auth_server.web import guards, session, words
from auth_server.web.i18n import gettext as _

PATH = "/account/security/events"
_REACH = timedelta(days=90)
_MOST = 200


def setup_history(app: Flask) -> None:
    blueprint = Blueprint("history", __name__)
    blueprint.add_url_rule(PATH, "events", guards.signed_in(events))
    blueprint.add_url_rule(PATH, "not_me", guards.signed_in(not_me), methods=["POST"])
    app.register_blueprint(blueprint)


def events() -> str:
    user_id, known = guards.the_session().user_id, _words()
    rows = audit.of_subject(user_id, list(known), reach=_REACH, most=_MOST)
    return render_template("account/events.html", days=_REACH.days, events=[_shown(row, known) for row in rows])


def not_me() -> Response:
    """Say what will happen, then end everything that the account holds, this browser too."""
    here = guards.the_session()
    decision = request.form.get("decision")
    if decision == "ask":
        return Response(_confirm_page())
    if decision != "confirm":
        raise PageError("invalid_request", detail="no decision")
    ending.was_not_me(here.user_id)
    session.end("not_me")
    text = render_template(
        "done.html",
        heading=_("You are signed out everywhere"),
        text=_("Sign in and set a new password now: whoever knows the old one could sign in again."),
        href=f"{guards.LOGIN_PATH}?next=/account/security/password",
        label=_("Sign in and change the password"),
    )
    return Response(text)


def _confirm_page() -> str:
    return render_template(
        "account/confirm.html",
        heading=_("Was this not you?"),
        text=_("Then lock out whoever it was:"),
        consequences=[
            _("You are signed out in every browser, this one too."),
            _("Every app has to ask you again."),
            _("No browser is trusted any more, and links to set a password stop working."),
            _("Afterwards you set a new password, and check how you sign in."),
        ],
        confirm_label=_("Sign out everywhere"),
        cancel_href=PATH,
        danger=True,
    )


def _shown(row: Any, known: dict[Event, str]) -> dict[str, Any]:
    client = clients.find(row.client_id) if row.client_id else None
    by_passkey = Event(row.event) in FAILURES and (row.data or {}).get("method") == "passkey"
    return {
        "what": _("A passkey was not accepted") if by_passkey else known[Event(row.event)],
        "app": client.name if client else "",
        "when": row.at,
        "address": row.address,
        "from_where": _from_where(row.data or {}),
        "by_operator": row.actor_kind == "job" and not row.address,
        "is_bad": Event(row.event) in FAILURES,
    }


def _from_where(data: dict[str, Any]) -> str:
    """Return the browser and the country that an event tells."""
    known = (str(data.get("browser", "")), words.country(str(data.get("country", ""))))
    return ", ".join(part for part in known if part)


def _words() -> dict[Event, str]:
    """Return the events that a person understands, each in words."""
    return _of_sign_in() | _of_ways_in() | _of_account() | _of_apps()


def _of_sign_in() -> dict[Event, str]:
    return {
        Event.SIGN_IN_SUCCEEDED: _("Signed in"),
        Event.STEPPED_UP: _("Confirmed with the second factor"),
        Event.NEW_DEVICE_SIGN_IN: _("A browser signed in for the first time"),
        Event.NEW_COUNTRY_SIGN_IN: _("Signed in from a country for the first time"),
        Event.IMPOSSIBLE_TRAVEL: _("Signed in from far away, sooner than anybody travels"),
        Event.SESSION_MOVED: _("Another browser, elsewhere, went on with a sign-in"),
        Event.BROWSER_TRUSTED: _("Browser trusted"),
        Event.BROWSER_TRUST_ENDED: _("Browsers are not trusted any more"),
        Event.SIGN_IN_FAILED: _("Wrong password"),
        Event.SIGN_IN_THROTTLED: _("Too many wrong passwords"),
        Event.MFA_FAILED: _("Wrong code of the second factor"),
        Event.MFA_THROTTLED: _("Too many wrong codes"),
        Event.SESSIONS_ENDED: _("Signed out elsewhere, or everywhere"),
        Event.NOT_ME: _("Everything ended, because it wasn't you"),
    }


def _of_ways_in() -> dict[Event, str]:
    return {
        Event.MFA_TURNED_ON: _("Authenticator app set up"),
        Event.MFA_TURNED_OFF: _("Authenticator app removed"),
        Event.PASSKEY_ADDED: _("Passkey added"),
        Event.PASSKEY_RENAMED: _("Passkey renamed"),
        Event.PASSKEY_REMOVED: _("Passkey removed"),
        Event.PASSKEY_COUNTER_WENT_BACK: _("A passkey that may have been copied was refused"),
        Event.RECOVERY_CODES_MADE: _("New recovery codes made"),
        Event.RECOVERY_CODE_USED: _("Recovery code used"),
        Event.PASSWORD_SET: _("Password set"),
        Event.PASSWORD_RESET: _("Password set by a link, or by an operator"),
        Event.RESET_LINK_MADE: _("Link made that sets a new password"),
        Event.RESET_ASKED: _("New password asked for by mail"),
        Event.RESET_CODE_FAILED: _("Wrong code for a new password"),
        Event.RECOVERY_STARTED: _("Recovery of the account started"),
        Event.RECOVERY_CANCELLED: _("Recovery of the account stopped"),
        Event.RECOVERY_USED: _("Account recovered: new password, second factor removed"),
        Event.MFA_RESET: _("Second factor removed by an operator, or by a recovery"),
    }


def _of_account() -> dict[Event, str]:
    return {
        Event.USER_CHANGED: _("Name, address or other details changed"),
        Event.USER_EXPORTED: _("Copy of your data downloaded"),
        Event.SIGN_UP_COMPLETED: _("Account created"),
        Event.INVITATION_ACCEPTED: _("Account created by an invitation"),
        Event.EMAIL_VERIFIED: _("E-mail address confirmed"),
        Event.EMAIL_CHANGE_ASKED: _("Change of the e-mail address begun"),
        Event.EMAIL_CHANGE_CANCELLED: _("Change of the e-mail address cancelled"),
        Event.EMAIL_CHANGED: _("E-mail address changed"),
        Event.EMAIL_CHANGE_UNDONE: _("Change of the e-mail address taken back by the former address"),
    }


def _of_apps() -> dict[Event, str]:
    return {
        Event.CONSENT_GRANTED: _("App allowed"),
        Event.USER_CODE_FAILED: _("Wrong code of a device"),
        Event.USER_CODE_THROTTLED: _("Too many wrong codes"),
        Event.DEVICE_ALLOWED: _("App on another device allowed"),
        Event.APP_DISCONNECTED: _("App disconnected"),
        Event.IDENTITY_LINKED: _("Apps of your organization may act for you"),
        Event.IDENTITY_UNLINKED: _("Apps of your organization may act for you no longer"),
        Event.APP_TOLD: _("App told that you signed out; it has confirmed"),
        Event.REFRESH_REUSED: _("A token of an app was used twice, so the app's access ended"),
        Event.FAMILY_MOVE_REFUSED: _("An app was used from two places at once, so its access ended"),
        Event.CODE_REPLAYED: _("A code of an app was used twice, so the app's access ended"),
    }
