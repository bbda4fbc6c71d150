"""A file for `apply`, with one table of each common kind."""

from __future__ import annotations

SECRET = "a-secret-of-more-than-32-characters-0123"
FILE = """
[client.grafana]
client_name   = "Grafana"
redirect_uris = ["https://grafana.example.org/login/generic_oauth"]
scope         = "openid profile email groups orders:read"
client_secret = { env = "GRAFANA_SECRET" }
first_party   = true

[api."https://orders.example.org"]
name   = "Orders"
scopes = { "orders:read" = "Read your orders", "orders:write" = "Change your orders" }

[group.staff]
name = "Staff"

[role.support]
scopes = ["orders:read"]
groups = ["staff"]

[user."ada@example.org"]
name     = "Ada"
groups   = ["staff"]
password = { file = "PASSWORD_FILE" }
"""
