"""A sample browser app behind a back end of its own: the script in the browser never sees a token.

The script asks this back end, with a cookie that scripts cannot read; the back end adds the token and asks the API.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from flask import Flask, Response, abort, g, jsonify, redirect, request
from flask.typing import ResponseReturnValue

COOKIE = "sample_browser_app"  # the apps of one host share its cookies, whatever their ports: take a name of your own
SCOPE = "openid profile offline_access orders:read orders:write"
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Sample browser app</title>
<h1>Sample browser app</h1><p id="who" role="status"></p><p><a href="/login">Sign in</a></p>
<p><button id="read">Your orders</button> <button id="add">Order tea</button> <button id="leave">Sign out</button></p>
<pre></pre><script src="/app.js"></script></html>"""
SCRIPT = """
const find = (selector) => document.querySelector(selector);
async function show(path, method = "GET") {
  const answer = await fetch(path, { method });
  find("pre").textContent = answer.status + " " + await answer.text();
  await greet();
}
async function greet() {
  const answer = await fetch("/api/person");
  find("#who").textContent = answer.ok ? "Signed in as " + (await answer.json()).name : "Not signed in";
  find("a").hidden = answer.ok;
  for (const button of document.querySelectorAll("button")) button.disabled = !answer.ok;
}
find("#read").addEventListener("click", () => show("/api/orders"));
find("#add").addEventListener("click", () => show("/api/orders", "POST"));
find("#leave").addEventListener("click", () => show("/logout", "POST"));
greet();
"""


@dataclass
class Visit:
    """What the back end knows about one browser; a real one keeps it in its database."""

    state: str = ""
    verifier: str = ""
    name: str = ""
    token: dict[str, Any] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)  # a refresh token works once: two requests must not both use it


def create_browser_app(issuer: str, client_id: str, client_secret: str, address: str, api: str) -> Flask:
    """Return the back end. `address` is its own, `api` that of the sample API."""
    app = Flask("browser_app")
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
            abort(403)  # a script on somebody else's page
        g.visit = visits.get(request.cookies.get(COOKIE, ""), Visit())

    @app.get("/")
    def start() -> ResponseReturnValue:
        return PAGE, {"Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'"}

    @app.get("/app.js")
    def script() -> ResponseReturnValue:
        return Response(SCRIPT, content_type="text/javascript; charset=utf-8")

    @app.get("/login")
    def login() -> ResponseReturnValue:
        visit = Visit(verifier=secrets.token_urlsafe(48))
        endpoint = metadata["authorization_endpoint"]
        with oauth(visit) as client:
            url, visit.state = client.create_authorization_url(endpoint, scope=SCOPE, code_verifier=visit.verifier)
        return sent_on(url, visit)

    @app.get("/callback")
    def callback() -> ResponseReturnValue:
        """RFC 6749 §4.1.2: `state` ties the answer to this browser, `iss` to this issuer (RFC 9207)."""
        expected, g.visit.state = g.visit.state, ""
        if not expected or request.args.get("state") != expected or request.args.get("iss") != issuer:
            abort(400)
        visit = Visit()
        if "code" in request.args:  # not when the person said no
            with oauth(visit) as client:
                visit.token = client.fetch_token(code=request.args["code"], code_verifier=g.visit.verifier)
                person = client.get(metadata["userinfo_endpoint"]).json()
            visit.name = person.get("name") or person["sub"]
        return sent_on("/", visit)

    @app.get("/api/person")
    def show_person() -> ResponseReturnValue:
        return jsonify(name=g.visit.name) if g.visit.token else (jsonify(error="signed_out"), 401)

    @app.route("/api/orders", methods=["GET", "POST"])
    def pass_on() -> ResponseReturnValue:
        """Ask the API with this browser's token; the answer goes back as it came, without the token."""
        try:
            with g.visit.lock, oauth(g.visit) as client:
                answer: httpx2.Response = client.request(request.method, api + "/orders")
        except OAuthError:  # nobody is signed in, or the issuer gives no new token
            answer = httpx2.Response(401, json={"error": "signed_out"})
        if answer.status_code == 401:
            g.visit.token.clear()
        return Response(answer.content, answer.status_code, content_type=answer.headers["Content-Type"])

    @app.post("/logout")
    def logout() -> ResponseReturnValue:
        if g.visit.token:
            with g.visit.lock, oauth(g.visit) as client:  # the access tokens end with the refresh token (RFC 7009)
                client.revoke_token(metadata["revocation_endpoint"], token_type_hint="refresh_token")
        visits.pop(request.cookies.get(COOKIE, ""), None)
        return "", 204

    return app


if __name__ == "__main__":
    values = (os.environ[name] for name in ("ISSUER", "CLIENT_ID", "CLIENT_SECRET", "ADDRESS", "API"))
    create_browser_app(*values).run(port=int(os.environ["PORT"]))
