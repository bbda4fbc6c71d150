"""The `claims` parameter (OpenID Connect Core §5.5): single claims that an app asks for, beside those of its scopes.

An app gets by name what it could also get by one of the scopes that it is registered for, when the person allows it.
Names that are unknown here, or out of its reach, are ignored like scopes that are: nobody is asked about them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from auth_server.access import policy
from auth_server.clients.client import Client
from auth_server.errors import InvalidRequest, UnmetAuthenticationRequirements
from auth_server.infra import strict_json
from auth_server.keys import access_token
from auth_server.tokens.claims import ID_TOKEN, SCOPE_OF, USERINFO

_NAMED_IN_REFUSALS = frozenset({*SCOPE_OF, "sub", "acr", "auth_time", "amr"})
"""What a refusal may repeat: text of the request never enters one."""
Asks = Mapping[str, "Mapping[str, Any] | None"]


@dataclass(frozen=True)
class Wish:
    """What a request asks for; the names are those of claims that a scope could release."""

    id_token: tuple[str, ...] = ()
    userinfo: tuple[str, ...] = ()
    subs: tuple[frozenset[str], ...] = ()
    """The person must be called one of these, of each (§5.5.1): nobody else gets an answer."""
    acr: tuple[str, ...] = ()
    """Strengths that the app wishes for."""
    demanded_acr: tuple[str, ...] = ()
    """Strengths of which one must be reached (§5.5.1.1)."""

    @property
    def names(self) -> frozenset[str]:
        return frozenset((*self.id_token, *self.userinfo))


NOTHING = Wish()


def parse(text: str | None) -> Wish:
    """Return what is asked; raise `InvalidRequest`, which says what is malformed, or for a strength out of reach."""
    if text is None:
        return NOTHING
    document = _document(text)
    in_id_token, at_userinfo = (_asks(document, place) for place in (ID_TOKEN, USERINFO))
    wished, demanded = _strengths(in_id_token.get("acr"))
    subs = [_values(asks["sub"]) for asks in (in_id_token, at_userinfo) if asks.get("sub")]
    return Wish(
        id_token=tuple(name for name in in_id_token if name in SCOPE_OF),
        userinfo=tuple(name for name in at_userinfo if name in SCOPE_OF),
        subs=tuple(frozenset(values) for values in subs if values),
        acr=wished,
        demanded_acr=demanded,
    )


def beyond(wish: Wish, client: Client, scopes: Collection[str]) -> tuple[str, ...]:
    """Return the claims that no asked scope brings along, and that the client may be given: the person is asked."""
    if "openid" not in scopes or not wish.names:
        return ()
    possible = policy.possible_scopes(client, for_person=True) - set(scopes)
    return tuple(name for name in SCOPE_OF if name in wish.names and SCOPE_OF[name] in possible)


def kept(wish: Wish, scopes: Collection[str], consented: Collection[str]) -> dict[str, Any] | None:
    """Return what a family remembers of it; None when that is nothing."""
    found = {
        ID_TOKEN: [name for name in wish.id_token if SCOPE_OF[name] in scopes or name in consented],
        USERINFO: [name for name in wish.userinfo if name in consented],
        "consented": sorted(consented),
        "acr": list(wish.demanded_acr),
    }
    return found if "openid" in scopes and any(found.values()) else None


def _document(text: str) -> dict[str, Any]:
    try:
        return strict_json.read_object(text)
    except ValueError:
        raise InvalidRequest("claims must be a JSON object, well-formed and with no name twice") from None


def _asks(document: Mapping[str, Any], place: str) -> Asks:
    """Return what one member asks, each form checked; members that are unknown are ignored (§5.5)."""
    asks = document.get(place, {})
    if not isinstance(asks, dict):
        raise InvalidRequest(f"claims: {place} must be an object")
    for name, ask in asks.items():
        shown = f"{place}.{name}" if name in _NAMED_IN_REFUSALS else f"{place}: the request of another claim"
        _check(shown, ask, of_texts=name in ("sub", "acr"))
    return asks


def _check(shown: str, ask: Any, *, of_texts: bool) -> None:
    if ask is None:
        return
    if not isinstance(ask, dict):
        raise InvalidRequest(f"claims: {shown} must be null or an object")
    if not isinstance(ask.get("essential", False), bool):
        raise InvalidRequest(f"claims: {shown}: essential must be true or false")
    if "value" in ask and "values" in ask:
        raise InvalidRequest(f"claims: {shown}: value and values exclude each other")
    if not isinstance(ask.get("values", [""]), list) or not ask.get("values", [""]):
        raise InvalidRequest(f"claims: {shown}: values must be a list, and not an empty one")
    if of_texts and not all(isinstance(value, str) for value in _values(ask)):
        raise InvalidRequest(f"claims: {shown}: value or values must be text")


def _values(ask: Mapping[str, Any] | None) -> list[Any]:
    if ask is None:
        return []
    return [ask["value"]] if "value" in ask else list(ask.get("values", ()))


def _strengths(ask: Mapping[str, Any] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what is wished for and what is demanded; one that nobody can reach here is a failed sign-in (§5.5.1.1)."""
    named = _values(ask)
    known = tuple(acr for acr in access_token.ACR_VALUES if acr in named)
    if ask is None or not ask.get("essential"):
        return known, ()
    if named and not known:
        raise UnmetAuthenticationRequirements("claims: id_token.acr: none of its values can be reached here")
    return (), known
