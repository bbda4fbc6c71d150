"""Command names without their code: importing every command would slow down each start of the server."""

from __future__ import annotations

import importlib
from typing import Any

import click

NAMES: dict[str, str] = {
    "serve": "auth_server.cli.serving",
    "init": "auth_server.cli.serving",
    "setup-link": "auth_server.cli.serving",
    "users": "auth_server.cli.people",
    "invitations": "auth_server.cli.invitations",
    "groups": "auth_server.cli.groups",
    "clients": "auth_server.cli.clients",
    "issuers": "auth_server.cli.issuers",
    "registration-tokens": "auth_server.cli.registration",
    "apis": "auth_server.cli.apis",
    "exchanges": "auth_server.cli.exchanges",
    "keys": "auth_server.cli.keys",
    "sessions": "auth_server.cli.grants",
    "tokens": "auth_server.cli.grants",
    "mail": "auth_server.cli.mail",
    "apply": "auth_server.cli.declared",
}
HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"]}
"""On every level, whatever the commands hang under."""


def load(name: str) -> click.Command:
    """Import a command by name."""
    module = importlib.import_module(NAMES[name])
    command: click.Command = getattr(module, name.replace("-", "_"))
    return command


class LazyGroup(click.Group):
    """The top level: lists every name, imports one command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return load(cmd_name) if cmd_name in NAMES else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        import difflib

        if args and args[0] not in NAMES:
            close = difflib.get_close_matches(args[0], NAMES, n=1)
            ctx.fail(f"no such command: {args[0]}" + (f"; did you mean {close[0]}?" if close else ""))
        return super().resolve_command(ctx, args)


class LazyCommand(click.Command):
    """Stands in for one command under `flask`, and hands everything over when it is called."""

    def __init__(self, name: str) -> None:
        super().__init__(name, add_help_option=False, help=f"See `auth-server {name} --help`.")
        self.ignore_unknown_options = True
        self.allow_extra_args = True

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> click.Context:
        return load(str(self.name)).make_context(info_name, args, parent, **HELP, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        return ctx.command.invoke(ctx)
