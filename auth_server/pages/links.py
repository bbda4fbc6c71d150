"""What a page says of a link that is good no more: which of the reasons it is, since when, and the way on."""

from __future__ import annotations

from auth_server.errors import PageError
from auth_server.infra import moments, once
from auth_server.web import guards
from auth_server.web.i18n import gettext as _


def over(
    purpose: str, raw_secret: str, *, way_on: str = "", label: str = "", afterwards: str = guards.LOGIN_PATH
) -> PageError:
    """Return the error to raise: the link was used, has expired, or is unknown.

    `way_on` is where a new one can be had: without it the login page is the way. `afterwards` is where somebody goes
    on who has used it.
    """
    way_on, label = (way_on, label) if way_on else (guards.LOGIN_PATH, _("Sign in"))
    ended = once.what_became_of(purpose, raw_secret)
    if ended is None:
        heading = _("This link is not good")
        text = _(
            "It may be incomplete, or a newer one has taken its place. Open the newest letter, or ask for another."
        )
    elif ended.was_used:
        heading = _("This link was used already")
        text = _("It was used on %(when)s, and works once. You can go on, or ask for a new one there.")
        way_on, label = afterwards, _("Continue")
    else:
        heading = _("This link is too old")
        text = _("It could be used until %(when)s. Nothing was changed. You can have a new one.")
    when = moments.exact(ended.at) if ended else ""
    return PageError(
        "flow_expired", heading=heading, text=text % {"when": when} if ended else text,
        restart_url=way_on, restart_label=label, detail=f"a link that is over ({purpose})",
    )  # fmt: skip
