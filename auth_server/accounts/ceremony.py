"""The two ceremonies of WebAuthn: making a passkey, and signing in with one. What is asked for, and what is accepted.

Where they may happen is said by the issuer alone: its host is the RP id, it is the only origin. User verification is
always demanded, so a passkey is something that the person has *and* is or knows: two factors in one. Attestation is not
asked for: which maker a passkey has decides nothing here (WebAuthn §14.4.1).
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from auth_server import config
from auth_server.accounts import challenges, passkeys, users
from auth_server.accounts.passkeys import NewPasskey, Passkey
from auth_server.infra import clock
from auth_server.infra.events import Event, record

T = TypeVar("T")
_ALGORITHMS = (-8, -7, -257)
"""EdDSA, ES256, RS256 (COSE), the best first."""
_ID = re.compile(rf"[A-Za-z0-9_-]{{1,{passkeys.LONGEST_ID}}}")
_LONGEST_ANSWER = 20_000
_TRANSPORTS = frozenset({"usb", "nfc", "ble", "smart-card", "hybrid", "internal"})


@dataclass(frozen=True)
class Answer:
    """What a browser sent back, read but not believed. `user_handle` is "" where the passkey did not tell."""

    text: str
    passkey_id: str
    challenge: bytes
    user_handle: str
    transports: tuple[str, ...]


def is_possible() -> bool:
    """Tell whether browsers take passkeys for this issuer: its host must be a name (WebAuthn §5.1.2, RP ID)."""
    try:
        ipaddress.ip_address(_rp_id())
    except ValueError:
        return True
    return False


def sign_in_options(browser_digest: str) -> dict[str, Any]:
    """Return what the login page asks the browser for: any passkey that it has for us, so that nobody is named."""
    return _asking(challenges.make(challenges.SIGN_IN, browser_digest), [])


def second_factor_options(user_id: str, browser_digest: str) -> dict[str, Any]:
    """Return what the second step asks the browser for: one of this person's passkeys."""
    challenge = challenges.make(challenges.SECOND_FACTOR, browser_digest, user_id)
    return _asking(challenge, passkeys.listing(user_id))


def registration_options(user: users.User, browser_digest: str) -> dict[str, Any]:
    """Return what is asked of the browser to make a passkey: one that it can find by itself, none that is known."""
    return options_for(user.id, user.email, user.name, browser_digest)


def options_for(user_id: str, email: str, name: str, browser_digest: str) -> dict[str, Any]:
    """Return the same for somebody whose account may be still to come."""
    return {
        "rp": {"id": _rp_id(), "name": config.current().issuer_host},
        "user": {"id": _encoded(user_id.encode()), "name": email, "displayName": name or email},
        "challenge": _encoded(challenges.make(challenges.REGISTER, browser_digest, user_id)),
        "pubKeyCredParams": [{"type": "public-key", "alg": alg} for alg in _ALGORITHMS],
        "timeout": _timeout(),
        "excludeCredentials": [_named(passkey) for passkey in passkeys.listing(user_id)],
        "authenticatorSelection": {
            "residentKey": "required",
            "requireResidentKey": True,
            "userVerification": "required",
        },
        "attestation": "none",
    }


def read(presented: str) -> Answer | None:
    """Return what an answer claims; None when it cannot be one, or comes from a frame in another site's page."""
    if len(presented) > _LONGEST_ANSWER:
        return None
    try:
        answer = json.loads(presented)
        response = answer["response"]
        client_data = json.loads(_decoded(response["clientDataJSON"]))
        if client_data.get("crossOrigin", False) is not False or "topOrigin" in client_data:
            return None  # the library does not look at these (WebAuthn §7.1 step 10, §7.2 step 13)
        return Answer(
            text=presented,
            passkey_id=_ID.fullmatch(answer["id"])[0],  # type: ignore[index]
            challenge=_decoded(client_data["challenge"]),
            user_handle=_decoded(response.get("userHandle") or "").decode(),
            transports=tuple(sorted(_TRANSPORTS.intersection(response.get("transports") or ()))),
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def made(answer: Answer | None, user_id: str, browser_digest: str) -> NewPasskey | None:
    """Check a new passkey and use up its challenge; None when anything is not as it must be (WebAuthn §7.1)."""
    if answer is None or not challenges.is_live(answer.challenge, challenges.REGISTER, browser_digest, user_id):
        return None
    verified = _checked(lambda: _verify_new(answer))
    if verified is None or not challenges.spend(answer.challenge):
        return None
    return NewPasskey(
        id=answer.passkey_id,
        public_key=verified.credential_public_key,
        sign_count=verified.sign_count,
        aaguid=verified.aaguid,
        transports=answer.transports,
        backup_eligible=_may_be_copied(verified),
        backed_up=verified.credential_backed_up,
    )


def shown(
    answer: Answer | None, passkey: Passkey | None, *, kind: str, browser_digest: str, user_id: str = ""
) -> Passkey | None:
    """Check the proof of a stored passkey and use up its challenge; return it, or None (WebAuthn §7.2).

    `user_id`: whose it must be. Without one the passkey itself must say whose it is. One that nobody has costs as much
    as one that somebody has.
    """
    if answer is not None and passkey is None:
        passkey = _nobodys(answer.passkey_id, user_id or answer.user_handle)
    if answer is None or passkey is None or passkey.user_id != (user_id or answer.user_handle):
        return None
    if answer.user_handle not in ("", passkey.user_id):
        return None
    if not challenges.is_live(answer.challenge, kind, browser_digest, user_id):
        return None
    verified = _checked(lambda: _verify_shown(answer, passkey))
    if verified is None or _may_be_copied(verified) != passkey.backup_eligible:
        return None
    if not challenges.spend(answer.challenge):
        return None
    if not passkeys.note_use(passkey, verified.new_sign_count, backed_up=verified.credential_backed_up):
        _note_counter(passkey, verified.new_sign_count)
        return None
    return passkey


def _nobodys(passkey_id: str, user_id: str) -> Passkey:
    """Return a passkey that nothing can be shown for: the private half of its key was never kept."""
    return Passkey(passkey_id, _lost_key(), 0, "", (), False, False, user_id, "", clock.now(), None)


@lru_cache(maxsize=1)
def _lost_key() -> bytes:
    """Return a public key in COSE's form (RFC 9052 §7), made once a process."""
    from webauthn.helpers import encode_cbor

    point = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    return encode_cbor({1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")})


def _note_counter(passkey: Passkey, presented: int) -> None:
    """Two that count differently may be two copies of one key (WebAuthn §6.1.1)."""
    if presented <= passkey.sign_count:
        record(
            Event.PASSKEY_COUNTER_WENT_BACK,
            subject=passkey.user_id,
            reason="the counter of a passkey went back",
            name=passkey.name,
            stored=passkey.sign_count,
            presented=presented,
        )


def _verify_new(answer: Answer) -> Any:
    from webauthn import verify_registration_response
    from webauthn.helpers import decode_credential_public_key, decoded_public_key_to_cryptography
    from webauthn.helpers.cose import COSEAlgorithmIdentifier

    verified = verify_registration_response(
        credential=answer.text,
        expected_challenge=answer.challenge,
        expected_rp_id=_rp_id(),
        expected_origin=config.current().issuer,
        require_user_verification=True,
        supported_pub_key_algs=[COSEAlgorithmIdentifier(alg) for alg in _ALGORITHMS],
    )
    if _encoded(verified.credential_id) != answer.passkey_id:
        raise ValueError("the id is not that of the credential")
    decoded_public_key_to_cryptography(decode_credential_public_key(verified.credential_public_key))
    return verified


def _verify_shown(answer: Answer, passkey: Passkey) -> Any:
    # Imported where it is used: it takes a quarter of a second and megabytes, which commands need not spend.
    from webauthn import verify_authentication_response

    return verify_authentication_response(
        credential=answer.text,
        expected_challenge=answer.challenge,
        expected_rp_id=_rp_id(),
        expected_origin=config.current().issuer,
        credential_public_key=passkey.public_key,
        credential_current_sign_count=0,  # `note_use` compares, in the statement that stores the new one
        require_user_verification=True,
    )


def _checked(verify: Callable[[], T]) -> T | None:
    """Return what the library found, or None: it raises errors of many kinds over bytes that strangers made up."""
    try:
        return verify()
    except Exception:  # nothing of ours runs in there, no statement either
        return None


def _asking(challenge: bytes, allowed: list[Passkey]) -> dict[str, Any]:
    return {
        "challenge": _encoded(challenge),
        "rpId": _rp_id(),
        "timeout": _timeout(),
        "allowCredentials": [_named(passkey) for passkey in allowed],
        "userVerification": "required",
    }


def _named(passkey: Passkey) -> dict[str, Any]:
    return {"type": "public-key", "id": passkey.id, "transports": list(passkey.transports)}


def _may_be_copied(verified: Any) -> bool:
    return str(verified.credential_device_type.value) == "multi_device"


def _rp_id() -> str:
    return urlsplit(config.current().issuer).hostname or ""


def _timeout() -> int:
    return int(challenges.LIFE.total_seconds() * 1000)


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(f"{text}===")
    except binascii.Error as cause:
        raise ValueError("not base64url") from cause
