"""A sample API on `auth_server.resource_server`: who is asking, may they, and is it theirs?

    401  no token, or one that is not good here
    403  a good token without the scope, or a person without the role
    404  somebody else's order: whether it exists is nobody's business

`/orders` verifies tokens locally. `/live/orders` asks the issuer about each one, so that a revocation shows at once.
"""

from __future__ import annotations

import os

from flask import Flask, abort, jsonify
from flask.typing import ResponseReturnValue

from auth_server import resource_server
from auth_server.resource_server import current_token

AUDIENCE = "https://orders.example.org"
ADMINISTRATOR = "administrator"


def create_api(issuer: str, client_id: str, client_secret: str) -> Flask:
    """Return the API; id and secret are its credentials for introspection."""
    app = Flask("orders")
    verified = resource_server.protector(issuer, AUDIENCE)
    asked = resource_server.protector(issuer, AUDIENCE, introspection=(client_id, client_secret))
    orders: dict[str, dict[str, str]] = {"1": {"id": "1", "item": "Tea", "owner": "nobody"}}

    def own_orders(check: str) -> ResponseReturnValue:
        mine = [order for order in orders.values() if order["owner"] == current_token["sub"]]
        return jsonify(checked=check, orders=mine)

    @app.get("/orders")
    @verified("orders:read")
    def list_orders() -> ResponseReturnValue:
        return own_orders("locally: a revocation is noticed when the token expires")

    @app.get("/live/orders")
    @asked("orders:read")
    def list_orders_live() -> ResponseReturnValue:
        return own_orders("by introspection: a revocation is noticed at once")

    @app.get("/orders/<order_id>")
    @verified("orders:read")
    def show_order(order_id: str) -> ResponseReturnValue:
        order = orders.get(order_id)
        if order is None or order["owner"] != current_token["sub"]:
            abort(404)
        return jsonify(order)

    @app.post("/orders")
    @verified("orders:write")
    def add_order() -> ResponseReturnValue:
        order_id = str(len(orders) + 1)
        orders[order_id] = {"id": order_id, "item": "Coffee", "owner": current_token["sub"]}
        return jsonify(orders[order_id]), 201

    @app.get("/statistics")
    @verified("orders:read")
    def statistics() -> ResponseReturnValue:
        resource_server.require_role(ADMINISTRATOR)
        return jsonify(count=len(orders))

    return app


if __name__ == "__main__":
    create_api(os.environ["ISSUER"], os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]).run(
        port=int(os.environ["PORT"])
    )
