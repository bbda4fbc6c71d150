"""Texts in the person's language: gettext catalogues in `locale/`.

Chosen by `ui_locales`, then by what the signed-in person wishes, then by Accept-Language.
"""

from __future__ import annotations

import gettext as gettext_module
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from flask import Flask, g, has_request_context, request
from markupsafe import Markup

from auth_server.infra import clock
from auth_server.web import wishes

_FOLDER = Path(__file__).resolve().parent.parent / "locale"
_RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur"})
_DEFAULT = "en"


def setup_i18n(app: Flask) -> None:
    """Give templates `_`, `ngettext`, `lang`, `dir` and the filter `moment`."""
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(gettext, ngettext, newstyle=True)  # type: ignore[attr-defined]
    app.jinja_env.filters["moment"] = moment

    @app.context_processor
    def language() -> dict[str, str]:
        chosen = current_language()
        return {"lang": chosen, "dir": "rtl" if chosen in _RIGHT_TO_LEFT else "ltr"}


def gettext(message: str) -> str:
    """Translate one text."""
    return _catalogue(current_language()).gettext(message)


def ngettext(singular: str, plural: str, number: int) -> str:
    """Translate a text that depends on a number."""
    return _catalogue(current_language()).ngettext(singular, plural, number)


def wait_text(seconds: int) -> str:
    """Say that there were too many tries, and how long to wait."""
    minutes = -(-seconds // 60)
    words = ngettext("Wait %(num)s minute, then try again.", "Wait %(num)s minutes, then try again.", minutes)
    return f"{gettext('Too many tries.')} {words % {'num': minutes}}"


def busy_text() -> str:
    """Say that the server computes as many passwords as it can."""
    return gettext("Many people are signing in just now. Try again in a few seconds.")


def current_language() -> str:
    """Return the best language that there is a catalogue for."""
    if not has_request_context():
        return _DEFAULT
    if "language" not in g:
        wanted = [*request.args.get("ui_locales", "").split()[:5], wishes.language()]
        offered = available()
        best = next((tag.split("-")[0].lower() for tag in wanted if tag.split("-")[0].lower() in offered), None)
        g.language = best or request.accept_languages.best_match(offered, _DEFAULT)
    return str(g.language)


@lru_cache(maxsize=1)
def available() -> tuple[str, ...]:
    """Return the languages with a catalogue; English is in the source."""
    found = [path.parent.parent.name for path in _FOLDER.glob("*/LC_MESSAGES/messages.mo")] if _FOLDER.is_dir() else []
    return (_DEFAULT, *sorted(found))


def moment(at: datetime | None) -> str:
    """Render a moment as `<time>`: "3 min ago", exact in the title, where the person is and in UTC."""
    if at is None:
        return gettext("never")
    exact = wishes.exact(at)
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
    return at.astimezone(wishes.zone()).strftime("%Y-%m-%d")


@lru_cache(maxsize=32)
def _catalogue(language: str) -> gettext_module.NullTranslations:
    return gettext_module.translation("messages", str(_FOLDER), [language], fallback=True)
