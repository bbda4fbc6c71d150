"""The address of the account: confirmed, changed, and given back by whoever reads the former one's mail."""

from __future__ import annotations

from flask import Blueprint, Flask, Response, redirect, render_template, request
from markupsafe import Markup, escape

from auth_server.accounts import addresses, users
from auth_server.errors import PageError, RefusedInput
from auth_server.infra import events
from auth_server.pages import links, mailed, recover
from auth_server.tokens import ending
from auth_server.web import guards
from auth_server.web.i18n import gettext as _

PATH = "/account/email"
CHANGE_PATH = PATH + "/change"


def setup_email(app: Flask) -> None:
    blueprint = Blueprint("email", __name__)
    fresh, signed_in = guards.freshly_signed_in, guards.signed_in
    blueprint.add_url_rule(PATH, "overview", signed_in(overview))
    blueprint.add_url_rule(PATH, "decide", signed_in(decide), methods=["POST"])
    blueprint.add_url_rule(CHANGE_PATH, "change", fresh(change, keep=("email",)), methods=["GET", "POST"])
    blueprint.add_url_rule(addresses.PROOF_PATH, "confirm", signed_in(confirm), methods=["GET", "POST"])
    blueprint.add_url_rule(addresses.UNDO_PATH, "undo", undo, methods=["GET", "POST"])
    app.register_blueprint(blueprint)


def overview() -> Response:
    return _page(guards.the_person(), request.args.get("handle", ""), {}, 200)


def decide() -> Response:
    """Write again, take the code of the letter, or let the new address go."""
    user, raw_handle = guards.the_person(), request.form.get("handle", "")
    decision = request.form.get("decision")

    def show(errors: dict[str, str], status: int) -> Response:
        return _page(user, raw_handle, errors, status)

    if decision == "send":
        to = addresses.pending_of(user.id)
        if not to and user.email_verified:
            return _back()
        return _ask(user, to or user.email, show)
    if decision == "cancel":
        addresses.cancel(user.id)
        return _back()
    if decision != "code":
        raise PageError("invalid_request", detail="no decision")
    return _take_code(user, raw_handle, show)


def change() -> Response:
    """Write to the new address; nothing else changes until it is proved."""
    user, typed = guards.the_person(), guards.typed("email")

    def show(errors: dict[str, str], status: int) -> Response:
        return Response(
            render_template("account/email_change.html", now=user.email, email=typed, errors=errors), status
        )

    return _ask(user, typed, show) if request.method == "POST" else show({}, 200)


def confirm() -> Response:
    """The link, on any device where the same person is signed in: GET shows, POST does."""
    user, token = guards.the_person(), request.values.get("token", "")
    address = addresses.waiting(user, token)
    if not address:
        raise _foreign(user) if addresses.is_of_another(user, token) else _over(addresses.PROOF, token)
    if request.method != "POST":
        return _confirm_page(user, token, address)
    try:
        if not addresses.confirm(user, token):
            raise _over(addresses.PROOF, token)
    except RefusedInput as refusal:
        return _page(user, "", {"form": refusal.text(_)}, 409)
    return _confirmed(user)


def undo() -> Response:
    """The link in the former mailbox: GET says what will happen, POST does it and leads to a new password."""
    token = request.values.get("token", "")
    found = addresses.undone_by(token)
    if found is None:
        raise links.over(addresses.UNDO, token)
    if request.method != "POST":
        return Response(render_template("recover/undo.html", token=token, email=found[1]))
    try:
        user = addresses.undo(token)
    except RefusedInput as refusal:
        return _cannot_undo(refusal)
    if user is None:
        raise links.over(addresses.UNDO, token)
    ending.address_restored(user.id)
    return redirect(recover.make_link(user), 303)  # type: ignore[return-value]


def _ask(user: users.User, address: str, show: mailed.Show) -> Response:
    asked_from = events.context().address
    return mailed.ask(lambda: addresses.ask(user, address, asked_from=asked_from), show, sent_path=PATH)


def _take_code(user: users.User, raw_handle: str, show: mailed.Show) -> Response:
    try:
        guess = addresses.confirm_by_code(user, raw_handle, request.form.get("code", ""))
    except RefusedInput as refusal:
        return show({"form": refusal.text(_)}, 409)
    return _confirmed(user) if guess.is_right else mailed.wrong_code(show, guess.retry_after_seconds)


def _confirmed(user: users.User) -> Response:
    ending.address_changed(user.id)
    return _back()


def _back() -> Response:
    return redirect(PATH, 303)  # type: ignore[return-value]


def _over(purpose: str, token: str) -> PageError:
    return links.over(purpose, token, way_on=PATH, label=_("Get a new link"), afterwards=PATH)


def _foreign(user: users.User) -> PageError:
    text = _("It belongs to another account than %(email)s, which is signed in here. Sign out, then open it again.")
    return PageError(
        "flow_expired", heading=_("This link is for another account"),
        text=escape(text) % {"email": _isolated(user.email)},
        restart_url="/logout", restart_label=_("Sign out"), detail="the link of another account",
    )  # fmt: skip


def _isolated(address: str) -> Markup:
    """Keep an address in one piece where the text around it runs from right to left."""
    return Markup("<bdi>{}</bdi>").format(address)


def _page(user: users.User, raw_handle: str, errors: dict[str, str], status: int) -> Response:
    text = render_template(
        "account/email.html",
        email=user.email,
        verified=user.email_verified,
        pending=addresses.pending_of(user.id),
        handle=raw_handle if addresses.is_asked_by(user.id, raw_handle) else "",
        errors=errors,
        pause_seconds=mailed.PAUSE_SECONDS,
    )
    return Response(text, status)


def _confirm_page(user: users.User, token: str, address: str) -> Response:
    is_own = users.email_key(address) == user.email_key
    text = render_template(
        "account/confirm.html",
        heading=_("Confirm this address?") if is_own else _("Make this the address of your account?"),
        text=_isolated(address),
        consequences=[] if is_own else [
            _("From now on you sign in with it."),
            _("Your former address is told, and can take the change back for 30 days."),
        ],
        fields=[("token", token)],
        confirm_label=_("Confirm"),
        cancel_href=PATH,
    )  # fmt: skip
    return Response(text)


def _cannot_undo(refusal: RefusedInput) -> Response:
    text = render_template(
        "done.html",
        heading=_("The change cannot be taken back"),
        text=refusal.text(_) + " " + _("Get back into your account another way, or ask your administrator."),
        href="/recover",
        label=_("Get back into your account"),
    )
    return Response(text, 409)
