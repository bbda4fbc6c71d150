"""How messages leave: SMTP with TLS, or a file."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from auth_server import values
from auth_server.infra import mail
from auth_server.infra.outbox import Undeliverable
from tests.support import mail_server
from tests.support.mail_server import SECRET, USER

MakeApp = Callable[..., Flask]
QUOTED = "p%40ss%2Fword"


def send(make_app: MakeApp, url: str, **settings: object) -> None:
    make_app(mail_url=values.mail_url(url), **settings)
    message = mail.compose(to="ben@example.org", subject="Hallo Ägypten", text="T", html="<p>HTML</p>", language="de")
    mail.send(message)


def test_without_a_setting_a_message_becomes_a_file(make_app: MakeApp, tmp_path: Path) -> None:
    """In the instance folder, for the server's user alone; it may hold a link."""
    send(make_app, "")
    (path,) = (tmp_path / "outbox").iterdir()
    assert path.suffix == ".eml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    text = path.read_text()
    assert "To: ben@example.org" in text
    assert "From: auth-server@localhost" in text
    assert "Auto-Submitted: auto-generated" in text
    assert "multipart/alternative" in text


def test_a_folder_that_cannot_be_written_is_a_failure_to_try_again(make_app: MakeApp, tmp_path: Path) -> None:
    """A file stands where the folder should be; the reason names it."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(Undeliverable, match="cannot write"):
        send(make_app, f"file://{tmp_path / 'taken'}")
    send(make_app, f"file://{tmp_path / 'other'}")
    assert len(list((tmp_path / "other").iterdir())) == 1


def test_by_starttls_with_user_and_password(make_app: MakeApp, tmp_path: Path) -> None:
    """The certificate is checked against the operator's own CA; percent-encoded secrets are read."""
    pem = mail_server.certificate_for(tmp_path, "localhost", "127.0.0.1")
    with mail_server.running(pem, sign_in=True) as server:
        url = f"smtp://{USER}:{QUOTED}@127.0.0.1:{server.port}"
        send(make_app, url, outbound_ca_file=str(pem), mail_from="id@example.org")
    (letter,) = server.letters
    assert server.was_encrypted == [True]
    assert (letter["From"], letter["To"], letter["Subject"]) == ("id@example.org", "ben@example.org", "Hallo Ägypten")


def test_by_tls_from_the_start(make_app: MakeApp, tmp_path: Path) -> None:
    pem = mail_server.certificate_for(tmp_path, "localhost", "127.0.0.1")
    with mail_server.running(pem, starttls=False) as server:
        send(make_app, f"smtps://127.0.0.1:{server.port}", outbound_ca_file=str(pem))
    assert len(server.letters) == 1
    assert server.was_encrypted == [True]


def test_in_the_clear_on_this_machine_alone(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that offers no STARTTLS gets nothing, unless it is this machine's own."""
    with mail_server.running() as server:
        send(make_app, f"smtp://127.0.0.1:{server.port}")
        assert len(server.letters) == 1
        monkeypatch.setattr(mail, "is_loopback", lambda _host: False)  # no other host can be had in a test
        with pytest.raises(Undeliverable, match="no STARTTLS"):
            send(make_app, f"smtp://127.0.0.1:{server.port}")
        assert len(server.letters) == 1


@pytest.mark.parametrize("starttls", [True, False])
def test_a_certificate_that_nobody_vouches_for_is_refused(make_app: MakeApp, tmp_path: Path, starttls: bool) -> None:
    """The same server is taken with its CA named, see above."""
    pem = mail_server.certificate_for(tmp_path, "localhost", "127.0.0.1")
    scheme = "smtp" if starttls else "smtps"
    with mail_server.running(pem, starttls=starttls) as server, pytest.raises(Undeliverable, match="certificate"):
        send(make_app, f"{scheme}://127.0.0.1:{server.port}")
    assert server.letters == []


def test_a_certificate_for_another_host_is_refused(make_app: MakeApp, tmp_path: Path) -> None:
    pem = mail_server.certificate_for(tmp_path, "mail.example.org")
    with mail_server.running(pem) as server, pytest.raises(Undeliverable, match="certificate"):
        send(make_app, f"smtp://127.0.0.1:{server.port}", outbound_ca_file=str(pem))


def test_what_a_server_answers_is_told_without_what_it_says(make_app: MakeApp, tmp_path: Path) -> None:
    """A wrong password, a refused recipient, a full disk, nobody there: a reason without address or secret."""
    pem = mail_server.certificate_for(tmp_path, "127.0.0.1")
    with mail_server.running(pem, sign_in=True) as server:
        with pytest.raises(Undeliverable) as caught:
            send(make_app, f"smtp://{USER}:wr0ng@127.0.0.1:{server.port}", outbound_ca_file=str(pem))
        assert str(caught.value) == "the mail server refused user name or password"
    with mail_server.running() as server:
        server.answer = "452 disk full, secret-detail"
        with pytest.raises(Undeliverable) as caught:
            send(make_app, f"smtp://127.0.0.1:{server.port}")
        assert str(caught.value) == "the mail server answered 452"
        server.refused_recipient = "ben@example.org"
        with pytest.raises(Undeliverable) as caught:
            send(make_app, f"smtp://127.0.0.1:{server.port}")
        assert str(caught.value) == "the mail server refused the recipient (550)"
    with pytest.raises(Undeliverable, match="cannot be reached"):
        send(make_app, f"smtp://127.0.0.1:{server.port}")


def test_no_header_can_be_smuggled_in(app: Flask) -> None:
    """An address with a line break is refused before anything is sent."""
    for to, subject in (
        ("ben@example.org\nBcc: all@example.org", "Hi"),
        ("ben@example.org", "Hi\r\nBcc: x@example.org"),
    ):
        with pytest.raises(ValueError, match=r"."):
            mail.compose(to=to, subject=subject, text="", html="", language="en")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("smtp://mail.example.org", ("smtp", "mail.example.org", 587, "", "")),
        ("smtps://u:p@mail.example.org", ("smtps", "mail.example.org", 465, "u", "p")),
        ("smtp://a%40b:p%3Aq@mail.example.org:25/", ("smtp", "mail.example.org", 25, "a@b", "p:q")),
    ],
)
def test_mail_urls(text: str, expected: tuple[object, ...]) -> None:
    """Scheme, host, port with its default, and decoded credentials."""
    found = values.mail_url(text)
    assert found is not None
    assert (found.scheme, found.host, found.port, found.user, found.password) == expected
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    "text", ["mail.example.org", "http://x", "smtp://", "smtp://h:99999", "file://host/x", "smtp://h/x"]
)
def test_wrong_mail_urls(text: str) -> None:
    with pytest.raises(values.Invalid):
        values.mail_url(text)
