"""`users recovery-link`: for somebody who lost everything, by an operator who says how they checked who it is."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from flask import Flask

from auth_server.accounts import addresses, users
from tests.cli.conftest import Run
from tests.support import asserts, factories, mailbox
from tests.support.browser import Browser
from tests.support.database import dump

LINK = ("users", "recovery-link", "ben@example.org")
CHECKED = ("--checked", "  passport,\n at the desk ")


@pytest.mark.usefixtures("ada", "ben")
def test_it_prints_a_link_that_waits(app: Flask, run: Run) -> None:
    """The document is data alone, the rest goes to stderr; from when on and until when the link works is in it."""
    done = run(*LINK, *CHECKED, "--json")
    assert set(done.json) == {"url", "valid_from", "expires"}
    assert "whoever reads their mail can stop it" in done.err
    begins, ends = (datetime.fromisoformat(done.json[name]) for name in ("valid_from", "expires"))
    assert ends - begins == timedelta(days=3)
    assert timedelta(hours=23, minutes=59) < begins - datetime.now(begins.tzinfo) <= timedelta(hours=24)
    path = done.json["url"].removeprefix("http://localhost:8421")
    asserts.is_page(Browser(app).get(path), "recovery-waiting")
    lines = dict(line.split(": ", 1) for line in run(*LINK, *CHECKED).out.splitlines())
    assert set(lines) == {"url", "valid_from", "expires"}
    assert lines["url"] != done.json["url"]
    asserts.is_error_page(Browser(app).get(path), "flow_expired")


def test_it_is_in_the_audit(app: Flask, run: Run, ada: users.User, ben: users.User) -> None:
    """Who did it, for whom, how it was checked, and from when on; the link itself is nowhere."""
    done = run(*LINK, *CHECKED, "--json")
    (event,) = asserts.events_of(app, "recovery.started")
    assert (event.subject, event.actor, event.actor_kind, event.result) == (ben.id, "command line", "job", "success")
    assert event.data["checked"] == "passport, at the desk"
    assert datetime.fromisoformat(event.data["valid_from"]).isoformat(timespec="seconds") == done.json["valid_from"]
    assert done.json["url"].partition("token=")[2] not in str(dump(app))


def test_every_address_gets_a_mail_with_a_stop(app: Flask, run: Run, ada: users.User, ben: users.User) -> None:
    """The present and the former one; either stop makes the printed link void."""
    factories.within(app, lambda: addresses.ask(users.find(ben.id) or ben, "ben@home.example", asked_from=""))
    token = mailbox.link_in(mailbox.last_to(app, "ben@home.example")).partition("token=")[2]
    assert factories.within(app, lambda: addresses.confirm(users.find(ben.id) or ben, token))
    path = run("users", "recovery-link", ben.id, *CHECKED, "--json").json["url"].removeprefix("http://localhost:8421")
    started = [letter for letter in mailbox.letters(app) if "Somebody asked" in letter["Subject"]]
    assert [letter["To"] for letter in started] == ["ben@home.example", "ben@example.org"]
    browser = Browser(app)
    asserts.is_page(browser.get(path), "recovery-waiting")
    stop = mailbox.link_in(started[1], "/recover/stop")
    asserts.is_page(browser.submit(browser.get(stop), "/recover/stop"), "done")
    asserts.is_error_page(browser.get(path), "flow_expired")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((*LINK,), 2, "--checked"),
        ((*LINK, "--json"), 2, "--checked"),
        ((*LINK, "--checked"), 2, "--checked"),
        ((*LINK, "--checked", " \n"), 1, "say how you checked who it is"),
        ((*LINK, "--checked", ""), 1, "say how you checked who it is"),
        (("users", "recovery-link", "nobody@example.org", *CHECKED), 1, "no such person: nobody@example.org"),
        (("users", "recovery-link", "off@example.org", *CHECKED), 1, "this account is disabled"),
        (("users", "recovery-link", *CHECKED), 2, "WHO"),
    ],
)
@pytest.mark.usefixtures("ada", "ben")
def test_it_is_refused(app: Flask, run: Run, words: tuple[str, ...], code: int, said: str) -> None:
    """Without a word on the check, for nobody, for a disabled account: why, on stderr; nothing changes, nobody is told.

    Its twin is above.
    """
    factories.person(app, "off@example.org")
    run("users", "disable", "off@example.org", "--yes")
    before, letters = dump(app), len(mailbox.letters(app))
    done = run(*words, code=code)
    assert said in done.err
    assert done.out == ""
    assert dump(app) == before
    assert len(mailbox.letters(app)) == letters
