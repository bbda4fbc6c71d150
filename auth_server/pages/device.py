"""A device without a browser of its own (RFC 8628 §3.3): its code is typed, or scanned, and then the person decides.

A link never decides: it fills in the code, and the person looks at it twice. The second page says what asks, from where
and since when, because whoever is talked into typing a stranger's code gives the stranger their account.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from flask import Blueprint, Flask, Response, redirect, render_template, request

from auth_server.access import policy
from auth_server.access.apis import Api
from auth_server.accounts import sessions, users
from auth_server.accounts.sessions import Session
from auth_server.clients import client as clients
from auth_server.clients.client import Client
from auth_server.clients.metadata import DEVICE_CODE
from auth_server.errors import PageError
from auth_server.infra import clock, events
from auth_server.infra.events import Event, record
from auth_server.oauth import consent, step_up
from auth_server.oauth.device import PAGE
from auth_server.oauth.step_up import Missing
from auth_server.tokens import devices
from auth_server.tokens.devices import Device
from auth_server.web import browser, guards, session, words
from auth_server.web.i18n import gettext as _
from auth_server.web.i18n import wait_text

CONFIRM_PATH = PAGE + "/confirm"
_LONGEST_SHOWN = 20


@dataclass(frozen=True)
class _Wish:
    """What waits for the person: the device, its app, and what of its wish this person may allow."""

    device: Device
    user_code: str
    client: Client
    scopes: tuple[str, ...]
    resources: tuple[Api, ...]

    @property
    def url(self) -> str:
        return f"{CONFIRM_PATH}?{urlencode({'user_code': self.user_code})}"


def setup_device(app: Flask) -> None:
    keep = ("user_code",)
    blueprint = Blueprint("device", __name__)
    blueprint.add_url_rule(PAGE, "enter", enter)
    blueprint.add_url_rule(PAGE, "look", guards.signed_in(look, keep=keep), methods=["POST"])
    blueprint.add_url_rule(CONFIRM_PATH, "confirm", guards.signed_in(confirm))
    blueprint.add_url_rule(CONFIRM_PATH, "decide", guards.signed_in(decide, keep=keep), methods=["POST"])
    app.register_blueprint(blueprint)


def enter() -> Response:
    """Show the form; a link fills it in and no more. What was sent before a sign-in lay between is taken now."""
    if guards.kept() and session.current():
        return look()
    return _form(devices.well_formed(request.args.get("user_code", "")), {})


def look() -> Response:
    """Take the code; the right one leads on to the question."""
    typed = guards.typed("user_code")
    entry = devices.enter(
        typed,
        user_id=guards.the_session().user_id,
        browser_digest=browser.digest(),
        address=events.context().address,
    )
    if entry.user_code:
        return redirect(f"{CONFIRM_PATH}?{urlencode({'user_code': entry.user_code})}", 303)  # type: ignore[return-value]
    if entry.retry_after_seconds:
        response = _form(typed, {"form": wait_text(entry.retry_after_seconds)}, 429)
        response.headers["Retry-After"] = str(entry.retry_after_seconds)
        return response
    return _form(typed, {"user_code": _("This code is not right, or no longer good. Look at your device again.")}, 400)


def confirm() -> Response:
    """Ask, or say what was decided: going back, reloading and pressing twice all end here."""
    wish, here = _wish(), guards.the_session()
    if wish.device.is_decided:
        return _done(wish.device)
    on_the_way = _step(wish, here, consent.required(wish.client, wish.scopes))
    if on_the_way:
        return on_the_way
    devices.ask(wish.device, here)
    user, origin = users.find(here.user_id), wish.device.origin
    return consent.render(
        wish.client,
        here.user_id,
        {"name": user.name, "email": user.email} if user else {"name": "", "email": ""},
        _lines(wish, here),
        wish.resources,
        redirect_kind="device",
        fields=[("user_code", wish.user_code)],
        device={
            "code": wish.user_code,
            "agent": origin.agent,
            "network": origin.network,
            "country": words.country(origin.country) if origin.country else "",
            "since": wish.device.created_at,
        },
    )


def decide() -> Response:
    """Take the decision, once, of the sign-in that was asked; what stands then is on the page that follows."""
    wish, here = _wish(), guards.the_session()
    decision = request.form.get("decision", "")
    if decision == "switch":
        return guards.to_login(wish.url)
    if decision == "deny":
        if devices.deny(wish.device, here):
            record(Event.CONSENT_DENIED, subject=here.user_id, client=wish.client.client_id)
    elif decision == "allow":
        on_the_way = _allow(wish, here)
        if on_the_way:
            return on_the_way
    else:
        raise PageError("invalid_request", detail="consent without a decision")
    return redirect(wish.url, 303)  # type: ignore[return-value]


def _allow(wish: _Wish, here: Session) -> Response | None:
    """Let the device have what was not unticked; return the step that must come first, if any."""
    if not consent.is_who_was_shown(wish.client):
        return None  # it is asked again, with what has changed
    allowed, unticked = consent.ticked(wish.client, here.user_id, wish.scopes, _lines(wish, here))
    on_the_way = _step(wish, here, tuple(allowed))
    if on_the_way:
        return on_the_way
    if not sessions.hold(here.id):  # it is being ended at this very moment
        return guards.to_login(wish.url)
    resources = policy.target(allowed, wish.resources).resources
    if devices.allow(wish.device, wish.client, here, scopes=allowed, resources=resources):
        consent.remember(here.user_id, wish.client, allowed, unticked)
    return None


def _wish() -> _Wish:
    """Return what waits in this browser; every code that is not good ends in the same page."""
    user_code = devices.well_formed(request.values.get("user_code", ""))
    found = devices.of_browser(user_code, browser.digest())
    client = clients.find(found.client_id) if found else None
    if found is None or client is None or client.is_disabled or not client.may_use(DEVICE_CODE):
        raise PageError(
            "flow_expired",
            heading=_("This code is no longer good"),
            text=_("It was used, or its time is up. Let your device show a new one. Nothing was allowed just now."),
            restart_url=PAGE,
            detail="unknown, expired or foreign code of a device",
        )
    possible = policy.possible_scopes(client, for_person=True)
    scopes = policy.scopes_for_person(guards.the_session().user_id, (s for s in found.scopes if s in possible))
    if found.scopes and not scopes:
        raise PageError("no_access", 403, app_name=client.name, detail="the person may have none of the scopes")
    return _Wish(found, user_code, client, scopes, policy.usable_resources(client, found.resources))


def _step(wish: _Wish, here: Session, scopes: tuple[str, ...]) -> Response | None:
    """Return the step that makes the sign-in new and strong enough for these scopes; None: it is."""
    oldest, asked_at = wish.client.default_max_age, wish.device.created_at
    if oldest is not None and here.shown_since < asked_at and clock.now() - here.shown_since > oldest:
        return guards.to_login(wish.url, fresh=True)
    lacks = step_up.missing(step_up.demand_of(wish.client, scopes, wish.resources), here)
    if lacks is Missing.OUT_OF_REACH:
        raise PageError("no_access", 403, app_name=wish.client.name, detail="a stronger sign-in is out of reach")
    if lacks is Missing.SECOND_FACTOR:
        return guards.to_step_up(wish.url)
    return guards.to_enrolment(wish.url) if lacks is Missing.ENROLMENT else None


def _lines(wish: _Wish, here: Session) -> list[consent.Permission]:
    """Return everything that is asked: a device is never allowed by what was allowed before."""
    return consent.permissions(wish.client, here.user_id, wish.scopes, everything=True)


def _form(typed: str, errors: dict[str, str], status: int = 200) -> Response:
    return Response(render_template("device/device.html", user_code=typed[:_LONGEST_SHOWN], errors=errors), status)


def _done(found: Device) -> Response:
    if found.family_id is None:
        heading, text = _("The device was not allowed"), _("It gets nothing. You can close this window.")
    else:
        heading = _("Go back to your device")
        text = _("It goes on by itself in a few seconds. You can close this window.")
    return Response(render_template("done.html", heading=heading, text=text))
