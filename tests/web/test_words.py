"""Codes in the person's words: countries, and methods of a sign-in."""

from __future__ import annotations

import pytest
from flask import Flask

from auth_server.web import words


@pytest.mark.parametrize(("code", "name"), [("DE", "Germany"), ("JP", "Japan"), ("ZQ", "ZQ"), ("", "")])
def test_a_country_has_a_name(app: Flask, code: str, name: str) -> None:
    """One that has none keeps its code."""
    with app.test_request_context():
        assert words.country(code) == name


@pytest.mark.parametrize(
    ("amr", "text"),
    [
        (["pwd"], "Password"),
        (["pwd", "otp", "mfa"], "Password, code"),
        (["hwk", "user", "mfa"], "Passkey"),
        (["swk", "pop"], "Passkey"),
        (["pwd", "hwk", "mfa"], "Password, passkey"),
        (["unheard"], ""),
        ([], ""),
    ],
)
def test_methods_are_said_in_the_order_of_their_use(app: Flask, amr: list[str], text: str) -> None:
    """Each once; what is no method of a person is left out."""
    with app.test_request_context():
        assert words.methods(amr) == text
