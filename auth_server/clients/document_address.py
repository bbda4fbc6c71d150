"""Client ids that are addresses (Client ID Metadata Document §3): what they must look like, and whose are accepted."""

from __future__ import annotations

import re

from auth_server import config
from auth_server.infra import destination
from auth_server.infra.destination import Unreachable

LONGEST = 255
_ADDRESS = re.compile(r"https://([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(:[1-9]\d{0,4})?(/[A-Za-z0-9._~:/-]+)\Z", re.ASCII)
_MALFORMED = (
    "client_id must be an https address with a host in lower case and a path, of at most 255 characters: letters, "
    "digits and . _ ~ : / - only, no query, fragment, user name, /./ or /../"
)
_OFF = (
    "client ID metadata documents are switched off here: ask the operator to register the app, and use the client_id "
    "that it is given"
)
_NOT_FROM_THERE = (
    "client ID metadata documents of this host are not accepted here: ask the operator to accept them "
    "(CLIENT_ID_METADATA_HOSTS), or to register the app"
)


def is_one(client_id: str) -> bool:
    """Tell whether a client id wants to be an address; a registered client may have such an id, too."""
    return client_id[:8].lower() == "https://"


def host_of(client_id: str) -> str:
    """Return host and port of an address that is well-formed."""
    found = _ADDRESS.match(client_id)
    return found[1] + (found[2] or "") if found else ""


def refusal_of(client_id: str) -> str:
    """Return why a document at this address would not count, in words for the app's developer; "" when it would."""
    found = _ADDRESS.match(client_id)
    if found is None or len(client_id) > LONGEST or {".", ".."} & {*found[3].split("/")}:
        return _MALFORMED
    if config.current().client_id_metadata == "off":
        return _OFF
    return "" if _is_accepted(client_id, found[1], found[2] or "") else _NOT_FROM_THERE


def _is_accepted(client_id: str, host: str, port: str) -> bool:
    """A host that the operator has exempted from the block of private addresses must be named expressly.

    Anybody may make us ask for a document, and such hosts were exempted for those whom the operator knows.
    """
    rules = config.current().client_id_metadata_hosts
    if any(_fits(rule[1:], host, port) for rule in rules if rule.startswith("!")):
        return False
    named = [rule for rule in rules if not rule.startswith("!")]
    if named:
        return any(_fits(rule, host, port) for rule in named)
    try:
        return not destination.parse(client_id).is_exempt
    except Unreachable:
        return True  # why not, is said by whoever tries


def _fits(rule: str, host: str, port: str) -> bool:
    """Compare with `host`, `host:port`, or either with `*.` in front for all hosts below it."""
    if rule.startswith("*."):
        return host.endswith(rule[1:].partition(":")[0]) and rule[1:].partition(":")[2] in ("", port[1:])
    return rule in (host, host + port)
