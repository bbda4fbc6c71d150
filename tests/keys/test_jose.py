"""Signatures and keys: the algorithm belongs to the key, never to the token (RFC 8725 §3.1)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from auth_server.keys import jose
from auth_server.keys.jose import BadToken, Key

CLAIMS = {"sub": "ada", "n": 1}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def pair(alg: str) -> tuple[Key, Key]:
    """Return a new private key and its public half, as the keyring holds them."""
    native = jose.generate(alg)
    jwk = jose.public_jwk(native, alg)
    return Key(jwk["kid"], alg, jose.wrap(native)), jose.import_public(jwk)


@pytest.fixture(scope="module")
def rsa_pair() -> tuple[Key, Key]:
    return pair("RS256")


def forged(header: dict[str, Any], signature: bytes = b"", claims: bytes | None = None) -> str:
    """Return a token with this header that nobody of ours signed."""
    body = json.dumps(CLAIMS).encode() if claims is None else claims
    return ".".join((b64(json.dumps(header).encode()), b64(body), b64(signature)))


@pytest.mark.parametrize("alg", jose.ALGORITHMS)
def test_what_a_key_signs_its_public_half_verifies(alg: str) -> None:
    """For each algorithm, with kid, alg and typ in the header (RFC 7515 §4.1)."""
    private, public = pair(alg)
    token = jose.sign(CLAIMS, private, typ="at+jwt")
    assert jose.header(token) == {"alg": alg, "kid": private.kid, "typ": "at+jwt"}
    assert jose.verify(token, public) == CLAIMS
    _other_private, other = pair(alg)
    with pytest.raises(BadToken):
        jose.verify(token, other)


@pytest.mark.parametrize(
    ("alg", "kind"),
    [("RS256", rsa.RSAPrivateKey), ("ES256", ec.EllipticCurvePrivateKey), ("EdDSA", ed25519.Ed25519PrivateKey)],
)
def test_keys_are_strong_and_travel_as_der(alg: str, kind: type) -> None:
    """RSA has 2048 bits or more; a stored key comes back as it was; the public JWK has nothing private."""
    native = jose.generate(alg)
    assert isinstance(native, kind)
    if isinstance(native, rsa.RSAPrivateKey):
        assert native.key_size >= 2048
    again = jose.load_private(jose.private_bytes(native))
    assert jose.public_jwk(again, alg) == jose.public_jwk(native, alg)
    jwk = jose.public_jwk(native, alg)
    assert not set(jwk) & {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}
    assert (jwk["alg"], jwk["use"]) == (alg, "sig")


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", "HS256", "RS384", "PS256", "ES256", None, 1, []])
def test_another_algorithm_is_refused(rsa_pair: tuple[Key, Key], alg: object) -> None:
    """`none` in four spellings, other families and nonsense (RFC 8725 §2.1)."""
    private, public = rsa_pair
    with pytest.raises(BadToken):
        jose.verify(forged({"alg": alg, "kid": private.kid, "typ": "at+jwt"}), public)


def test_a_public_key_is_no_hmac_secret(rsa_pair: tuple[Key, Key]) -> None:
    """HS256 keyed with the published key is refused (RFC 8725 §2.1, CVE-2016-10555)."""
    _private, public = rsa_pair
    pem = public.jwk.as_pem(private=False)
    der = public.jwk.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, der):
        start = forged({"alg": "HS256", "kid": public.kid, "typ": "at+jwt"}).rpartition(".")[0]
        signature = hmac.new(secret, start.encode(), hashlib.sha256).digest()
        with pytest.raises(BadToken):
            jose.verify(f"{start}.{b64(signature)}", public)


def test_a_key_in_the_header_is_not_believed(rsa_pair: tuple[Key, Key]) -> None:
    """`jwk`, `jku` and `x5u` name keys of the attacker's; only `kid` is looked at (RFC 8725 §3.10)."""
    from joserfc import jws, jwt

    _private, public = rsa_pair
    mallory = jose.wrap(jose.generate("RS256"))
    header = {"alg": "RS256", "kid": public.kid, "jwk": mallory.as_dict(private=False), "jku": "https://evil.example"}
    token = jwt.encode(header, CLAIMS, mallory, registry=jws.JWSRegistry(algorithms=["RS256"]))
    with pytest.raises(BadToken):
        jose.verify(token, public)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        "a.b.c.d.e",
        "💥.b.c",
        "\x00.\x00.\x00",
        "bnVsbA.e30.AAAA",  # header null
        "WzFd.e30.AAAA",  # header [1]
        "e30.e30.AAAA",  # header {}
        "a" * 16_383 + ".b.c",
    ],
)
def test_what_is_no_token_is_refused(rsa_pair: tuple[Key, Key], token: str) -> None:
    """Malformed and oversized texts never crash the check."""
    with pytest.raises(BadToken):
        jose.verify(token, rsa_pair[1])


def test_a_changed_token_is_refused(rsa_pair: tuple[Key, Key]) -> None:
    """Each part counts; nothing may be cut off or added."""
    private, public = rsa_pair
    token = jose.sign(CLAIMS, private)
    head, body, signature = token.split(".")
    other = b64(json.dumps({**CLAIMS, "sub": "ben"}).encode())
    for changed in (f"{head}.{other}.{signature}", f"{head}.{body}.", token[:-20], f"{token}.", f" {head}.{body}.AA"):
        with pytest.raises(BadToken):
            jose.verify(changed, public)
    assert jose.verify(token, public) == CLAIMS


@pytest.mark.parametrize("name", ["crit", "b64", "zip"])
def test_extensions_that_change_the_meaning_are_refused(rsa_pair: tuple[Key, Key], name: str) -> None:
    """A `crit` header is unknown to us, so the token is refused (RFC 7515 §4.1.11)."""
    private, public = rsa_pair
    value = {"crit": ["b64"], "b64": False, "zip": "DEF"}[name]
    with pytest.raises(BadToken):
        jose.verify(forged({"alg": "RS256", "kid": private.kid, name: value}, b"x" * 256), public)


@pytest.mark.parametrize("payload", [b"[]", b'"text"', b"null", b"{", b"\xff\xfe"])
def test_claims_are_an_object(rsa_pair: tuple[Key, Key], payload: bytes) -> None:
    """A rightly signed text that is no JSON object is no token (RFC 7519 §7.2)."""
    from joserfc import jws

    private, public = rsa_pair
    header = {"alg": "RS256", "kid": private.kid}
    token = jws.serialize_compact(header, payload, private.jwk, registry=jws.JWSRegistry(algorithms=["RS256"]))
    with pytest.raises(BadToken):
        jose.verify(token, public)


@pytest.mark.parametrize(
    "jwk",
    [
        {},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "1", "alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "1", "alg": "RS256"},
        {"kty": "RSA", "n": "AQ", "kid": "1", "alg": "RS256"},
        {"kty": "RSA", "n": 1, "e": [], "kid": "1", "alg": "RS256"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "1", "alg": "ES256"},
        {"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "1", "alg": "EdDSA"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": 1, "alg": "RS256"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "1", "alg": "none"},
    ],
)
def test_what_is_no_signing_key_is_not_imported(jwk: dict[str, Any]) -> None:
    """Symmetric, malformed and nameless keys are refused, whatever a key set says."""
    with pytest.raises(BadToken):
        jose.import_public(jwk)
