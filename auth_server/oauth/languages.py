"""The language that an app asked for (`ui_locales`, OpenID Connect Core §3.1.2.1), on every page of its request."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import request
from sqlalchemy import or_, select, update

from auth_server import database
from auth_server.oauth.authorization_request import PATH
from auth_server.oauth.waiting import AuthorizationRequestRow
from auth_server.web import browser, i18n

_TABLE: Any = AuthorizationRequestRow.__table__
_MOST_STEPS = 3
"""An address leads to a page that leads to a page that leads to the request: no more."""
_LONGEST_FLOW = 64


def setup_languages() -> None:
    """Let the pages' language follow the request that they belong to."""
    i18n.ask_app(asked)


def asked() -> str:
    """Return the `ui_locales` of the request, waiting or finished, that the current page belongs to; "" without."""
    flow = request.args.get("flow", "") if request.path == PATH else _flow_of(request.values.get("next", ""))
    return " ".join(_params(flow).get("ui_locales", [])[:1]) if flow else ""


def put(back: str, tag: str) -> None:
    """The person chose a language on this page: in the request it belongs to, it replaces what the app asked for."""
    flow = _flow_of(back)
    params = _params(flow) if flow else {}
    if "ui_locales" in params:
        database.execute(update(_TABLE).where(_TABLE.c.id == flow).values(params={**params, "ui_locales": [tag]}))


def _flow_of(url: str) -> str:
    """Return the id of the request that a local address leads to."""
    for _step in range(_MOST_STEPS):
        try:
            parts = urlsplit(url)
        except ValueError:
            return ""
        query = parse_qs(parts.query)
        if parts.path == PATH:
            return query.get("flow", [""])[0]
        url = query.get("next", [""])[0]
    return ""


def _params(flow: str) -> dict[str, list[str]]:
    """Return the parameters of a request of this browser; nothing is checked and nothing is bound."""
    if len(flow) > _LONGEST_FLOW or not flow.isascii() or "\x00" in flow:
        return {}
    mine = or_(_TABLE.c.browser_digest == browser.digest(), _TABLE.c.browser_digest.is_(None))
    found: dict[str, list[str]] | None = database.execute(
        select(_TABLE.c.params).where(_TABLE.c.id == flow, mine)
    ).scalar()
    return found or {}
