"""Letters: what arrives, in both forms, in the person's language; and what is sent to nobody."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from auth_server.accounts import letters, notices
from auth_server.accounts.letters import Letter
from auth_server.infra import language, outbox
from auth_server.infra.outbox import Undeliverable
from tests.support import factories, mailbox

SNAPSHOTS = Path(__file__).parent / "letters"
LINK = "https://id.example.org/somewhere?token=TOKEN"
COMMON: dict[str, Any] = {
    "url": LINK,
    "code": "123456",
    "at": "2026-05-03T14:02:00+00:00",
    "address": "203.0.113.7",
    "browser": "Firefox on Linux",
    "country": "",
    "app": "",
    "valid_from": "2026-05-04T14:02:00+00:00",
    "expires": "2026-05-10T14:02:00+00:00",
}
"""What letters are written with here; those that need more say it in `MORE`."""
MORE: dict[str, list[dict[str, Any]]] = {
    "notice": [{"event": event.value} for event in notices.SENTENCES | notices.SELDOM],
}


class Parts(HTMLParser):
    """What a letter in HTML is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _value in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "background")]

    def handle_data(self, data: str) -> None:
        self.text += data


def cases() -> list[Any]:
    """Return every registered letter with each set of values, in every language."""
    import auth_server.pages.compose  # noqa: F401 - whoever writes letters registers them when imported

    return [
        pytest.param(name, more, spoken, id=f"{name}-{more.get('event', index)}-{spoken}")
        for name in letters.names()
        for index, more in enumerate(MORE.get(name, [{}]))
        for spoken in language.available()
    ]


@pytest.fixture
def elsewhere(make_app: Callable[..., Flask]) -> Flask:
    """Return an application under an address as operators have one."""
    return make_app(issuer="https://id.example.org")


@pytest.fixture
def in_language() -> Iterator[Callable[[str], None]]:
    stack: list[Any] = []

    def speak(which: str) -> None:
        stack.append(language.speaking(which))
        stack[-1].__enter__()

    yield speak
    for block in stack:
        block.__exit__(None, None, None)


def written(name: str, more: dict[str, Any]) -> Letter:
    return letters._LETTERS[name](COMMON | more)


@pytest.mark.parametrize(("name", "more", "spoken"), cases())
@pytest.mark.usefixtures("elsewhere")
def test_a_letter_is_plain_and_safe(name: str, more: dict[str, Any], spoken: str, in_language: Any) -> None:
    """Both forms say the same; nothing is loaded; it names the server and says what to do when unexpected (USR-26)."""
    in_language(spoken)
    letter = written(name, more)
    text, html = letters.in_text(letter), letters.in_html(letter)
    parts = Parts(html)
    assert not {"img", "script", "link", "style", "iframe"} & set(parts.tags)
    assert "style" not in parts.attributes
    assert all(target.startswith("https://id.example.org/") for target in parts.links)
    said = re.sub(r"\s+", " ", parts.text)
    for sentence in (*letter.paragraphs, letter.code, letter.unexpected, *(value for _label, value in letter.facts)):
        assert re.sub(r"\s+", " ", sentence) in said
        assert sentence in text
    assert letter.subject
    assert len(letter.subject) < 100
    assert letter.unexpected or name == "recovery-started"  # the way out is what it is about
    assert "id.example.org" in text
    assert "\n\n\n" not in text
    assert f'lang="{spoken}"' in html


@pytest.mark.parametrize(("name", "more", "spoken"), cases())
@pytest.mark.usefixtures("elsewhere")
def test_letters_are_worded_as_they_were(name: str, more: dict[str, Any], spoken: str, in_language: Any) -> None:
    """A changed wording is seen: AUTH_TEST_LETTERS=1 writes the files anew."""
    in_language(spoken)
    letter = written(name, more)
    found = f"Subject: {letter.subject}\n\n{letters.in_text(letter)}"
    path = SNAPSHOTS / spoken / f"{name}{'-' + more['event'] if 'event' in more else ''}.txt"
    if os.environ.get("AUTH_TEST_LETTERS") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found, encoding="utf-8")
    assert path.is_file(), "AUTH_TEST_LETTERS=1 writes it"
    assert found == path.read_text(encoding="utf-8")


def test_a_letter_arrives(app: Flask) -> None:
    """By name and values through the outbox; it is made into words when it is sent."""
    values = COMMON | MORE["notice"][0]
    factories.within(app, lambda: letters.send("notice", "ben@example.org", language="en", about="42", **values))
    (letter,) = mailbox.letters(app)
    assert letter["To"] == "ben@example.org"
    assert "Security notice" in letter["Subject"]
    assert LINK in mailbox.text_of(letter)
    html = letter.get_body(("html",))
    assert html is not None
    assert LINK in html.get_content()


def test_to_nobody_nothing_is_sent_at_the_same_cost(app: Flask) -> None:
    """One row, as for everybody; it goes when it would have been delivered."""
    factories.within(app, lambda: letters.send("notice", letters.NOBODY, language="en"))
    assert len(factories.within(app, outbox.listing)) == 1
    assert mailbox.letters(app) == []
    assert factories.within(app, outbox.listing) == []


@pytest.mark.usefixtures("elsewhere")
def test_what_cannot_be_written_is_a_failure_to_see() -> None:
    """An unknown letter, or an address that no header can hold."""
    payload = {"letter": "notice", "to": "ben@example.org\nBcc: x@y", "language": "en"}
    payload["values"] = COMMON | MORE["notice"][0]  # type: ignore[assignment]
    with pytest.raises(Undeliverable, match="address"):
        letters.deliver(payload)
    with pytest.raises(Undeliverable, match="no such letter"):
        letters.deliver(payload | {"letter": "of-a-newer-version"})


@pytest.mark.usefixtures("elsewhere")
def test_names_cannot_bring_markup(in_language: Any) -> None:
    """What a person or an app calls itself is text in both forms."""
    letter = Letter("Subject", ("Hello <b>&",), facts=(("App", "<script>alert(1)</script>"),))
    assert "<script>" not in letters.in_html(letter)
    assert "&lt;script&gt;" in letters.in_html(letter)
    assert "<script>alert(1)</script>" in letters.in_text(letter)


def test_a_payload_is_json(app: Flask) -> None:
    with pytest.raises(TypeError):
        factories.within(app, lambda: letters.send("notice", "x@y", language="en", at=object()))
    assert json.dumps(COMMON)
