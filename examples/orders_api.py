"""A sample API on `auth_server.resource_server`: who is asking, may they, and is it theirs?

    401  no token, or one that is not good here; or a sign-in that is too weak or too long ago, with what to ask for
    403  a good token without the scope, or a person without the role
    404  somebody else's order: whether it exists is nobody's business

The same routes stand twice: `/orders` verifies tokens locally, `/live/orders` asks the issuer about each one.
"""

from __future__ import annotations

import os
import secrets

from flask import Blueprint, Flask, abort, jsonify
from flask.typing import ResponseReturnValue

from auth_server import resource_server
from auth_server.resource_server import Protector, current_token

AUDIENCE = "https://orders.example.org"
LOCALLY = "locally: a revocation is noticed within seconds, in the status list"
BY_ISSUER = "by introspection: a revocation is noticed at once"
Orders = dict[str, dict[str, str]]


def create_api(issuer: str, client_id: str, client_secret: str) -> Flask:
    """Return the API; id and secret are its own credentials, for introspection."""
    app = Flask("orders")
    orders: Orders = {}  # a real API keeps them in its database
    verified = resource_server.protector(issuer=issuer, audience=AUDIENCE)
    asked = resource_server.protector(issuer=issuer, audience=AUDIENCE, introspection=(client_id, client_secret))
    app.register_blueprint(create_routes("verified", verified, LOCALLY, orders), url_prefix="/orders")
    app.register_blueprint(create_routes("live", asked, BY_ISSUER, orders), url_prefix="/live/orders")
    return app


def create_routes(name: str, protect: Protector, checked: str, orders: Orders) -> Blueprint:
    """Return the routes behind one kind of check."""
    routes = Blueprint(name, __name__)

    @routes.get("")
    @protect("orders:read")
    def list_own() -> ResponseReturnValue:
        own = [order for order in orders.values() if order["owner"] == current_token["sub"]]
        return jsonify(checked=checked, orders=own)

    @routes.post("")
    @protect("orders:write")  # a scope that the operator keeps for a role: the server gives it to nobody else
    def add() -> ResponseReturnValue:
        order = {"id": secrets.token_hex(4), "item": "Tea", "owner": current_token["sub"]}
        orders[order["id"]] = order
        return jsonify(order), 201

    @routes.get("/<order_id>")
    @protect("orders:read")
    def show(order_id: str) -> ResponseReturnValue:
        order = orders.get(order_id)
        if order is None or order["owner"] != current_token["sub"]:
            abort(404)
        return jsonify(order)

    @routes.post("/<order_id>/refund")
    @protect("orders:write", acr="aal2", max_age=300)  # money: two factors, in the last five minutes (RFC 9470)
    def refund(order_id: str) -> ResponseReturnValue:
        order = orders.get(order_id)
        if order is None or order["owner"] != current_token["sub"]:
            abort(404)
        del orders[order_id]
        return jsonify(refunded=order_id)

    @routes.get("/statistics")
    @protect("orders:read")
    def show_statistics() -> ResponseReturnValue:
        resource_server.require_role("administrator")  # the API's own rule, by the `roles` in the token
        return jsonify(checked=checked, count=len(orders))

    return routes


if __name__ == "__main__":
    api = create_api(os.environ["ISSUER"], os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"])
    api.run(port=int(os.environ["PORT"]))
