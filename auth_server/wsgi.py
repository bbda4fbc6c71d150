"""What the production server imports in each worker: the application, and its scheduled work in the background."""

from auth_server import create_app, jobs

application = create_app()
jobs.start(application)
