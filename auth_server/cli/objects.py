"""Makes one object what the file says and tells what differed: a function for each kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from auth_server.access import apis, exchanges, groups, roles
from auth_server.access.apis import Api
from auth_server.access.exchanges import Rule
from auth_server.accounts import passwords, users
from auth_server.cli.declaration import Declared
from auth_server.cli.fields import Secret
from auth_server.clients import client as clients
from auth_server.clients import issuers, metadata, secrets
from auth_server.clients.secrets import New
from auth_server.errors import RefusedInput


@dataclass(frozen=True)
class Change:
    """One line of the difference: what happens to which object. It never holds a secret."""

    act: str
    kind: str
    id: str
    fields: tuple[str, ...] = ()
    next_step: str = ""

    def __str__(self) -> str:
        about = f" ({', '.join(self.fields)})" if self.fields else ""
        return f"{self.act} {self.kind} {self.id}{about}"


def made_ready(item: Declared) -> Declared:
    """Return an object after what is slow: before anybody has to wait for the transaction.

    Passwords are hashed; others are asked what a client says of them. Raises `RefusedInput`, or as `clients.checked`.
    """
    if item.kind == "client":
        present = clients.find_now(item.id)  # nothing may be remembered before this server has its turn
        clients.checked(item.values, present.details if present else None)
    return _hashed(item)


def _hashed(item: Declared) -> Declared:
    """Return an object with its password hashed.

    A password is set once, since the person may have changed it: where there is one, none is left. Raises
    `RefusedInput` for a broken rule.
    """
    if item.kind != "user" or item.secret is None:
        return item
    user = users.find_by_email(item.id)
    if user and passwords.exists(user.id):
        return dataclasses.replace(item, secret=None)
    if item.secret.stored:
        return item
    passwords.check_rules(item.secret.plain, context=(item.id, str(item.values.get("name", ""))))
    return dataclasses.replace(item, secret=Secret(stored=passwords.hash_now(item.secret.plain)))


def _group(item: Declared) -> Change | None:
    title = item.values.get("name") or item.id
    present = {row["name"]: row["title"] for row in groups.listing()}
    if item.id not in present:
        groups.create(item.id, title, by_apply=True)
        return Change("create", "group", item.id)
    if present[item.id] != title:
        groups.rename(item.id, title)
        return Change("change", "group", item.id, ("name",))
    return None


def _role(item: Declared) -> Change | None:
    wanted = {name: item.values.get(name, []) for name in ("scopes", "groups")}
    present = {row["name"]: row for row in roles.listing()}.get(item.id)
    changed = _differing(wanted, present or {})
    if present and not changed:
        return None
    roles.save(item.id, scopes=wanted["scopes"], member_groups=wanted["groups"], by_apply=True)
    return _changed(item, changed) if present else Change("create", "role", item.id)


def _api(item: Declared) -> Change | None:
    wanted: dict[str, Any] = {
        "name": item.values.get("name") or item.id,
        "scopes": item.values.get("scopes", {}),
        "token_format": item.values.get("token_format", "jwt"),
        "alg": item.values.get("alg", "RS256"),
        "token_ttl": item.values.get("token_ttl"),
        "minimum_acr": item.values.get("minimum_acr"),
        "scope_acr": item.values.get("scope_acr", {}),
    }
    values = {"token_ttl_seconds": wanted["token_ttl"], **wanted}
    del values["token_ttl"]
    present = {api.identifier: api for api in apis.listing()}.get(item.id)
    if present is None:
        made, raw_secret = apis.create(item.id, **values, secret=_secret(item), by_apply=True)
        return Change("create", "api", item.id, next_step=_how_to_get_a_secret(made.client_id, raw_secret))
    changed = _differing(wanted, _held(present))
    if changed:
        apis.change(present, **values)
    return _changed(item, changed + _new_secret(present.client_id, _secret(item)))


def _issuer(item: Declared) -> Change | None:
    present = {found.issuer: found for found in issuers.listing()}.get(item.id)
    held = present.details if present else {}
    wanted = issuers.validate(item.values)
    changed = _differing(wanted | dict.fromkeys(held.keys() - wanted.keys()), held)
    if present and not changed:
        return None
    issuers.save(item.id, item.values, by_apply=True)
    return _changed(item, changed) if present else Change("create", "issuer", item.id)


def _client(item: Declared) -> Change | None:
    issuers.check_named(item.values)
    present, details = clients.find(item.id), metadata.validate(item.values)
    if present is None:
        _made, raw_secret = clients.add(details, client_id=item.id, secret=_secret(item), by_apply=True)
        return Change("create", "client", item.id, next_step=_how_to_get_a_secret(item.id, raw_secret))
    if present.is_described:
        raise RefusedInput(f"{item.id} is an app that its own document describes; delete it first (clients delete)")
    changed = _differing(details | dict.fromkeys(present.details.keys() - details.keys()), present.details)
    if changed:
        clients.replace(present, details)
    return _changed(item, changed + _new_secret(item.id, _secret(item)))


def _exchange(item: Declared) -> Change | None:
    values = item.values
    wanted = Rule(
        name=item.id,
        client_id=values.get("client", ""),
        from_audience=values.get("from_audience", ""),
        to_audience=values.get("to_audience", ""),
        scopes=tuple(values.get("scopes", ())),
        from_clients=tuple(values.get("from_clients", ())),
        impersonation=values.get("impersonation", False),
        bound_tokens=values.get("bound_tokens", False),
    )
    present = {rule.name: rule for rule in exchanges.listing()}.get(item.id)
    if present == wanted:
        return None
    exchanges.save(wanted, by_apply=True)
    if present is None:
        return Change("create", "exchange", item.id)
    changed = _differing(dataclasses.asdict(wanted), dataclasses.asdict(present))
    return _changed(item, tuple("client" if name == "client_id" else name for name in changed))


def _user(item: Declared) -> Change | None:
    values = item.values
    user = users.find_by_email(item.id)
    created = user is None
    changed: tuple[str, ...] = ()
    if user is None:
        verified = values.get("verified", True)
        user = users.create(item.id, values.get("name", ""), verified=verified, claims=values.get("claims"))
    else:
        changed = _differing(_given(values, "name", "verified", "claims"), _of(user, values))
        if changed:
            users.change(user, **{field: values[field] for field in changed})
    changed += _memberships(user.id, values)
    if item.secret:
        passwords.store_hash(user.id, item.secret.stored)
        changed += ("password",)
    return Change("create", "user", item.id) if created else _changed(item, changed)


def _of(user: users.User, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is compared of a person; of the claims only those that the file names."""
    claims = {name: user.claims.get(name) for name in values.get("claims", ())}
    return {"name": user.name, "verified": user.email_verified, "claims": claims}


def _memberships(user_id: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    held = {"groups": list(groups.of_user(user_id)), "roles": list(roles.named(user_id))}
    changed = _differing(_given(values, "groups", "roles"), held)
    for name in changed:
        (groups if name == "groups" else roles).put(user_id, values[name])
    return changed


def _held(api: Api) -> dict[str, Any]:
    seconds = int(api.token_ttl.total_seconds()) if api.token_ttl else None
    about = {"name": api.name, "scopes": dict(api.scopes), "token_format": api.token_format, "alg": api.alg}
    return {**about, "token_ttl": seconds, "minimum_acr": api.minimum_acr, "scope_acr": dict(api.scope_acr)}


def _given(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return what the file says; a person keeps what it does not name."""
    return {name: values[name] for name in names if name in values}


def _differing(wanted: Mapping[str, Any], held: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(name for name in wanted if wanted[name] != held.get(name)))


def _changed(item: Declared, fields: tuple[str, ...]) -> Change | None:
    return Change("change", item.kind, item.id, fields) if fields else None


def _secret(item: Declared) -> New | None:
    return New(item.secret.stored, item.secret.plain or None) if item.secret else None


def _new_secret(client_id: str, wanted: New | None) -> tuple[str, ...]:
    """Add a declared secret that the client does not have yet; the others stay, so that a rotation overlaps."""
    client = clients.find(client_id)
    if client is None or wanted is None:
        return ()
    must_be_readable = client.auth_method == metadata.SIGNS_WITH_SECRET
    held = {row.digest for row in secrets.of(client_id) if row.sealed or not must_be_readable}
    if wanted.digest in held:
        return ()
    clients.add_secret(client, wanted)
    return ("secret",)


def _how_to_get_a_secret(client_id: str, raw_secret: str | None) -> str:
    return f"for a secret: auth-server clients secrets {client_id} --add" if raw_secret else ""


BRING_ABOUT: dict[str, Callable[[Declared], Change | None]] = {
    "group": _group,
    "role": _role,
    "api": _api,
    "issuer": _issuer,
    "client": _client,
    "exchange": _exchange,
    "user": _user,
}
