"""Consent: whether the person must be asked, the page, and the answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import Response, render_template, request

from auth_server.access import apis, consents
from auth_server.access.apis import Api
from auth_server.access.consents import Given
from auth_server.accounts.sessions import Session
from auth_server.clients import document_address, identity
from auth_server.clients.client import Client
from auth_server.errors import AccessDenied, PageError
from auth_server.infra.events import Event, record
from auth_server.oauth import claims_request, details, waiting
from auth_server.oauth.authorization_request import AuthorizationRequest, Refused
from auth_server.values import is_loopback
from auth_server.web import guards
from auth_server.web.i18n import gettext as _

_SHOWN = "shown"
"""The field that says who the app was when the person was asked."""


@dataclass(frozen=True)
class Permission:
    """One line of the page."""

    scope: str
    title: str
    description: str
    sensitive: bool
    new: bool
    optional: bool
    checked: bool = True
    field: str = "scope"
    """The form field of its checkbox."""


def covered(found: AuthorizationRequest, session: Session, scopes: tuple[str, ...]) -> bool:
    """Tell whether nothing needs to be asked: answered in this session, first-party, or remembered."""
    if found.consented_session == session.id and _is_who_it_was(found.client, session.user_id):
        return True
    if "consent" in found.prompts:
        return False
    if found.client.is_self_registered:
        return False  # nobody knows whose it is: a person looks at it each time (RFC 6819 §5.2.4.1)
    if found.client.first_party:
        return True
    if not found.redirect_uri.startswith(("https://", "http://")):
        return False  # any app on the device may claim a private scheme: never silently (RFC 8252 §8.6)
    given = consents.find(session.user_id, found.client.client_id)
    if given is None or not set(scopes) - found.client.optional_scopes <= given.scopes:
        return False
    return set(details.certain(found.client, _asked_by_name(found, scopes))) <= details.known(given)


def granted(found: AuthorizationRequest, session: Session, scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Return what may be granted now that consent is covered: the person may have unticked optional scopes."""
    if found.consented_session == session.id:
        return tuple(scope for scope in scopes if scope in found.consented_scopes)
    if found.client.first_party or not found.client.optional_scopes:
        return scopes
    given = consents.find(session.user_id, found.client.client_id)
    return tuple(scope for scope in scopes if given and scope in given.scopes)


def granted_claims(found: AuthorizationRequest, session: Session, scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the claims that may be given besides those of the scopes, as `granted` does; the scopes are the asked."""
    names = _asked_by_name(found, scopes)
    if found.consented_session == session.id:
        return tuple(name for name in names if name in found.consented_claims)
    if found.client.first_party or not names:
        return names
    held = details.known(_given(found.client, session.user_id))
    return tuple(name for name in names if name in held)


def certain(
    found: AuthorizationRequest, session: Session, scopes: tuple[str, ...], *, is_covered: bool
) -> tuple[str, ...]:
    """Return the scopes that the app will be given, as far as it is known: not those that may still be unticked."""
    return granted(found, session, scopes) if is_covered else required(found.client, scopes)


def required(client: Client, scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the scopes that the person cannot untick."""
    return tuple(scope for scope in scopes if scope not in client.optional_scopes)


def page(found: AuthorizationRequest, session: Session, scopes: tuple[str, ...], account: dict[str, str]) -> Response:
    """Show the page."""
    kind, host = _destination(found.redirect_uri)
    lines = _lines(found, session, scopes)
    return render(
        found.client, session.user_id, account, lines, found.resources, redirect_kind=kind, redirect_host=host
    )


def render(
    client: Client,
    user_id: str,
    account: dict[str, str],
    lines: list[Permission],
    resources: Sequence[Api],
    *,
    fields: Sequence[tuple[str, str]] = (),
    **where: Any,
) -> Response:
    """Return the page for whatever asks; `where` says what becomes of the answer, as the template names it."""
    text = render_template(
        "oauth/consent.html",
        app={
            "name": client.name,
            "initials": initials(client.name),
            "unverified": client.is_self_registered,
            "team": client.first_party,
            "host": document_address.host_of(client.client_id) if client.is_described else "",
            "changed": not _is_who_it_was(client, user_id, otherwise=True),
        },
        account=account,
        permissions=lines,
        resources=[api.identifier for api in resources] if client.is_self_registered else [],
        fields=[*fields, (_SHOWN, identity.of(client) or "")],
        **where,
    )
    return Response(text, content_type="text/html; charset=utf-8")


def is_who_was_shown(client: Client) -> bool:
    """Tell whether the form that was sent is about the app as it is now: its document may have changed meanwhile."""
    return request.form.get(_SHOWN, "") == (identity.of(client) or "")


def answer(found: AuthorizationRequest, session: Session, scopes: tuple[str, ...]) -> Response | None:
    """Take the person's decision; None: allowed, go on. Raises `Refused` with `access_denied`."""
    decision = request.form.get("decision", "")
    if decision == "switch":
        return guards.to_login(found.url)
    if decision == "deny":
        record(Event.CONSENT_DENIED, subject=session.user_id, client=found.client.client_id)
        refusal = AccessDenied("the person did not allow it")
        raise Refused(refusal, found.client, found.redirect_uri, found.response_mode, found.state)
    if decision != "allow":
        raise PageError("invalid_request", detail="consent without a decision")
    if not is_who_was_shown(found.client):
        return None  # it is asked again, with what has changed
    lines = _lines(found, session, scopes)
    allowed, unticked = ticked(found.client, session.user_id, scopes, lines)
    chosen = set(request.form.getlist(details.FIELD))
    refused = {line.scope for line in lines if line.field == details.FIELD and line.optional} - chosen
    names = _asked_by_name(found, scopes)
    claims = details.allowed(
        found.client, _given(found.client, session.user_id), names, chosen=chosen, unticked=refused
    )
    taken_back = set(names) - set(claims)
    remember(session.user_id, found.client, allowed, unticked | refused, claims=claims, claims_taken_back=taken_back)
    waiting.note_consent(found.id, session.id, allowed, claims)
    return None


def remember(user_id: str, client: Client, allowed: list[str], unticked: set[str], **claims: Iterable[str]) -> None:
    """Remember what the person allows the app, and who that was; `claims` as `consents.grant` takes them."""
    consents.grant(user_id, client.client_id, allowed, taken_back=unticked, identity=identity.of(client), **claims)


def ticked(
    client: Client, user_id: str, scopes: tuple[str, ...], lines: list[Permission]
) -> tuple[list[str], set[str]]:
    """Return what the form that was sent allows, and the shown scopes that the person took back."""
    chosen = set(request.form.getlist("scope"))
    unticked = {line.scope for line in lines if line.optional and line.field == "scope"} - chosen
    kept = chosen | (_held(client, user_id) - unticked)
    return [scope for scope in scopes if scope not in client.optional_scopes or scope in kept], unticked


def initials(name: str) -> str:
    """Return one or two letters that stand for an app without a logo."""
    words = [word for word in name.split() if word[:1].isalnum()]
    return "".join(word[0] for word in words[:2]).upper() or "?"


def title_of(scope: str) -> str:
    """Return what a scope means, in words for people."""
    titles = {
        "openid": _("Know who you are"),
        "profile": _("See your name and profile"),
        "email": _("See your e-mail address"),
        "address": _("See your postal address"),
        "phone": _("See your phone number"),
        "groups": _("See which groups you belong to"),
        "roles": _("See which roles you have"),
        "offline_access": _("Stay connected when you are away"),
    }
    api = apis.register().by_scope.get(scope)
    return titles.get(scope) or (api.scopes[scope] if api else scope)


def permissions(
    client: Client, user_id: str, scopes: tuple[str, ...], *, everything: bool, claims: tuple[str, ...] = ()
) -> list[Permission]:
    """Return the page's lines: only what is new, unless there is nothing new or everything is to be asked.

    `claims` are those that are asked for by name.
    """
    held = _held(client, user_id)
    asked = [_permission(scope, client, new=bool(held) and scope not in held) for scope in scopes if scope != "openid"]
    asked += _claim_lines(client, user_id, claims)
    fresh = [permission for permission in asked if permission.new]
    return fresh if fresh and not everything and not client.is_self_registered else asked


def _lines(found: AuthorizationRequest, session: Session, scopes: tuple[str, ...]) -> list[Permission]:
    everything = "consent" in found.prompts
    names = _asked_by_name(found, scopes)
    return permissions(found.client, session.user_id, scopes, everything=everything, claims=names)


def _asked_by_name(found: AuthorizationRequest, scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the claims that are asked for besides those of the scopes."""
    return claims_request.beyond(found.claims, found.client, scopes)


def _held(client: Client, user_id: str) -> frozenset[str]:
    """Return what the person has allowed the app before."""
    given = _given(client, user_id)
    return given.scopes if given else frozenset()


def _given(client: Client, user_id: str) -> Given | None:
    """Return what the person has allowed before, of an app that is still who it was."""
    given = consents.find(user_id, client.client_id)
    return given if given and given.is_for(identity.of(client)) else None


def _is_who_it_was(client: Client, user_id: str, *, otherwise: bool = False) -> bool:
    """Tell whether the app is who the person has allowed; `otherwise` is said of one that the person never has."""
    if not client.is_self_registered:
        return True
    given = consents.find(user_id, client.client_id)
    return given.is_for(identity.of(client)) if given else otherwise


def _permission(scope: str, client: Client, *, new: bool) -> Permission:
    api = apis.register().by_scope.get(scope)
    description = api.name if api else ""
    if scope == "offline_access":
        days = client.refresh_token_idle_ttl.days
        description = _("Until you disconnect it, or after %(days)s days without use.") % {"days": days}
    return Permission(
        scope=scope,
        title=title_of(scope),
        description=description,
        sensitive=scope == "offline_access",
        new=new,
        optional=scope in client.optional_scopes,
    )


def _claim_lines(client: Client, user_id: str, names: tuple[str, ...]) -> list[Permission]:
    given = _given(client, user_id)
    held = details.known(given)
    return [
        Permission(
            scope=scope,
            title=titles_of_claims(of_scope)[0],
            description=details.parts_of_profile(of_scope),
            sensitive=False,
            new=given is not None and not held.issuperset(of_scope),
            optional=scope in client.optional_scopes,
            field=details.FIELD,
        )
        for scope, of_scope in details.by_scope(names).items()
    ]


def titles_of_claims(names: Iterable[str]) -> list[str]:
    """Return what single claims mean, in words for people: a line for each scope that has them."""
    scopes = details.by_scope(names)
    return [_("See some of your profile") if scope == "profile" else title_of(scope) for scope in scopes]


def _destination(redirect_uri: str) -> tuple[str, str]:
    """Return the kind and name of the place the browser goes to."""
    parts = urlsplit(redirect_uri)
    if parts.scheme not in ("http", "https"):
        return "app", parts.scheme
    if parts.scheme == "http" and is_loopback(parts.hostname or ""):
        return "local", parts.netloc
    return "web", parts.netloc
