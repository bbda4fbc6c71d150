"""Rules of token exchange, by command (`exchanges`) and in the file of `apply`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

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


DECLARED = """
[client.orders-backend]
client_name   = "Orders backend"
grant_types   = ["urn:ietf:params:oauth:grant-type:token-exchange"]
client_secret = { env = "GRAFANA_SECRET" }

[api."https://files.example.org"]
name   = "Files"
scopes = { "files:read" = "See your files" }

[exchange.orders-to-files]
client        = "orders-backend"
from_audience = "https://orders.example.org"
to_audience   = "https://files.example.org"
scopes        = ["files:read"]
from_clients  = ["grafana"]
"""


def test_rules_of_token_exchange_are_declared(run: Run, file: Path) -> None:
    """Made after what they name, changed by field, pruned first; safe to repeat (RFC 8693)."""
    plain = file.read_text()
    file.write_text(plain + DECLARED)
    assert "create exchange orders-to-files" in run("apply", str(file)).out.splitlines()
    assert run("apply", str(file)).out.strip() == "nothing to change"
    assert run("exchanges", "list", "--json").json == [
        {
            "name": "orders-to-files",
            "client": "orders-backend",
            "from_audience": "https://orders.example.org",
            "from_clients": ["grafana"],
            "to_audience": "https://files.example.org",
            "scopes": ["files:read"],
            "impersonation": False,
            "bound_tokens": False,
        }
    ]
    file.write_text(plain + DECLARED.replace('["grafana"]', "[]") + "impersonation = true\n")
    assert run("apply", str(file)).out.strip() == "change exchange orders-to-files (from_clients, impersonation)"
    file.write_text(plain)
    assert run("apply", str(file), "--prune", "--yes").out.splitlines() == [
        "delete exchange orders-to-files",
        "delete client orders-backend",
        "delete api https://files.example.org",
    ]
    assert run("exchanges", "list", "--json").json == []


@pytest.mark.parametrize(
    ("was", "becomes", "problem"),
    [
        ('client        = "orders-backend"', 'client = "nobody"', "no such client"),
        ('client        = "orders-backend"', "", "no such client"),
        ('client        = "orders-backend"', 'client = "grafana"', "the client needs the grant type urn:ietf:"),
        ('from_audience = "https://orders.example.org"', 'from_audience = "orders"', "name a registered API"),
        ('["files:read"]', '["files:read", "orders:read"]', "name scopes of https://files.example.org"),
        ('["files:read"]', '["roles"]', "name scopes of https://files.example.org"),
        ('["files:read"]', '"files:read"', "scopes: expected a list of texts"),
        ('["grafana"]', '["nobody"]', "no such client"),
        ("from_clients ", "from_client ", "from_client: no such key; did you mean from_clients?"),
        ("[exchange.orders-to-files]", '[exchange."a b"]', "this name is not possible for a rule"),
    ],
)
def test_a_rule_that_would_never_hold_is_refused(run: Run, file: Path, was: str, becomes: str, problem: str) -> None:
    """With the line where it stands, and nothing is made."""
    assert DECLARED.count(was) == 1
    text = file.read_text() + DECLARED.replace(was, becomes)
    file.write_text(text)
    line = [number for number, row in enumerate(text.splitlines(), 1) if (becomes or "[exchange.") in row][-1]
    done = run("apply", str(file), code=1)
    assert f":{line}: exchange." in done.err, done.err
    assert problem in done.err
    assert run("exchanges", "list", "--json").json == []
