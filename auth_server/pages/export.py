"""A copy of everything that is stored about the person: one JSON document, ready in the same response."""

from __future__ import annotations

import json

from flask import Blueprint, Flask, Response, render_template, request

from auth_server.infra import clock
from auth_server.infra.events import Event, record
from auth_server.tokens import export
from auth_server.web import guards

PATH = "/account/export"


def setup_export(app: Flask) -> None:
    blueprint = Blueprint("export", __name__)
    blueprint.add_url_rule(PATH, "export", guards.freshly_signed_in(copy_of_everything), methods=["GET", "POST"])
    app.register_blueprint(blueprint)


def copy_of_everything() -> Response:
    """Say what is in it; the button downloads it."""
    if request.method != "POST":
        return Response(render_template("account/export.html"))
    user_id = guards.the_session().user_id
    record(Event.USER_EXPORTED, subject=user_id)
    text = json.dumps(export.about(user_id), indent=2, ensure_ascii=False)
    response = Response(text + "\n", content_type="application/json")
    response.headers["Content-Disposition"] = f'attachment; filename="account-{clock.now():%Y-%m-%d}.json"'
    return response
