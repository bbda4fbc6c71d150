"""The check of access tokens at our own APIs: Authlib's `ResourceProtector` with a validator over `tokens.checking`."""

from __future__ import annotations

from authlib.oauth2 import OAuth2Error, ResourceProtector
from authlib.oauth2.rfc6749 import TokenValidator

from auth_server.errors import InsufficientScope, InvalidRequest, InvalidToken
from auth_server.keys import access_token
from auth_server.tokens import checking
from auth_server.tokens.checking import Live
from auth_server.web.machines import FORM, Request

_LONGEST_TOKEN = 16_384


class LiveTokenValidator(TokenValidator):  # type: ignore[misc]
    """Accepts our own live tokens that are meant for one audience."""

    TOKEN_TYPE = "bearer"  # noqa: S105 - a scheme's name

    def __init__(self, audience: str) -> None:
        super().__init__(realm="oauth")
        self._audience = audience

    def authenticate_token(self, token_string: str) -> Live:
        found = checking.live(token_string, [self._audience]) if len(token_string) <= _LONGEST_TOKEN else None
        if found is None:
            raise InvalidToken(detail="unknown, ended or foreign token")
        return found

    def validate_token(self, token: Live, scopes: list[str] | None, request: object) -> None:
        if not set(scopes or ()) <= access_token.scopes_of(token.claims):
            raise InsufficientScope(" ".join(scopes or ()))


class Protector(ResourceProtector):  # type: ignore[misc]
    """Header tokens only, and for POST the form (RFC 6750 §2.2); never the query (OAuth 2.1 §5.1)."""

    def token(self, request: Request, scopes: list[str]) -> Live:
        """Return the token of this request; raise `InvalidToken` or `InsufficientScope`."""
        in_form = _tokens_in_form(request)
        if "access_token" in request.query or len(in_form) + (request.authorization is not None) > 1:
            raise InvalidRequest("the access token must come once, in the Authorization header")
        try:
            validator, presented = self._presented(request, in_form)
        except OAuth2Error:
            raise InvalidToken(detail="no bearer token") from None
        token: Live = validator.authenticate_token(presented)
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
