"""A sample web app that keeps its tokens on the server, with a stock Authlib client.

The browser holds a cookie with a random handle and no token. With `browser_app`, the start page is a script that calls
`/api/orders` here, and this back end adds the token: a browser app without tokens in the browser.
"""

from __future__ import annotations

import os
import secrets
from html import escape
from typing import Any

import httpx2
from authlib.integrations.httpx_client import OAuth2Client
from flask import Flask, Response, abort, g, jsonify, redirect, request
from flask.typing import ResponseReturnValue

COOKIE = "sample_app"  # not `auth_server`: apps on one host share the cookie jar
RESOURCE = "https://orders.example.org"
LINKS = (("/orders", "Your orders"), ("/statistics", "Statistics"), ("/logout", "Sign out"))
SCRIPT = """
document.querySelector("button").addEventListener("click", async () => {
  const answer = await fetch("/api/orders");
  document.querySelector("pre").textContent = JSON.stringify(await answer.json(), null, 2);
});
"""


def create_web_app(
    issuer: str, client_id: str, client_secret: str, address: str, api: str, *, browser_app: bool = False
) -> Flask:
    """Return the app. `address` is its own, `api` that of the sample API."""
    app = Flask("web_app")
    sessions: dict[str, dict[str, Any]] = {}  # a real app keeps them in its database
    metadata = httpx2.get(issuer + "/.well-known/openid-configuration", trust_env=False).json()

    def oauth(token: dict[str, Any] | None = None) -> OAuth2Client:
        return OAuth2Client(
            client_id,
            client_secret,
            scope="openid profile roles orders:read",
            redirect_uri=address + "/callback",
            code_challenge_method="S256",
            token_endpoint=metadata["token_endpoint"],  # lets the client refresh by itself
            token=token,
            update_token=lambda fresh, **_: mine().update(token=fresh),
            trust_env=False,
        )

    def mine() -> dict[str, Any]:
        if "mine" not in g:
            g.mine = sessions.get(request.cookies.get(COOKIE, ""), {})
        return g.mine

    @app.get("/")
    def start() -> ResponseReturnValue:
        name = mine().get("name")
        if name is None:
            return '<h1>Sample app</h1><p><a href="/login">Sign in</a></p>'
        links = "".join(f'<li><a href="{path}">{label}</a></li>' for path, label in LINKS)
        page = f"<h1>Hello {escape(name)}</h1><ul>{links}</ul>"
        return page + ('<button>Orders</button><pre></pre><script src="/app.js"></script>' if browser_app else "")

    @app.get("/login")
    def login() -> ResponseReturnValue:
        verifier = secrets.token_urlsafe(48)
        url, state = oauth().create_authorization_url(
            metadata["authorization_endpoint"], code_verifier=verifier, resource=RESOURCE
        )
        handle = secrets.token_urlsafe(32)
        sessions[handle] = {"state": state, "verifier": verifier}
        response = redirect(url, 303)
        response.set_cookie(COOKIE, handle, httponly=True, samesite="Lax")
        return response

    @app.get("/callback")
    def callback() -> ResponseReturnValue:
        if request.args.get("iss") != issuer or request.args.get("state") != mine().get("state"):
            abort(400)
        if "error" in request.args:
            return f"<h1>Not signed in</h1><p>{escape(request.args['error'])}</p><p><a href='/'>Back</a></p>"
        client = oauth()
        token = client.fetch_token(code=request.args["code"], code_verifier=mine()["verifier"])
        person = client.get(metadata["userinfo_endpoint"]).json()
        handle = secrets.token_urlsafe(32)  # a new handle at every sign-in
        sessions.pop(request.cookies[COOKIE], None)
        sessions[handle] = {"token": token, "name": person["name"]}
        response = redirect("/", 303)
        response.set_cookie(COOKIE, handle, httponly=True, samesite="Lax")
        return response

    @app.get("/orders")
    @app.get("/api/orders")
    def orders() -> ResponseReturnValue:
        if "token" not in mine():
            abort(401)
        answer = oauth(mine()["token"]).get(api + "/live/orders")
        return jsonify(answer.json() if answer.content else {}), answer.status_code

    @app.get("/statistics")
    def statistics() -> ResponseReturnValue:
        """For administrators: the API decides, by the roles in the token."""
        if "token" not in mine():
            abort(401)
        answer = oauth(mine()["token"]).get(api + "/statistics")
        return jsonify(answer.json() if answer.content else {}), answer.status_code

    @app.get("/logout")
    def logout() -> ResponseReturnValue:
        token = sessions.pop(request.cookies.get(COOKIE, ""), {}).get("token")
        if token:
            form = {"token": token.get("refresh_token") or token["access_token"]}
            httpx2.post(metadata["revocation_endpoint"], data=form, auth=(client_id, client_secret), trust_env=False)
        return redirect("/", 303)

    @app.get("/app.js")
    def script() -> ResponseReturnValue:
        return Response(SCRIPT, content_type="text/javascript")

    return app


if __name__ == "__main__":
    names = ("ISSUER", "CLIENT_ID", "CLIENT_SECRET", "ADDRESS", "API")
    create_web_app(*(os.environ[name] for name in names), browser_app="BROWSER_APP" in os.environ).run(
        port=int(os.environ["PORT"])
    )
