"""What can go wrong, as values; knows no library.

A `ProtocolError` is an answer to a client: `code` and `description` go over the wire, `detail` only to log and audit.
A `PageError` is an answer to a person: a page with a calm sentence and, folded away, facts for the app's developer.
Text from a request never enters a description.

    ProtocolError
    ├── InvalidRequest … InvalidDpopProof     400 (RFC 6749 §5.2 and its extensions)
    ├── AuthorizationPending, SlowDown        400, and no refusal (RFC 8628 §3.5)
    ├── InvalidClient                         401
    ├── InvalidToken, InsufficientScope       401, 403 (RFC 6750 §3.1)
    ├── InsufficientUserAuthentication        401 (RFC 9470 §3)
    ├── TooLarge                              413
    └── TemporarilyUnavailable                429, with Retry-After
    PageError
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


class ProtocolError(Exception):
    """An OAuth error: `code` (RFC 6749 §5.2), HTTP `status`, fixed `description`, private `detail`."""

    code = "invalid_request"
    status = 400
    is_refusal = True
    """Whether it is recorded and counted; a client that only has to wait was refused nothing."""

    def __init__(self, description: str = "", *, detail: str = "", retry_after_seconds: int | None = None) -> None:
        super().__init__(self.code)
        self.description = description
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds
        self.resource_metadata = ""
        """Where the API that refuses tells whose tokens it takes (RFC 9728 §5.1)."""


class InvalidRequest(ProtocolError):
    code = "invalid_request"


class TooLarge(ProtocolError):
    """RFC 9110 §15.5.14."""

    status = 413

    def __init__(self) -> None:
        super().__init__("the request is too large")


class InvalidClient(ProtocolError):
    """RFC 6749 §5.2. Uniform towards strangers; the cause is in `detail`."""

    code = "invalid_client"
    status = 401

    def __init__(self, description: str = "client authentication failed", *, detail: str = "") -> None:
        super().__init__(description, detail=detail)


class InvalidGrant(ProtocolError):
    code = "invalid_grant"


class UnauthorizedClient(ProtocolError):
    code = "unauthorized_client"


class UnsupportedGrantType(ProtocolError):
    code = "unsupported_grant_type"


class UnsupportedResponseType(ProtocolError):
    code = "unsupported_response_type"


class InvalidScope(ProtocolError):
    code = "invalid_scope"


class InvalidTarget(ProtocolError):
    """RFC 8707 §2."""

    code = "invalid_target"


class AccessDenied(ProtocolError):
    code = "access_denied"


class AuthorizationPending(ProtocolError):
    """RFC 8628 §3.5: the person has not decided yet."""

    code = "authorization_pending"
    is_refusal = False


class SlowDown(ProtocolError):
    """RFC 8628 §3.5: asked again too early; the interval is five seconds longer from now on."""

    code = "slow_down"
    is_refusal = False


class ExpiredToken(ProtocolError):
    """RFC 8628 §3.5: the device code is too old; the device asks for another one."""

    code = "expired_token"


class LoginRequired(ProtocolError):
    """OpenID Connect Core §3.1.2.6."""

    code = "login_required"


class ConsentRequired(ProtocolError):
    code = "consent_required"


class InteractionRequired(ProtocolError):
    code = "interaction_required"


class AccountSelectionRequired(ProtocolError):
    code = "account_selection_required"


class UnmetAuthenticationRequirements(ProtocolError):
    """OpenID Connect Core Error Code unmet_authentication_requirements: what is demanded cannot be reached."""

    code = "unmet_authentication_requirements"


class InvalidDpopProof(ProtocolError):
    """RFC 9449 §5; at an API with status 401 (§7.1)."""

    code = "invalid_dpop_proof"


class UseDpopNonce(ProtocolError):
    """RFC 9449 §8: the same request again, with this nonce in its proof."""

    code = "use_dpop_nonce"
    is_refusal = False

    def __init__(self, nonce: str) -> None:
        super().__init__("the DPoP proof needs the nonce of this answer's DPoP-Nonce header")
        self.nonce = nonce


class InvalidRequestObject(ProtocolError):
    """RFC 9101 §7."""

    code = "invalid_request_object"


class RequestUriNotSupported(ProtocolError):
    code = "request_uri_not_supported"


class RegistrationNotSupported(ProtocolError):
    code = "registration_not_supported"


class InvalidClientMetadata(ProtocolError):
    """RFC 7591 §3.2.2."""

    code = "invalid_client_metadata"


class InvalidRedirectUri(ProtocolError):
    """RFC 7591 §3.2.2."""

    code = "invalid_redirect_uri"


class UnapprovedSoftwareStatement(ProtocolError):
    """RFC 7591 §3.2.2."""

    code = "unapproved_software_statement"


class InvalidToken(ProtocolError):
    """RFC 6750 §3.1. Every refused token gets the same sentence."""

    code = "invalid_token"
    status = 401

    def __init__(
        self,
        description: str = "the access token is missing, expired, revoked or not for this API",
        *,
        detail: str = "",
        by_dpop: bool = False,
    ) -> None:
        super().__init__(description, detail=detail)
        self.by_dpop = by_dpop
        """It came with the DPoP scheme: so is the challenge (RFC 9449 §7.1)."""


class InsufficientScope(ProtocolError):
    """RFC 6750 §3.1; `scope` names what would be enough."""

    code = "insufficient_scope"
    status = 403

    def __init__(self, scope: str) -> None:
        super().__init__("the access token lacks a needed scope")
        self.scope = scope


class InsufficientUserAuthentication(ProtocolError):
    """RFC 9470 §3; `acr` and `max_age_seconds` name what would be enough."""

    code = "insufficient_user_authentication"
    status = 401

    def __init__(self, acr: str | None, max_age_seconds: int | None) -> None:
        super().__init__("the sign-in is not strong enough, or too long ago")
        self.acr = acr
        self.max_age_seconds = max_age_seconds


class TemporarilyUnavailable(ProtocolError):
    """Too many requests."""

    code = "temporarily_unavailable"
    status = 429


class NoEncryptionKey(ProtocolError):
    """The client wants it encrypted, and no key for that can be found: it is not sent in the clear instead."""

    code = "temporarily_unavailable"
    status = 503


class Busy(Exception):
    """More people are signing in than can be checked at once; in a few seconds it will be better."""

    retry_after_seconds = 2


class RefusedInput(Exception):
    """What an operator or a form typed is refused; the message says what to change. `field` names the input.

    A message that people see on a page is marked (`language.mark`), and what varies stands in it as `%(name)s`, so that
    `text` can say it in their language. `message` is English, for operators and the log.
    """

    def __init__(self, message: str, field: str = "", **values: object) -> None:
        self._sentence, self._values = message, values
        self.message = self.text(str)
        self.field = field
        super().__init__(self.message)

    def text(self, translate: Callable[[str], str]) -> str:
        """Return the message translated."""
        sentence = translate(self._sentence)
        return sentence % self._values if self._values else sentence


class RefusedFields(RefusedInput):
    """Several inputs of one form are refused, told all at once; `problems` says for each field what to change."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        field, message = next(iter(problems.items()))
        super().__init__(message, field)
        self.problems = dict(problems)


@dataclass
class PageError(Exception):
    """An error shown to a person: `code` is the page's `data-error`."""

    code: str
    status: int = 400
    app_name: str = ""
    facts: list[tuple[str, str]] = field(default_factory=list)
    """Pairs (label, value) for the app's developer, rendered as text."""
    heading: str = ""
    text: str = ""
    """In place of the words that belong to the code."""
    restart_label: str = ""
    restart_url: str = ""
    """A local URL that starts the same thing again, or a page of the app that must do so."""
    detail: str = ""
    retry_after_seconds: int | None = None
