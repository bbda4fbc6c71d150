"""The step that waits for a letter: it is asked for, and asked for again, and its six digits are taken."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

from flask import Response, redirect

from auth_server.accounts import letter_limits
from auth_server.accounts.letter_limits import Asked
from auth_server.errors import RefusedInput
from auth_server.web.i18n import gettext as _
from auth_server.web.i18n import pause_text

PAUSE_SECONDS = int(letter_limits.PAUSE.period.total_seconds())
"""How long to wait between two letters."""

Show = Callable[[dict[str, str], int], Response]
"""Shows the page again, with errors and a status."""


def ask(write: Callable[[], Asked], show: Show, *, sent_path: str) -> Response:
    """Have the letter written, and go on to where it is waited for; or show what is wrong, or how long to wait."""
    try:
        asked = write()
    except RefusedInput as refusal:
        return show({refusal.field: refusal.text(_)}, 422)
    if asked.retry_after_seconds:
        response = show({"form": pause_text(asked.retry_after_seconds)}, 429)
        response.headers["Retry-After"] = str(asked.retry_after_seconds)
        return response
    return redirect(f"{sent_path}?{urlencode({'handle': asked.raw_handle})}", 303)  # type: ignore[return-value]


def wrong_code(show: Show, retry_after_seconds: int) -> Response:
    """Say that the code is wrong, or that there were too many and it was not even looked at."""
    if retry_after_seconds:
        return show({"code": _("Too many wrong codes. Open the link in the mail, or ask for a new mail.")}, 429)
    return show({"code": _("This code is not right, or is too old.")}, 401)
