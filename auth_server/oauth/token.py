"""POST /oauth/token (OAuth 2.1 §3.2)."""

from __future__ import annotations

from auth_server.oauth.server import TOKEN_PATH, Server
from auth_server.web.machines import Machines

PATH = TOKEN_PATH


def setup_token(machines: Machines, server: Server) -> None:
    machines.add(PATH, server.create_token_response, ("POST",), limited=True, writes=True)
