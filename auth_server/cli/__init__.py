"""The console script `auth-server`, also under `flask --app app`: data on stdout, messages on stderr.

The highest room: it may call every other and nothing calls it, but for `create_app`, which registers the commands.
"""

from __future__ import annotations

from flask import Flask


def main() -> None:
    """Entry of the console script."""
    from auth_server.cli.root import root

    root()


def register(app: Flask) -> None:
    """Offer the commands under `flask --app app` too; they are loaded when one is called."""
    from auth_server.cli.lazy import NAMES, LazyCommand

    for name in NAMES:
        app.cli.add_command(LazyCommand(name))
