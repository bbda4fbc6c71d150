"""Pages behind links of letters: "This wasn't me", the recovery of an account that lost everything, and its stop."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, Flask, Response, redirect, render_template, request

from auth_server.access import assurance
from auth_server.accounts import notices, passkeys, users
from auth_server.errors import PageError, RefusedInput
from auth_server.infra import clock, once
from auth_server.pages import links, recover
from auth_server.tokens import ending, recovery, resetting
from auth_server.tokens.recovery import Recovery
from auth_server.web import browser, guards, session
from auth_server.web.i18n import gettext as _

ACCOUNT_PATH = "/account/security/recovery"
_PROVES_THE_MAILBOX = timedelta(hours=1)
"""So long after the letter a link is as good as a reset link, while the account has its address; later, or where it has
another one, a new letter is written."""


def setup_recovery(app: Flask) -> None:
    blueprint = Blueprint("recovery", __name__)
    blueprint.add_url_rule(notices.NOT_ME_PATH, "not_me", not_me, methods=["GET", "POST"])
    blueprint.add_url_rule(recovery.PATH, "account", account, methods=["GET", "POST"])
    blueprint.add_url_rule(recovery.STOP_PATH, "stop", stop, methods=["GET", "POST"])
    blueprint.add_url_rule(ACCOUNT_PATH, "stop_here", guards.signed_in(stop_here), methods=["POST"])
    app.register_blueprint(blueprint)


def not_me() -> Response:
    """GET shows what it does; POST ends everything, and leads to a new password."""
    token = request.values.get("token", "")
    found = once.find(notices.NOT_ME, token)
    person = users.find_person(found.subject) if found else None
    if found is None or person is None or person.is_disabled:
        raise _over(notices.NOT_ME, token)
    added = passkeys.by_digest(person.id, found.data.get("passkey", ""))
    if added is not None and passkeys.is_last_way_in(added):
        added = None
    if request.method != "POST":
        return Response(render_template("recover/not_me.html", token=token, email=person.email, added=added))
    if once.spend(notices.NOT_ME, token) is None:
        raise _over(notices.NOT_ME, token)
    ending.was_not_me(person.id, added)
    if not _proves_the_mailbox(found, person):
        resetting.ask(person.email, browser_digest=browser.digest(), then="")
        return recover.to_code(person.email)
    raw_secret = resetting.make_here(person.id, browser_digest=browser.digest())
    return redirect(f"{resetting.PATH}?token={raw_secret}", 303)  # type: ignore[return-value]


def _proves_the_mailbox(found: once.Found, person: users.Person) -> bool:
    is_young = clock.now() - found.created_at <= _PROVES_THE_MAILBOX
    return is_young and found.data.get("mailbox") == users.email_key(person.email)


def account() -> Response:
    """Before its time it says from when; then it sets a password and takes the second factor away, once."""
    token = request.values.get("token", "")
    found = recovery.find(token)
    if found is None:
        raise _over(ending.RECOVERY_LINK, token)
    if found.is_waiting:
        return _waiting(found)
    email = found.person.email
    if request.method != "POST":
        return recover.password_form(token, email, {}, removes_factor=True)
    try:
        is_set = recovery.use(token, found, request.form.get("password", ""))
    except RefusedInput as refusal:
        return recover.password_form(token, email, {"password": refusal.text(_)}, 422, removes_factor=True)
    if not is_set:
        raise _over(ending.RECOVERY_LINK, token)
    may_enrol = assurance.is_offered(found.person.id)
    text = render_template(
        "recover/done.html", next=guards.ENROLMENT_PATH if may_enrol else "", factor="again" if may_enrol else "gone"
    )
    return Response(text)


def stop() -> Response:
    """GET shows what it does; POST stops the recovery."""
    token = request.values.get("token", "")
    found = recovery.of_stop_link(token)
    if found is None:
        raise _over(recovery.STOP_LINK, token)
    if request.method != "POST":
        text = render_template("recover/stop.html", token=token, email=found.person.email, at=found.valid_from)
        return Response(text)
    if not (once.spend(recovery.STOP_LINK, token) and recovery.stop(found.person.id)):
        raise _over(recovery.STOP_LINK, token)
    return _stopped()


def stop_here() -> Response:
    """Whoever is signed in stops the recovery of their account."""
    recovery.stop(guards.the_session().user_id)
    return redirect("/account/security", 303)  # type: ignore[return-value]


def pending_recovery() -> Recovery | None:
    """Return the recovery of the account of whoever is signed in: for the banner of the account's pages."""
    here = session.current()
    return recovery.pending(here.user_id) if here else None


def _over(purpose: str, token: str) -> PageError:
    """The page that it leads to writes a new letter, and says that an administrator helps whoever lost everything."""
    return links.over(purpose, token, way_on=recover.PATH, label=_("Get back into your account"))


def _waiting(found: Recovery) -> Response:
    text = render_template(
        "recover/waiting.html", at=found.valid_from, until=found.expires_at, email=found.person.email
    )
    return Response(text)


def _stopped() -> Response:
    text = render_template(
        "done.html",
        heading=_("The recovery is stopped"),
        text=_("The link that was given out does not work any more. Your password and second factor are as before."),
        href="/account/security/events",
        label=_("See what happened in your account"),
    )
    return Response(text)
