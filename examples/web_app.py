"""A sample web app with a stock Authlib client. Tokens stay on the server; the browser holds a cookie with a handle.

It signs people in, calls the API for them, refreshes their tokens, and gives the tokens back when they sign out.
"""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from urllib.parse import quote

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from flask import Flask, abort, g, redirect, render_template_string, request
from flask.typing import ResponseReturnValue

COOKIE = "sample_web_app"  # the apps of one host share its cookies, whatever their ports: take a name of your own
SCOPE = "openid profile roles offline_access orders:read orders:write"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Sample web app</title>
<h1>Sample web app</h1>
{% if note %}<p role="status">{{ note }}</p>{% endif %}
{% if visit.token %}
<p>Signed in as {{ visit.name }}.</p>
<h2>Your orders</h2><ul>{% for order in orders %}<li>{{ order.item }} {{ order.id }}
<form method="post" action="/refunds"><button name="order" value="{{ order.id }}">Refund</button></form></li>
{% endfor %}</ul>
<form method="post" action="/orders"><button>Order tea</button> (needs a role)</form>
<p><a href="/statistics">Statistics</a> (for administrators)</p>
<form method="post" action="/logout"><button>Sign out</button></form>
{% else %}<p><a href="/login">Sign in</a></p>{% endif %}</html>"""


@dataclass
class Visit:
    """What the server knows about one browser; a real app keeps it in its database."""

    state: str = ""
    verifier: str = ""
    name: str = ""
    token: dict[str, Any] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)  # a refresh token works once: two requests must not both use it


def create_web_app(issuer: str, client_id: str, client_secret: str, address: str, api: str) -> Flask:
    """Return the app. `address` is its own, `api` that of the sample API."""
    app = Flask("web_app")
    visits: dict[str, Visit] = {}
    metadata = httpx2.get(issuer + "/.well-known/openid-configuration", trust_env=False).json()

    def oauth(visit: Visit) -> OAuth2Client:
        return OAuth2Client(
            client_id,
            client_secret,
            redirect_uri=address + "/callback",
            code_challenge_method="S256",
            token_endpoint=metadata["token_endpoint"],  # lets the client refresh by itself
            token=visit.token,
            update_token=lambda fresh, **_: visit.token.update(fresh),
            trust_env=False,
        )

    def call_api(method: str, path: str) -> httpx2.Response:
        """Call the API for this browser; when no token works any more, the person must sign in again."""
        try:
            with g.visit.lock, oauth(g.visit) as client:
                answer: httpx2.Response = client.request(method, api + path)
        except OAuthError:  # the issuer gives no new token: the person or the connection has been signed out there
            answer = httpx2.Response(401)
        if answer.status_code == 401 and not demanded_by(answer):
            g.visit.token.clear()
        return answer

    def to_issuer(**demanded: str) -> ResponseReturnValue:
        """Begin a sign-in, with what an API demanded of it."""
        visit = Visit(verifier=secrets.token_urlsafe(48))
        with oauth(visit) as client:
            url, visit.state = client.create_authorization_url(
                metadata["authorization_endpoint"], scope=SCOPE, code_verifier=visit.verifier, **demanded
            )
        return sent_on(url, visit)

    def page(note: str = "", status: int = 200) -> ResponseReturnValue:
        answer = call_api("GET", "/live/orders") if g.visit.token else httpx2.Response(401)
        orders = answer.json()["orders"] if answer.is_success else []
        return render_template_string(PAGE, visit=g.visit, orders=orders, note=note), status

    def sent_on(url: str, visit: Visit) -> ResponseReturnValue:
        """Redirect under a new handle: one that was known before a sign-in must be worth nothing after it."""
        visits.pop(request.cookies.get(COOKIE, ""), None)
        handle = secrets.token_urlsafe(32)
        visits[handle] = visit
        response = redirect(url, 303)
        response.set_cookie(COOKIE, handle, httponly=True, samesite="Lax", secure=address.startswith("https:"))
        return response

    @app.before_request
    def find_visit() -> None:
        if request.method == "POST" and request.headers.get("Origin") != address:
            abort(403)  # a form on somebody else's page
        g.visit = visits.get(request.cookies.get(COOKIE, ""), Visit())

    @app.get("/")
    def start() -> ResponseReturnValue:
        return page()

    @app.get("/login")
    def login() -> ResponseReturnValue:
        return to_issuer()

    @app.get("/callback")
    def callback() -> ResponseReturnValue:
        """RFC 6749 §4.1.2: `state` ties the answer to this browser, `iss` to this issuer (RFC 9207)."""
        expected, g.visit.state = g.visit.state, ""
        if not expected or request.args.get("state") != expected or request.args.get("iss") != issuer:
            return page("This sign-in was not begun here.", 400)
        if "code" not in request.args:  # for example because the person said no
            return page(f"Not signed in: {request.args.get('error')}", 400)
        visit = Visit()
        with oauth(visit) as client:
            visit.token = client.fetch_token(code=request.args["code"], code_verifier=g.visit.verifier)
            person = client.get(metadata["userinfo_endpoint"]).json()
        visit.name = person.get("name") or person["sub"]
        return sent_on("/", visit)

    @app.post("/orders")
    def add_order() -> ResponseReturnValue:
        answer = call_api("POST", "/live/orders")
        return redirect("/", 303) if answer.is_success else page("The API says no.", answer.status_code)

    @app.post("/refunds")
    def refund() -> ResponseReturnValue:
        """Where the API wants a stronger or newer sign-in, ask the issuer for just that; then the button works."""
        answer = call_api("POST", f"/live/orders/{quote(request.form.get('order', ''), safe='')}/refund")
        demanded = demanded_by(answer)
        if demanded:
            return to_issuer(**demanded)
        return redirect("/", 303) if answer.is_success else page("The API says no.", answer.status_code)

    @app.get("/statistics")
    def statistics() -> ResponseReturnValue:
        answer = call_api("GET", "/live/orders/statistics")
        return page(f"{answer.json()['count']} orders" if answer.is_success else "The API says no.", answer.status_code)

    @app.post("/logout")
    def logout() -> ResponseReturnValue:
        if g.visit.token:
            with g.visit.lock, oauth(g.visit) as client:  # the access tokens end with the refresh token (RFC 7009)
                client.revoke_token(metadata["revocation_endpoint"], token_type_hint="refresh_token")
        return sent_on("/", Visit())

    return app


def demanded_by(answer: httpx2.Response) -> dict[str, str]:
    """Return `acr_values` and `max_age` of an API's challenge (RFC 9470 §3); nothing for any other answer."""
    challenge = answer.headers.get("WWW-Authenticate", "")
    if answer.status_code != 401 or 'error="insufficient_user_authentication"' not in challenge:
        return {}
    return dict(re.findall(r'(acr_values|max_age)="([^"]*)"', challenge))


if __name__ == "__main__":
    values = (os.environ[name] for name in ("ISSUER", "CLIENT_ID", "CLIENT_SECRET", "ADDRESS", "API"))
    create_web_app(*values).run(port=int(os.environ["PORT"]))
