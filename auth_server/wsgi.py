"""What the production server imports in each worker."""

from auth_server import create_app

application = create_app()
