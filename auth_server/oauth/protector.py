"""The check of access tokens at our own APIs: Authlib's `ResourceProtector` with validators over `tokens.checking`."""

from __future__ import annotations

from authlib.oauth2 import OAuth2Error, ResourceProtector
from authlib.oauth2.rfc6749 import TokenValidator

from auth_server import resource_metadata
from auth_server.clients import client as clients
from auth_server.errors import (
    InsufficientScope,
    InvalidDpopProof,
    InvalidRequest,
    InvalidToken,
    ProtocolError,
    UseDpopNonce,
)
from auth_server.keys import access_token, confirmation
from auth_server.oauth import sender
from auth_server.tokens import checking
from auth_server.tokens.checking import Live
from auth_server.web.machines import FORM, Request

_LONGEST_TOKEN = 16_384


class LiveTokenValidator(TokenValidator):  # type: ignore[misc]
    """Accepts our own live tokens that are meant for one audience, and, where they are bound, the certificate."""

    TOKEN_TYPE = "bearer"  # noqa: S105 - a scheme's name
    by_dpop = False

    def __init__(self, audience: str) -> None:
        super().__init__(realm="oauth")
        self._audience = audience

    def authenticate_token(self, token_string: str) -> Live:
        found = checking.live(token_string, [self._audience]) if len(token_string) <= _LONGEST_TOKEN else None
        if found is None:
            raise InvalidToken(detail="unknown, ended or foreign token", by_dpop=self.by_dpop)
        return found

    def check_sender(self, token: Live, presented: str, request: Request) -> None:
        """Refuse a token that is bound, and came without what it is bound to (RFC 9449 §7.2, RFC 8705 §3)."""
        bound_to = confirmation.of(token.claims)
        if bound_to is None:
            return
        if bound_to.member == confirmation.JKT:
            raise InvalidToken("the access token is bound to a key: send it as DPoP, with a proof", by_dpop=True)
        shown = request.shown
        if shown.certificate is None or shown.certificate.confirmation != bound_to:
            detail = shown.problem or "bound to another certificate"
            raise InvalidToken("the access token is bound to a certificate, which must come along", detail=detail)

    def validate_token(self, token: Live, scopes: list[str] | None, request: object) -> None:
        if not set(scopes or ()) <= access_token.scopes_of(token.claims):
            raise InsufficientScope(" ".join(scopes or ()))


class BoundTokenValidator(LiveTokenValidator):
    """Accepts tokens with a proof of the key that they are bound to (RFC 9449 §7.1)."""

    TOKEN_TYPE = "dpop"  # noqa: S105 - a scheme's name
    by_dpop = True

    def check_sender(self, token: Live, presented: str, request: Request) -> None:
        try:
            client = clients.find(token.claims["client_id"])
            proved = sender.of(request, request.path, client, access_token=presented)
            if proved is None:
                raise InvalidDpopProof("the DPoP header is missing")
            bound_to = confirmation.of(token.claims)
            if bound_to is None or bound_to != proved.confirmation:
                raise InvalidToken(detail="bound to another key, or to none", by_dpop=True)
            proved.spend()
        except (InvalidDpopProof, UseDpopNonce) as refusal:
            refusal.status = 401  # RFC 9449 §7.1
            raise


class Protector(ResourceProtector):  # type: ignore[misc]
    """Header tokens only, and for POST the form (RFC 6750 §2.2); never the query (OAuth 2.1 §5.1)."""

    def __init__(self, audience: str) -> None:
        super().__init__()
        self.register_token_validator(LiveTokenValidator(audience))
        self.register_token_validator(BoundTokenValidator(audience))
        self._metadata = resource_metadata.address_of(audience)

    def token(self, request: Request, scopes: list[str]) -> Live:
        """Return the token of this request; raise `InvalidToken`, `InvalidDpopProof` or `InsufficientScope`."""
        try:
            return self._checked(request, scopes)
        except ProtocolError as refusal:
            raise self.refused(refusal) from None

    def refused(self, refusal: ProtocolError) -> ProtocolError:
        """Let a refusal say where this API tells whose tokens it takes (RFC 9728 §5.1)."""
        refusal.resource_metadata = self._metadata
        return refusal

    def _checked(self, request: Request, scopes: list[str]) -> Live:
        in_form = _tokens_in_form(request)
        if "access_token" in request.query or len(in_form) + (request.authorization is not None) > 1:
            raise InvalidRequest("the access token must come once, in the Authorization header")
        try:
            validator, presented = self._presented(request, in_form)
        except OAuth2Error:
            raise InvalidToken(detail="no bearer token") from None
        token: Live = validator.authenticate_token(presented)
        validator.check_sender(token, presented, request)
        validator.validate_token(token, scopes, None)
        return token

    def _presented(self, request: Request, in_form: list[str]) -> tuple[TokenValidator, str]:
        if in_form:
            return self.get_token_validator("bearer"), in_form[0]
        validator, presented = self.parse_request_authorization(request)
        return validator, presented.strip()


def _tokens_in_form(request: Request) -> list[str]:
    """Return the tokens of a posted form; a POST without one is no form."""
    if request.method != "POST" or not request.environ.get("CONTENT_TYPE", "").startswith(FORM):
        return []
    return request.form.get("access_token", [])
