"""How strong the sign-in must be for a request: `acr_values` (OpenID Connect Core §3.1.2.1, RFC 9470 §4).

They are wishes, the weakest of them the least that will do. Somebody without a second factor goes on without one, and
the token's `acr` says so.
"""

from __future__ import annotations

from auth_server.accounts import second_factor, sign_in
from auth_server.accounts.sessions import Session
from auth_server.oauth.authorization_request import AuthorizationRequest


def wants_second_factor(found: AuthorizationRequest) -> bool:
    """Tell whether the request is not content with a password alone."""
    values = found.params.get("acr_values", [""])[0].split()
    wanted = [value for value in sign_in.ACR_VALUES if value in values]
    return bool(wanted) and wanted[0] == sign_in.ACR_TWO_FACTORS


def is_missing(found: AuthorizationRequest, here: Session) -> bool:
    """Tell whether the person should add the second factor to this session."""
    is_weak = here.acr == sign_in.ACR_ONE_FACTOR
    return is_weak and wants_second_factor(found) and second_factor.is_on(here.user_id)
