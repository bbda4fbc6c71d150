"""What the person tells about themselves, and which apps are told.

No fresh sign-in is asked for: nothing here lets anybody in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from babel import Locale, UnknownLocaleError
from flask import Blueprint, Flask, Response, redirect, render_template, request

from auth_server import config
from auth_server.accounts import profile, users
from auth_server.errors import PageError, RefusedFields, RefusedInput
from auth_server.infra import language
from auth_server.tokens import connected
from auth_server.web import guards

PATH = "/account/profile"
_SCOPES = ("profile", "email", "phone", "address")
_MOST_LANGUAGES = 20


def setup_profile(app: Flask) -> None:
    blueprint = Blueprint("profile", __name__)
    blueprint.add_url_rule(PATH, "profile", guards.signed_in(edit), methods=["GET", "POST"])
    blueprint.add_url_rule("/account/theme", "theme", guards.signed_in(choose_theme), methods=["POST"])
    app.register_blueprint(blueprint)


def edit() -> Response:
    """Show everything, or take what was changed."""
    user = guards.the_person()
    if request.method != "POST":
        return _form(user, profile.shown(user), {})
    try:
        profile.update(user, request.form)
    except RefusedFields as refusal:
        typed = {name: request.form.get(name, text) for name, text in profile.shown(user).items()}
        return _form(
            user, typed, {name: language.translated(problem) for name, problem in refusal.problems.items()}, 422
        )
    return redirect(PATH + "?saved=1", 303)  # type: ignore[return-value]


def choose_theme() -> Response:
    """Light, dark, or as the system is."""
    try:
        users.choose_theme(guards.the_person(), request.form.get("theme", ""))
    except RefusedInput as refusal:
        raise PageError("invalid_request", detail=refusal.message) from None
    return redirect(PATH + "#look", 303)  # type: ignore[return-value]


def _form(user: users.User, values: Mapping[str, str], errors: dict[str, str], status: int = 200) -> Response:
    apps = connected.apps(user.id)
    text = render_template(
        "account/profile.html",
        account={"email": user.email, "verified": user.email_verified, "theme": user.theme},
        values=values,
        errors={name: errors[name] for name in values if name in errors},
        saved="saved" in request.args,
        receivers={scope: [app.name for app in apps if app.receives(scope)] for scope in _SCOPES},
        zones=_zones(values["zoneinfo"]),
        offered_languages=_languages(values["locale"]),
        may_delete=config.current().self_delete == "on",
    )
    return Response(text, status)


def _zones(chosen: str) -> dict[str, list[tuple[str, str]]]:
    """Return the time zones by part of the world, each with its name for people; the chosen one is always there."""
    found: dict[str, list[tuple[str, str]]] = {}
    usual = profile.usual_zones()
    for name in usual if chosen in ("", *usual) else sorted((*usual, chosen)):
        area, _slash, place = name.partition("/")
        found.setdefault(area, []).append((name, (place or area).replace("_", " ").replace("/", ", ")))
    return found


def _languages(chosen: str) -> list[tuple[str, str]]:
    """Return the chosen language, ours, and those of the browser, each with its own name."""
    wanted = (chosen, *language.available(), *request.accept_languages.values())
    return [(tag, _name_of(tag)) for tag in _tags(wanted)][:_MOST_LANGUAGES]


def _tags(wanted: Iterable[str]) -> list[str]:
    known = (profile.language_tag(tag) or (tag if number == 0 else None) for number, tag in enumerate(wanted))
    return list(dict.fromkeys(filter(None, known)))


def _name_of(tag: str) -> str:
    try:
        locale = Locale.parse(tag, sep="-")
    except (UnknownLocaleError, ValueError):
        return tag
    name = locale.get_display_name()
    return f"{name[:1].upper()}{name[1:]}" if name else tag
