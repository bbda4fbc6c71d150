"""What the server knows in codes, in the person's words: countries, and how somebody signed in."""

from __future__ import annotations

from collections.abc import Iterable

from auth_server.infra import agents
from auth_server.web.i18n import current_language
from auth_server.web.i18n import gettext as _


def browser(user_agent: str) -> str:
    """Return "Firefox on Linux" for a User-Agent header, or what there is of it."""
    name, system = agents.parts(user_agent)
    if name and system:
        return _("%(browser)s on %(system)s") % {"browser": name, "system": system}
    return name or system


def country(code: str) -> str:
    """Return a country's name in the person's language, the code itself when there is none."""
    import babel  # only where a country is shown: it takes a while

    found = babel.Locale.parse(current_language()).territories.get(code)
    return str(found) if found else code


def methods(amr: Iterable[str]) -> str:
    """Return the methods of a sign-in (RFC 8176), in the order they were used."""
    words = {
        "pwd": _("Password"),
        "otp": _("code"),
        "hwk": _("passkey"),
        "swk": _("passkey"),
        "pop": _("passkey"),
    }
    used = dict.fromkeys(words[method] for method in amr if method in words)
    text = ("، " if current_language() == "ar" else ", ").join(used)
    return text[:1].upper() + text[1:]
