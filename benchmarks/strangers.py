"""What strangers try with an account that may be there or not, one timed try at a time: the cases of `enumeration`.

What leads up to a try, such as the page with its form, is not timed. Counts of limits are cleared before each try, so
that none is refused: a refusal looks at nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import sqlite3
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import cbor2
import pyotp
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from auth_server.access import roles
from auth_server.accounts import passkeys, passwords, totp, users
from auth_server.accounts.passkeys import NewPasskey
from auth_server.database import db

UNKNOWN, WITH_PASSWORD, WITHOUT, DISABLED, UNVERIFIED = (
    "unknown",
    "with a password",
    "without one",
    "disabled",
    "unverified",
)
WITH_APP, WITH_PASSKEY, USED_CODE = "with an app", "with a passkey", "a used code"
ACCOUNTS = 20
"""Of each kind, so that no single row is always at hand."""
_PASSWORD = "seven purple lanterns over the quiet harbour"
_FORM = "application/x-www-form-urlencoded"
_TOKEN = re.compile(rb'name="csrf_token" value="([^"]+)"')
_WRONG_CODE = "000000"
_PENDING_IS_GOOD_FOR_SECONDS = 300
_LAST_STEP_OF_ALL = 4_102_444_800 // 30
"""In the year 2100: whatever code the app shows, it has been used."""
_UP_AND_VERIFIED, _SYNCED = 0x05, 0x18

Answer = tuple[float, int]
"""The milliseconds of an answer, and its status."""


@dataclass
class Account:
    """One address, and what whoever attacks it may know."""

    email: str
    id: str = ""
    passkey_id: str = ""
    app_key: str = ""


Accounts = dict[str, list[Account]]


class Visitor:
    """A browser that is new to every account: one connection, one cookie; and a way to clear the counts of limits."""

    def __init__(self, port: int, database: Path) -> None:
        self.issuer = f"http://localhost:{port}"
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Host": f"localhost:{port}", "Content-Type": _FORM}
        self._database = database
        self._tokens: dict[str, str] = {}
        self.pending: dict[str, tuple[str, float]] = {}

    def send(self, path: str, fields: dict[str, str], page: str = "") -> tuple[float, int, str]:
        """Send the form of a page, which is looked at once; return milliseconds, status and where it leads to."""
        page = page or path
        if page not in self._tokens:
            found = _TOKEN.search(self.look(page))
            assert found, page
            self._tokens[page] = found[1].decode()
        body = urlencode({**fields, "csrf_token": self._tokens[page]})
        took, status, location, _text = self._ask("POST", path, body)
        return took, status, location

    def look(self, path: str) -> bytes:
        return self._ask("GET", path, None)[3]

    def forget_counts(self) -> None:
        """Let nobody have tried anything before."""
        with closing(sqlite3.connect(self._database, timeout=30)) as connection, connection:
            connection.execute("DELETE FROM limit_bucket")

    def _ask(self, method: str, path: str, body: str | None) -> tuple[float, int, str, bytes]:
        started = time.perf_counter()
        self._connection.request(method, path, body, self._headers)
        response = self._connection.getresponse()
        text = response.read()
        took = (time.perf_counter() - started) * 1000
        for name, value in response.headers.items():
            if name.lower() == "set-cookie":
                self._headers["Cookie"] = value.partition(";")[0]
        return took, response.status, response.headers.get("Location", ""), text


@dataclass(frozen=True)
class Case:
    """One kind of try, and whom it is tried on; the first kind is what the others are compared with."""

    act: Callable[[Visitor, Account, str], Answer]
    kinds: tuple[str, ...]
    hashes: bool = False
    """Whether a password is hashed, so that the cost of that matters."""


def sign_in(visitor: Visitor, account: Account, _kind: str) -> Answer:
    """Try a wrong password."""
    return visitor.send("/login", {"email": account.email, "password": "a wrong password"})[:2]


def sign_up(visitor: Visitor, account: Account, _kind: str) -> Answer:
    """Ask for an account with this address."""
    return visitor.send("/signup", {"email": account.email, "name": "Ada Lovelace"})[:2]


def recovery(visitor: Visitor, account: Account, _kind: str) -> Answer:
    """Ask for a new password."""
    return visitor.send("/recover", {"email": account.email})[:2]


def recovery_code(visitor: Visitor, account: Account, kind: str) -> Answer:
    """Try a wrong code in the browser that asked for the letter."""
    recovery(visitor, account, kind)
    return visitor.send("/recover/code", {"email": account.email, "code": "x"}, page="/recover")[:2]


def passkey(visitor: Visitor, account: Account, _kind: str) -> Answer:
    """Answer the login page's challenge in the name of a passkey, with the signature of another key."""
    options = json.loads(visitor.look("/login/passkey"))
    return visitor.send("/login", {"credential": _signed_by_a_stranger(visitor, account, options)})[:2]


def second_step(visitor: Visitor, account: Account, kind: str) -> Answer:
    """After the right password, try a wrong code, or the right one of an app that has used it."""
    handle, since = visitor.pending.get(account.email, ("", 0.0))
    if time.monotonic() - since > _PENDING_IS_GOOD_FOR_SECONDS:
        _took, _status, location = visitor.send("/login", {"email": account.email, "password": _PASSWORD})
        handle = parse_qs(urlsplit(location).query)["pending"][0]
        visitor.pending[account.email] = (handle, time.monotonic())
    code = pyotp.TOTP(account.app_key).now() if kind == USED_CODE else _WRONG_CODE
    return visitor.send("/login/mfa", {"pending": handle, "method": "app", "code": code}, page="/login")[:2]


_EVERYBODY = (UNKNOWN, WITH_PASSWORD, WITHOUT, DISABLED, UNVERIFIED)
CASES: dict[str, Case] = {
    "sign-in": Case(sign_in, _EVERYBODY, hashes=True),
    "sign-up": Case(sign_up, _EVERYBODY),
    "recovery": Case(recovery, _EVERYBODY),
    "recovery code": Case(recovery_code, _EVERYBODY),
    "passkey": Case(passkey, (UNKNOWN, WITH_PASSKEY, DISABLED)),
    "second step": Case(second_step, (WITH_PASSKEY, WITH_APP, USED_CODE)),
}
"""Every kind of a case must be answered with the same status. Nobody comes to the second step of an account that does
not exist; there the question is which factor somebody has whose password is known, and whether a code was right."""


def make_accounts() -> Accounts:
    """Make people of every kind; the addresses are of one length, whatever they stand for."""
    kinds = (*_EVERYBODY, WITH_PASSKEY, WITH_APP, USED_CODE)
    found: Accounts = {kind: [Account(_address(kind, number)) for number in range(ACCOUNTS)] for kind in kinds}
    for kind, accounts in found.items():
        for account in accounts:
            _make(kind, account)
    roles.put(found[WITH_PASSWORD][-1].id, [roles.ADMINISTRATOR])  # without one every page leads to the set-up
    return found


def _address(kind: str, number: int) -> str:
    return f"{kind.replace(' ', '-'):x<16}-{number:02}@example.org"


def _make(kind: str, account: Account) -> None:
    account.passkey_id = _encoded(secrets.token_bytes(32))
    if kind == UNKNOWN:
        account.id = str(uuid.uuid4())
        return
    user = users.create(account.email, "Ada Lovelace", verified=kind != UNVERIFIED)
    db.session.flush()
    account.id = user.id
    if kind != WITHOUT:
        passwords.store(user.id, _PASSWORD)
    if kind in (WITH_PASSKEY, DISABLED):
        key = cbor2.dumps(_cose(ec.generate_private_key(ec.SECP256R1())))
        new = NewPasskey(account.passkey_id, key, 0, "", ("internal",), backup_eligible=True, backed_up=True)
        passkeys.add(user.id, new, "a browser")
    if kind in (WITH_APP, USED_CODE):
        _give_app(account, is_used=kind == USED_CODE)
    if kind == DISABLED:
        users.disable(user)


def _give_app(account: Account, *, is_used: bool) -> None:
    totp.begin(account.id, "")
    account.app_key = totp.waiting_secret(account.id, "") or ""
    assert totp.confirm(account.id, "", pyotp.TOTP(account.app_key).now())
    if is_used:
        row = totp.Totp.__table__
        db.session.execute(row.update().where(row.c.user_id == account.id).values(last_step=_LAST_STEP_OF_ALL))


def _signed_by_a_stranger(visitor: Visitor, account: Account, options: dict[str, str]) -> str:
    data = {"type": "webauthn.get", "challenge": options["challenge"], "origin": visitor.issuer, "crossOrigin": False}
    client_data = json.dumps(data).encode()
    flags = bytes([_UP_AND_VERIFIED | _SYNCED])
    shown = hashlib.sha256(options["rpId"].encode()).digest() + flags + (0).to_bytes(4, "big")
    signature = ec.generate_private_key(ec.SECP256R1()).sign(
        shown + hashlib.sha256(client_data).digest(), ec.ECDSA(SHA256())
    )
    response = {
        "clientDataJSON": _encoded(client_data),
        "authenticatorData": _encoded(shown),
        "signature": _encoded(signature),
        "userHandle": _encoded(account.id.encode()),
    }
    name = account.passkey_id
    return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})


def _cose(key: ec.EllipticCurvePrivateKey) -> dict[int, object]:
    numbers = key.public_key().public_numbers()
    return {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
