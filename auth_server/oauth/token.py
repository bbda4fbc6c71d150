"""POST /oauth/token (OAuth 2.1 §3.2)."""

from __future__ import annotations

from auth_server.oauth.server import Server
from auth_server.web.machines import Machines

PATH = "/oauth/token"


def setup_token(machines: Machines, server: Server) -> None:
    machines.add(PATH, server.create_token_response, ("POST",), limited=True, writes=True)
