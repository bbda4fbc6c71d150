"""Public keys of others: what each may verify, and which nobody should register."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from joserfc.jwk import ECKey, OKPKey, RSAKey

from auth_server.keys import foreign
from auth_server.keys.foreign import BadKey
from tests.support.assertion import Signer, signer

RSA, P256, ED25519 = (signer(alg) for alg in ("RS256", "ES256", "EdDSA"))


def algs(jwk: Any) -> list[str]:
    return [key.alg for key in foreign.keys(jwk)]


def test_a_key_is_for_what_its_type_and_members_allow() -> None:
    """Never for what a token's header says (RFC 8725 §3.1)."""
    assert algs(RSA.jwk(alg=None)) == ["RS256", "PS256"]
    assert algs(RSA.jwk(alg="PS256")) == ["PS256"]
    assert algs(P256.jwk(alg=None)) == ["ES256"]
    assert algs(ED25519.jwk(alg=None, use=None, kid=None)) == ["EdDSA"]
    assert algs(RSA.jwk(key_ops=["verify"])) == ["RS256"]


@pytest.mark.parametrize(
    "jwk",
    [
        RSA.jwk(use="enc"),
        RSA.jwk(alg="RSA-OAEP"),
        RSA.jwk(alg="RS512"),
        RSA.jwk(alg="HS256"),
        RSA.jwk(alg="none"),
        RSA.jwk(key_ops=["encrypt"]),
        RSA.jwk(key_ops="verify"),
        P256.jwk(alg="RS256"),
        ECKey.import_key(ec.generate_private_key(ec.SECP384R1())).as_dict(private=False),
        OKPKey.import_key(x25519.X25519PrivateKey.generate()).as_dict(private=False),
    ],
)
def test_a_key_for_something_else_verifies_nothing(jwk: dict[str, Any]) -> None:
    """Another use, algorithm or curve: it may stand in the set, and is not used."""
    assert algs(jwk) == []


def weak(bits: int) -> dict[str, Any]:
    return {"kty": "RSA", "e": "AQAB", "n": RSAKey.import_key(rsa.generate_private_key(65537, bits)).as_dict()["n"]}


@pytest.mark.parametrize(
    "jwk",
    [
        None,
        "key",
        [],
        {},
        {"kty": "oct", "k": "AAAA"},
        {"kty": "DSA"},
        RSAKey.import_key(RSA.private_pem()).as_dict(private=True),
        ECKey.import_key(P256.private_pem()).as_dict(private=True),
        OKPKey.import_key(ED25519.private_pem()).as_dict(private=True),
        RSA.jwk(d=""),
        RSA.jwk(k="AAAA"),
        RSA.jwk(kid=1),
        RSA.jwk(kid="k" * 256),
        RSA.jwk(n=None),
        RSA.jwk(n="é"),
        RSA.jwk(n=1),
        RSA.jwk(e="A" * 13),
        RSA.jwk(e=None),
        RSA.jwk(e="Ag"),
        RSA.jwk(n="_" * 100_000),
        P256.jwk(x="AAAA"),
        P256.jwk(crv="P-1"),
        P256.jwk(crv=["P-256"]),
        ED25519.jwk(x=""),
    ],
)
def test_a_bad_key_is_refused(jwk: Any) -> None:
    """Private, shared, weak, malformed: with a fixed sentence, and left out of a set that somebody publishes."""
    with pytest.raises(BadKey):
        foreign.keys(jwk)
    document = {"keys": [jwk, RSA.jwk()]}
    assert [key.kid for key in foreign.of_set(document)] == [RSA.kid]
    with pytest.raises(BadKey):
        foreign.of_set(document, strict=True)


@pytest.mark.filterwarnings("ignore:Key size should be")
def test_a_weak_rsa_key_is_refused() -> None:
    """2048 bits are the least (RFC 7518 §3.3)."""
    with pytest.raises(BadKey, match="2048"):
        foreign.keys(weak(1024))
    assert algs(weak(2048)) == ["RS256", "PS256"]


@pytest.mark.parametrize("document", [None, [], {}, {"keys": {}}, {"keys": None}, {"keys": [RSA.jwk()] * 21}, "x"])
def test_what_is_no_key_set_is_refused(document: Any) -> None:
    """Nor one of more keys than anybody needs; just as many are taken."""
    with pytest.raises(BadKey):
        foreign.of_set(document)
    assert len(foreign.of_set({"keys": [Signer("RS256", RSA.native).jwk()] * 20})) == 20
