"""The language of a page: chosen by `ui_locales`, then Accept-Language; and the filter that writes moments."""

from __future__ import annotations

from datetime import datetime

from flask import Flask, g, has_request_context, request
from markupsafe import Markup

from auth_server.infra import clock, language
from auth_server.infra.language import gettext, ngettext

__all__ = ["busy_text", "gettext", "moment", "ngettext", "pause_text", "setup_i18n", "wait_text"]


def setup_i18n(app: Flask) -> None:
    """Give templates `_`, `ngettext`, `lang`, `dir` and the filter `moment`."""
    language.ask_with(current_language)
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(gettext, ngettext, newstyle=True)  # type: ignore[attr-defined]
    app.jinja_env.filters["moment"] = moment

    @app.context_processor
    def spoken() -> dict[str, str]:
        chosen = language.current()
        return {"lang": chosen, "dir": language.direction(chosen)}


def wait_text(seconds: int) -> str:
    """Say that there were too many tries, and how long to wait."""
    minutes = -(-seconds // 60)
    words = ngettext("Wait %(num)s minute, then try again.", "Wait %(num)s minutes, then try again.", minutes)
    return f"{gettext('Too many tries.')} {words % {'num': minutes}}"


def pause_text(seconds: int) -> str:
    """Say that a mail was just sent, and how long to wait before another one."""
    if seconds <= 90:
        words = ngettext("Wait %(num)s second, then ask again.", "Wait %(num)s seconds, then ask again.", seconds)
        return f"{gettext('A mail was sent a moment ago.')} {words % {'num': seconds}}"
    minutes = -(-seconds // 60)
    words = ngettext("Wait %(num)s minute, then ask again.", "Wait %(num)s minutes, then ask again.", minutes)
    return f"{gettext('Several mails were sent already.')} {words % {'num': minutes}}"


def busy_text() -> str:
    """Say that the server computes as many passwords as it can."""
    return gettext("Many people are signing in just now. Try again in a few seconds.")


def current_language() -> str:
    """Return the best language that there is a catalogue for."""
    if not has_request_context():
        return language.DEFAULT
    if "language" not in g:
        wanted = language.best_of(request.args.get("ui_locales", "").split()[:5])
        g.language = wanted or request.accept_languages.best_match(language.available(), language.DEFAULT)
    return str(g.language)


def moment(at: datetime | None) -> str:
    """Render a moment as `<time>`: "3 min ago", exact in the title."""
    if at is None:
        return gettext("never")
    exact = at.strftime("%Y-%m-%d %H:%M UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(timespec="seconds"), exact, _ago(at))


def _ago(at: datetime) -> str:
    seconds = int((clock.now() - at).total_seconds())
    if seconds < 60:
        return gettext("just now")
    if seconds < 3600:
        return ngettext("%(num)s min ago", "%(num)s min ago", seconds // 60) % {"num": seconds // 60}
    if seconds < 86400:
        return ngettext("%(num)s hour ago", "%(num)s hours ago", seconds // 3600) % {"num": seconds // 3600}
    if seconds < 30 * 86400:
        return ngettext("%(num)s day ago", "%(num)s days ago", seconds // 86400) % {"num": seconds // 86400}
    return at.strftime("%Y-%m-%d")
