"""Letters to people: what each says, and how it becomes a message in the person's language.

A letter is written into the outbox with the act that causes it, as a name and values, and made into words when it is
sent. So a request never waits for a mail server, and takes as long for an address that nobody has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from auth_server import config
from auth_server.infra import language, mail, outbox, schema
from auth_server.infra.outbox import Undeliverable

MAIL = "mail"
"""Kind of outbox rows."""
NOBODY = ""
"""The address of a letter that is written for nobody: it costs what a letter costs, and is thrown away."""


@dataclass(frozen=True)
class Letter:
    """A letter in words: one action at the most, and what to do when it was not expected."""

    subject: str
    paragraphs: tuple[str, ...]
    action: str = ""
    """The button's verb; `url` is where it leads."""
    url: str = ""
    code: str = ""
    """Six digits, for whoever reads this on another device."""
    facts: tuple[tuple[str, str], ...] = field(default=())
    """Pairs (label, value): which app, which browser, when."""
    unexpected: str = ""
    """What to do for whoever did not cause this."""
    unexpected_action: str = ""
    unexpected_url: str = ""


Write = Callable[[dict[str, Any]], Letter]
_LETTERS: dict[str, Write] = {}


def letter(name: str) -> Callable[[Write], Write]:
    """Register what a letter says, under the name that the outbox knows it by; called in the person's language."""

    def register(write: Write) -> Write:
        _LETTERS[name] = write
        return write

    return register


def names() -> list[str]:
    """Return the name of every letter."""
    return sorted(_LETTERS)


def send(name: str, to: str, *, language: str, about: str = "", **values: Any) -> None:
    """Write a letter into the outbox, in the open transaction; `values` are JSON values, `about` the person's `sub`.

    To `NOBODY` nothing is sent, at the same cost.
    """
    payload = {"letter": name, "to": to, "language": language, "values": values}
    outbox.add(MAIL, payload, about=f"{name} {about}".strip())


def deliver(payload: dict[str, Any]) -> None:
    """Send one letter; raise `Undeliverable`."""
    if payload["to"] == NOBODY:
        return
    write = _LETTERS.get(payload["letter"])
    if write is None:
        raise Undeliverable("this version knows no such letter")
    with language.speaking(payload["language"]):
        found = write(payload["values"])
        text, html = in_text(found), in_html(found)
        try:
            message = mail.compose(
                to=payload["to"], subject=found.subject, text=text, html=html, language=language.current()
            )
        except ValueError:
            raise Undeliverable("the address cannot be written to") from None
    mail.send(message)


def in_text(found: Letter) -> str:
    """Return a letter as plain text, in the language that is spoken."""
    return _render("letter.txt", found)


def in_html(found: Letter) -> str:
    """Return a letter as HTML without images, in the language that is spoken."""
    return _render("letter.html", found)


def _render(template: str, found: Letter) -> str:
    spoken = language.current()
    frame = {"lang": spoken, "dir": language.direction(spoken), "issuer_host": config.current().issuer_host}
    return _environment().get_template(template).render(letter=found, **frame)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(schema.shipped("templates") / "mail"),
        extensions=["jinja2.ext.i18n"],
        autoescape=lambda name: bool(name and name.endswith(".html")),  # noqa: S701 - plain text is no HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    found.install_gettext_callables(language.gettext, language.ngettext, newstyle=True)  # type: ignore[attr-defined]
    return found
