"""What has arrived: delivers what waits, and reads the outbox folder as a person reads their mail."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from urllib.parse import urlsplit

from flask import Flask

from auth_server import config, jobs
from tests.support import factories


def letters(app: Flask, to: str | None = None) -> list[EmailMessage]:
    """Deliver what is due, and return every message so far, the oldest first; or those to one address."""
    factories.within(app, jobs.deliver_due)
    folder = config.current().instance_path / "outbox"
    paths = sorted(folder.glob("*.eml")) if folder.is_dir() else []
    found = [message_from_bytes(path.read_bytes(), policy=default) for path in paths]
    return [letter for letter in found if to is None or letter["To"] == to]  # type: ignore[misc]


def last_to(app: Flask, address: str) -> EmailMessage:
    """Return the newest message to an address."""
    return [letter for letter in letters(app) if letter["To"] == address][-1]


def text_of(letter: EmailMessage) -> str:
    """Return the plain text of a message."""
    body = letter.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def link_in(letter: EmailMessage, marker: str = "token=") -> str:
    """Return the path of the first link of ours in a message that has this in it."""
    found = next(url for url in re.findall(r"https?://\S+", text_of(letter)) if marker in url)
    assert found.startswith(config.current().issuer + "/"), found
    parts = urlsplit(found)
    return f"{parts.path}?{parts.query}"


def code_in(letter: EmailMessage) -> str:
    """Return the code of six digits in a message."""
    (found,) = re.findall(r": (\d{6})$", text_of(letter), re.MULTILINE)
    return str(found)
