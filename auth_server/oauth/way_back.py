"""The page for a request that only the app itself can send again: what it is, and the way back to the app."""

from __future__ import annotations

from urllib.parse import urlsplit

from auth_server.clients.client import Client
from auth_server.errors import PageError
from auth_server.web.i18n import gettext as _


def to_app(code: str, client: Client, detail: str) -> PageError:
    """Return the error, with a button that leads to the app's own pages where we know any."""
    error = PageError(code, app_name=client.name, restart_url=home_of(client), detail=detail)
    error.text = _("This link was used before, or it is too old. Nothing was lost. Go back to the app and start again.")
    if error.restart_url:
        error.restart_label = _("Back to %(app)s") % {"app": client.name}
    return error


def home_of(client: Client) -> str:
    """Return the app's registered home page, or the root of the site that it takes answers at; "" for neither."""
    if client.details.get("client_uri"):
        return str(client.details["client_uri"])
    sites = (urlsplit(uri) for uri in client.redirect_uris if uri.startswith("https://"))
    return next((f"https://{site.netloc}/" for site in sites), "")
