"""`exchanges`: rules of token exchange by command."""

from __future__ import annotations

from typing import Any

from tests.cli.conftest import Run

ORDERS, FILES = "https://orders.example.org", "https://files.example.org"
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"


def create(run: Run, name: str = "orders-to-files", *more: str, code: int = 0, **changed: str) -> Any:
    about = {"client": "", "from-audience": ORDERS, "to-audience": FILES, "scope": "files:read", **changed}
    words = [word for option, value in about.items() for word in (f"--{option}", value)]
    return run("exchanges", "create", name, *words, *more, "--json", code=code)


def backend(run: Run) -> str:
    """Make both APIs and a client that may exchange; return its id."""
    for identifier, scope in ((ORDERS, "orders:read"), (FILES, "files:read")):
        run("apis", "create", identifier, "--scope", f"{scope}=See them", "--json")
    made = run("clients", "create", "--name", "Orders backend", "--grant-type", GRANT, "--json").json
    return str(made["client_id"])


def test_a_rule_is_created_listed_and_deleted(run: Run) -> None:
    """The answer says the rule as `apply` would; it is deny again afterwards."""
    client_id = backend(run)
    made = create(run, client=client_id).json
    assert made == {
        "name": "orders-to-files",
        "client": client_id,
        "from_audience": ORDERS,
        "from_clients": [],
        "to_audience": FILES,
        "scopes": ["files:read"],
        "impersonation": False,
        "bound_tokens": False,
    }
    loose = create(run, "b", "--impersonation", "--bound-tokens", "--from-client", client_id, client=client_id).json
    assert (loose["impersonation"], loose["bound_tokens"], loose["from_clients"]) == (True, True, [client_id])
    assert run("exchanges", "list", "--json").json == [loose, made]
    run("exchanges", "delete", "b", code=1)
    run("exchanges", "delete", "b", "--yes")
    run("exchanges", "delete", "b", "--yes", code=1)
    assert run("exchanges", "list", "--json").json == [made]


def test_a_rule_names_what_is_there(run: Run) -> None:
    """A client with the grant, registered APIs, scopes of the one it leads to; and a name once."""
    client_id = backend(run)
    other = run("clients", "create", "--name", "X", "--grant-type", "client_credentials", "--json").json["client_id"]
    for changed, word in (
        ({"client": "nobody"}, "client: no such client"),
        ({"client": other}, GRANT),
        ({"from-audience": "https://nobody.example.org"}, "from_audience"),
        ({"to-audience": "https://nobody.example.org"}, "to_audience"),
        ({"scope": "orders:read"}, "scopes"),
        ({"scope": "openid"}, "scopes"),
        ({"from-client": "nobody"}, "from_clients: no such client"),
    ):
        assert word in create(run, **{"client": client_id, "code": 1, **changed}).err
    create(run, client=client_id)
    assert "already" in create(run, client=client_id, code=1).err
