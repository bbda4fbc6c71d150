"""WSGI entry: `application`. A wrong configuration is told line by line, and the start is refused."""

import sys

from auth_server import create_app
from auth_server.config import ConfigurationError

try:
    application = app = create_app()
except ConfigurationError as refusal:
    print("\n".join(refusal.problems), file=sys.stderr)
    sys.exit(3)
