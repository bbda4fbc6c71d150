"""The language of a page and the moments on it.

The language is the first that there is a catalogue for of: `ui_locales` of this request, or of the app's request that
it belongs to; the cookie, which only a person's choice sets; the account's `locale`; Accept-Language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, tzinfo
from typing import Any
from urllib.parse import quote, urlencode

from flask import Flask, current_app, g, has_request_context, request
from markupsafe import Markup
from werkzeug.exceptions import HTTPException

from auth_server.infra import language, moments
from auth_server.infra.language import gettext, ngettext
from auth_server.web import browser, surface

__all__ = ["busy_text", "gettext", "moment", "ngettext", "pause_text", "setup_i18n", "wait_text"]

COOKIE = "auth_server_language"
_MOST_WANTED = 5
_LONGEST_ADDRESS = 4000
_KEPT_FIELDS = ("next", "fresh", "pending", "method", "token")
"""What a form carries along, and a page that it led to cannot be asked for again without."""


def _unasked() -> str:
    return ""


def _unknown() -> Mapping[str, Any]:
    return {}


_asked_by_app: Callable[[], str] = _unasked
_claims_of_person: Callable[[], Mapping[str, Any]] = _unknown


def setup_i18n(app: Flask) -> None:
    """Give templates `_`, `ngettext`, `lang`, `dir`, `languages` and the filters `moment`, `day` and `exact`."""
    language.ask_with(current_language)
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.jinja_env.install_gettext_callables(gettext, ngettext, newstyle=True)  # type: ignore[attr-defined]
    app.jinja_env.filters.update(moment=moment, day=day, exact=exact)

    @app.context_processor
    def spoken() -> dict[str, object]:
        chosen = language.current()
        return {"lang": chosen, "dir": language.direction(chosen), "languages": _offered(), "here_again": here_again}


def ask_app(asked: Callable[[], str]) -> None:
    """Let this function return the `ui_locales` of the app's request that the current page belongs to, or ""."""
    global _asked_by_app
    _asked_by_app = asked


def ask_person(claims: Callable[[], Mapping[str, Any]]) -> None:
    """Let this function return the claims of whoever is signed in: `locale` and `zoneinfo`."""
    global _claims_of_person
    _claims_of_person = claims


def choose() -> None:
    """Ask for language and time zone now, and not while a page is being written."""
    current_language()
    zone()


def settle() -> None:
    """The database cannot answer: from here on neither the app's request nor the person is asked."""
    g.i18n_is_settled = True


def wait_text(seconds: int) -> str:
    """Say that there were too many tries, and how long to wait."""
    minutes = -(-seconds // 60)
    hours = -(-minutes // 60)
    if minutes <= 90:
        number = minutes
        words = ngettext("Wait %(num)s minute, then try again.", "Wait %(num)s minutes, then try again.", minutes)
    elif hours <= 48:
        number = hours
        words = ngettext("Wait %(num)s hour, then try again.", "Wait %(num)s hours, then try again.", hours)
    else:
        number = -(-hours // 24)
        words = ngettext("Wait %(num)s day, then try again.", "Wait %(num)s days, then try again.", number)
    return " ".join((gettext("Too many tries."), words % {"num": number}))


def pause_text(seconds: int) -> str:
    """Say that a mail was just sent, and how long to wait before another one."""
    if seconds <= 90:
        words = ngettext("Wait %(num)s second, then ask again.", "Wait %(num)s seconds, then ask again.", seconds)
        return " ".join((gettext("A mail was sent a moment ago."), words % {"num": seconds}))
    minutes = -(-seconds // 60)
    words = ngettext("Wait %(num)s minute, then ask again.", "Wait %(num)s minutes, then ask again.", minutes)
    return " ".join((gettext("Several mails were sent already."), words % {"num": minutes}))


def busy_text() -> str:
    """Say that the server computes as many passwords as it can."""
    return gettext("Many people are signing in just now. Try again in a few seconds.")


def current_language() -> str:
    """Return the language of this request; it is chosen once."""
    if not has_request_context():
        return language.DEFAULT
    if "language" not in g:
        g.language = next(_wanted(), None) or _of_browser()
    return str(g.language)


def was_spoken() -> bool:
    """Tell whether the answer depends on the language."""
    return "language" in g


def zone() -> tzinfo:
    """Return the time zone of whoever is signed in; UTC where it is not known."""
    if not has_request_context():
        return moments.zone_of(None)
    if "zone" not in g:
        g.zone = moments.zone_of(_of_person("zoneinfo"))
    found: tzinfo = g.zone
    return found


def moment(at: datetime | None) -> str:
    """Render a moment as `<time>`: "3 minutes ago" or "in 3 days", exact in the title."""
    if at is None:
        return gettext("never")
    return _time(at, moments.relative(at, zone()), f"{moments.exact(at, zone())} ({moments.in_utc(at)})")


def day(at: datetime) -> str:
    """Render the day of a moment as `<time>`."""
    return _time(at, moments.day(at, zone()), moments.in_utc(at))


def exact(at: datetime) -> str:
    """Render a moment to the second as `<time>`."""
    return _time(at, moments.exact(at, zone()), moments.in_utc(at))


def here_again() -> str:
    """Return the local address at which the page that is shown can be asked for again; "/" where there is none."""
    form = _asked_of(lambda: request.form) or {}
    carried = {name: form[name] for name in _KEPT_FIELDS if name in form and name not in request.args}
    query = "&".join(filter(None, (request.query_string.decode("latin-1"), urlencode(carried))))
    found = quote(request.path) + (f"?{query}" if query else "")
    can_be_asked = request.method == "GET" or _answers_get(request.path)
    return found if can_be_asked and len(found) <= _LONGEST_ADDRESS else "/"


def _answers_get(path: str) -> bool:
    try:
        return current_app.url_map.bind("").test(path, "GET")
    except HTTPException:
        return False


def _time(at: datetime, text: str, title: str) -> str:
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(timespec="seconds"), title, text)


def _wanted() -> Iterator[str]:
    """Yield what fits, the weightiest first; what comes later is asked only when it is needed."""
    for tags in (_asked_here, _asked_before, _chosen, _of_account):
        found = language.best_of(tags()[:_MOST_WANTED])
        if found:
            yield found


def _asked_here() -> list[str]:
    return str(_asked_of(lambda: request.values.get("ui_locales", "")) or "").split()


def _asked_before() -> list[str]:
    return str(_asked_of(_asked_by_app) or "").split()


def _chosen() -> list[str]:
    return request.cookies.getlist(browser.cookie_name(COOKIE))


def _of_account() -> list[str]:
    return [str(_of_person("locale"))]


def _of_person(claim: str) -> object:
    return (_asked_of(_claims_of_person) or {}).get(claim, "")


def _asked_of(question: Callable[[], Any]) -> Any:
    """Ask who may have to look into the database or the form; of a form that cannot be read nobody learns anything."""
    if "i18n_is_settled" in g or surface.is_static(request.path):
        return None
    try:
        return question()
    except HTTPException:
        settle()
        return None


def _of_browser() -> str:
    return request.accept_languages.best_match(language.available(), language.DEFAULT) or language.DEFAULT


def _offered() -> list[dict[str, str]]:
    """Return the languages to choose from, each by its own name; none where there is no choice or no page."""
    if not has_request_context() or surface.is_static(request.path):
        return []
    tags = language.available()
    found = [{"tag": tag, "name": language.name_of(tag), "dir": language.direction(tag)} for tag in tags]
    return found if len(found) > 1 else []
