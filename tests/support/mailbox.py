"""The mailbox of everybody: what was delivered into the outbox folder."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import EmailMessage

from flask import Flask

from auth_server import config, jobs
from tests.support import factories


def letters(app: Flask) -> list[EmailMessage]:
    """Deliver what is due; return every letter so far, the oldest first."""
    factories.within(app, jobs.deliver_due)
    files = sorted((config.current().instance_path / "outbox").glob("*.eml"))
    return [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]


def text_of(letter: EmailMessage) -> str:
    body = letter.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def link_in(letter: EmailMessage) -> str:
    """Return the first link, as a path of ours."""
    found = re.search(re.escape(config.current().issuer) + r"(/\S+)", text_of(letter))
    assert found, text_of(letter)
    return found[1]


def code_in(letter: EmailMessage) -> str:
    found = re.search(r"\b(\d{6})$", text_of(letter), re.MULTILINE)
    assert found, text_of(letter)
    return found[1]
