"""Auth Server: a compact, self-hosted OAuth 2.1 and OpenID Connect server.

`create_app` composes it. Nothing is imported before it is called, so that `auth_server.resource_server` costs an API
nothing of the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from auth_server.config import Settings

__version__ = "0.1.0"


def create_app(settings: Settings | None = None) -> Flask:
    """Return the application; raise `ConfigurationError` with every problem of the environment."""
    from auth_server import cli, config
    from auth_server.accounts.notices import setup_notices
    from auth_server.database import setup_database
    from auth_server.infra import schema
    from auth_server.infra.log import setup_log
    from auth_server.oauth.setup import setup_oauth
    from auth_server.pages.compose import setup_pages
    from auth_server.tokens.recovery import setup_recovery_letters
    from auth_server.web.csrf import setup_csrf
    from auth_server.web.errors import setup_errors
    from auth_server.web.guards import setup_guards
    from auth_server.web.headers import setup_headers
    from auth_server.web.i18n import setup_i18n
    from auth_server.web.limits import CreatedLimit, RefusedLimit, make_limiter
    from auth_server.web.machines import setup_machines
    from auth_server.web.probes import setup_probes
    from auth_server.web.request_id import setup_request_id
    from auth_server.web.session import setup_session
    from auth_server.web.transaction import Application

    settings = settings or config.from_env()
    if not settings.secret_key:
        missing = "not set, and the instance folder has none; run `auth-server init`"
        raise config.ConfigurationError([f"{config.PREFIX}SECRET_KEY: {missing}"])
    config.use(settings)
    setup_log(settings)
    app = Application("auth_server", template_folder=str(schema.shipped("templates")), static_folder=None)
    limiter = make_limiter(settings)
    setup_database(app, settings)
    setup_notices()
    setup_recovery_letters()
    setup_request_id(app)
    setup_guards(app)
    setup_session(app)
    setup_csrf(app)
    setup_i18n(app)
    limiter.init_app(app)
    refused = RefusedLimit(limiter, settings.endpoint_rate_limit)
    machines = setup_machines(app, settings, refused, CreatedLimit(limiter, settings.create_rate_limit))
    setup_pages(app, limiter)
    setup_oauth(app, machines, limiter)
    setup_probes(machines)
    setup_errors(app)
    setup_headers(app)
    cli.register(app)
    return app
