"""The house rules that no type checker sees."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.routing import Rule

from auth_server import config
from auth_server.values import Rate
from auth_server.web import surface
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.web.test_csrf import FORMS

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT / "auth_server"
MODULES = sorted(PACKAGE.rglob("*.py"))
PACKAGES = sorted(path for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)
LONGEST_FILE = 350
LONGEST_FUNCTION = 40
LONGER_FOR_A_REASON: dict[str, str] = {}
LONGER_FUNCTIONS = {"create_app": "the rooms of the house, one a line"}
OWN_CLOCKS = {
    "auth_server/infra/clock.py": "it is the clock",
    "auth_server/resource_server.py": "runs inside other people's APIs, without the server's rooms",
    "auth_server/resource_status.py": "the same",
    "auth_server/resource_dpop.py": "the same",
    "auth_server/resource_mtls.py": "the same",
}
COMMITS = {
    "auth_server/database.py": "release(): before a slow hash; and the commit of a `Work`, for web/machines.py",
    "auth_server/infra/limits.py": "reserve(): a try is counted before it is looked at",
    "auth_server/web/transaction.py": "the one commit of a page's request",
    "auth_server/web/machines.py": "the one commit of a machine's request",
    "auth_server/cli/root.py": "the one commit of a command",
    "auth_server/jobs.py": "the one commit of a run",
}
"""Where something may be committed, and why."""
POSTS = (
    *("/oauth/token", "/oauth/par", "/oauth/revoke", "/oauth/introspect", "/oauth/userinfo"),
    "/oauth/device_authorization",
)
"""The machine endpoints that take a form."""
CONSENT = "/oauth/authorize"
END_SESSION = "/oauth/logout"
"""Apps of any site may post to both; the consent form checks its token itself (`tests/web/test_csrf.py`), and a posted
sign-out does nothing but lead to a GET."""


def name_of(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def rules(app: Flask, method: str) -> list[Rule]:
    found = [rule for rule in app.url_map.iter_rules() if method in (rule.methods or ())]
    assert found
    return found


def test_the_import_contracts_hold() -> None:
    """Downwards only, and what else `pyproject.toml` says."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


def test_every_changing_page_checks_for_forgery(browser: Browser, app: Flask) -> None:
    """Each POST route of the pages' floor refuses a form without a token; Flask knows no machine endpoint."""
    pages = [rule.rule for rule in rules(app, "POST")]
    assert sorted(pages) == sorted([*FORMS, CONSENT, END_SESSION])
    browser.sign_in()
    for path in sorted(set(pages) - {CONSENT, END_SESSION}):
        asserts.is_error_page(browser.post(path, {}), "csrf", 403)


def test_only_get_and_post_are_taken(app: Flask) -> None:
    """No route takes another method, so the checks above are all there are."""
    methods = {method for rule in app.url_map.iter_rules() for method in rule.methods or ()}
    assert methods == {"GET", "HEAD", "OPTIONS", "POST"}
    assert {method for taken in app.extensions["machines"].routes.values() for method in taken} == {"GET", "POST"}


def test_a_client_alone_may_change_and_delete_its_own_row(make_app: Callable[..., Flask]) -> None:
    """RFC 7592 needs two methods more, at one address, where there is no cookie that another site could use."""
    routes = make_app(registration="open").extensions["machines"].routes
    others = {path for path, methods in routes.items() if not {*methods} <= {"GET", "POST"}}
    assert others == {surface.REGISTRATIONS}
    assert set(routes[surface.REGISTRATIONS]) == {"GET", "PUT", "DELETE"}
    assert routes["/oauth/register"] == ("POST",)


def test_every_route_is_classified(app: Flask) -> None:
    """A new address is a machine endpoint, a page, or static; this list knows each."""
    machine = set(app.extensions["machines"].routes)
    others = {rule.rule for rule in app.url_map.iter_rules()}
    assert all(map(surface.is_for_machines, machine))
    assert not any(map(surface.is_for_machines, others))
    assert machine == {
        *("/oauth/token", "/oauth/par", "/oauth/revoke", "/oauth/introspect", "/oauth/userinfo"),
        *("/oauth/device_authorization", "/healthz", "/readyz"),
        *("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/.well-known/jwks.json"),
        *("/oauth/status/", "/.well-known/oauth-protected-resource/oauth/userinfo"),
    }
    assert others == {
        *("/", "/language", "/login", "/logout", "/recover", "/recover/reset", "/setup", "/oauth/authorize"),
        "/oauth/logout",
        *("/account", "/account/sessions", "/account/apps", "/static/<digest>/<name>"),
        *("/login/mfa", "/login/step-up", "/account/security", "/account/security/password", "/account/security/codes"),
        *("/account/profile", "/account/theme", "/account/export", "/account/delete"),
        *("/login/mfa", "/account/security", "/account/security/password", "/account/security/codes"),
        *("/account/security/app", "/account/security/app/remove", "/account/security/events"),
        *("/login/passkey", "/login/mfa/passkey", "/account/security/second-factor"),
        *(f"/account/security/passkeys/{act}" for act in ("add", "options", "rename", "remove")),
        *("/signup", "/signup/sent", "/signup/finish", "/signup/invitation", "/recover/email"),
        *("/signup/finish/passkey", "/signup/invitation/passkey"),
        *("/account/email", "/account/email/change", "/account/email/confirm"),
        *("/device", "/device/confirm"),
        *("/recover/code", "/recover/not-me", "/recover/account", "/recover/stop", "/account/security/recovery"),
    }


@pytest.mark.parametrize("path", POSTS)
def test_every_machine_endpoint_is_limited(make_app: Callable[..., Flask], path: str) -> None:
    """So many refused requests per address, then 429 in JSON with the time to wait."""
    app = make_app(endpoint_rate_limit=Rate(5, timedelta(minutes=1)))
    posts = {path for path, methods in app.extensions["machines"].routes.items() if "POST" in methods}
    assert posts == set(POSTS)
    fields = {"grant_type": "client_credentials", "client_id": "nobody", "client_secret": "x", "token": "x"}
    answers = [Browser(app).post(path, fields) for _ in range(7)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
    asserts.is_oauth_error(answers[-1], "temporarily_unavailable", 429)
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert Browser(app, "203.0.113.7").post(path, fields).status_code == 401


def test_requests_that_make_rows_for_strangers_are_limited(make_app: Callable[..., Flask]) -> None:
    """Authorization requests, per address."""
    app = make_app(create_rate_limit=Rate(5, timedelta(minutes=1)))
    factories.person(app, roles=["administrator"])
    client, _secret = factories.client(app)
    path = f"/oauth/authorize?client_id={client.client_id}&redirect_uri={client.redirect_uris[0]}&response_type=code"
    answers = [Browser(app).get(path) for _ in range(6)]
    assert [answer.status_code for answer in answers[:5]] == [303] * 5
    asserts.is_error_page(answers[5], "rate_limited", 429)
    assert 0 < int(answers[5].headers["Retry-After"]) <= 60
    assert Browser(app, "203.0.113.7").get(path).status_code == 303


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_file_fits_in_a_head(path: Path) -> None:
    """At most 350 lines, unless a reason is written down."""
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_FILE or path.name in LONGER_FOR_A_REASON


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_function_does_one_thing(path: Path) -> None:
    """None is longer than 40 lines."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= LONGEST_FUNCTION or node.name in LONGER_FUNCTIONS, node.name


@pytest.mark.parametrize("path", PACKAGES, ids=name_of)
def test_a_package_opens_with_a_paragraph(path: Path) -> None:
    """What it owns, who may call it, what it must not know; and nothing else but the entry of `cli`."""
    tree = tree_of(path)
    assert len(ast.get_docstring(tree) or "") > 80
    assert len(tree.body) == 1 or path.parent.name == "cli"


@pytest.mark.parametrize("path", [path for path in MODULES if path.stat().st_size], ids=name_of)
def test_a_module_says_what_it_is(path: Path) -> None:
    """Each begins with a docstring, and so does each table."""
    tree = tree_of(path)
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(getattr(base, "id", "") == "Base" for base in node.bases):
            assert ast.get_docstring(node), node.name


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_room_is_a_drawer(path: Path) -> None:
    """Neither `utils` nor `helpers` nor `common`."""
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def test_only_written_places_commit() -> None:
    """One commit per request; the exceptions are listed with their reasons."""
    found = {
        name_of(path)
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and node.attr == "commit"
    }
    assert found == set(COMMITS)


def test_the_only_clock_is_ours() -> None:
    """Nobody else asks the system what time it is."""
    for path in MODULES:
        if name_of(path) in OWN_CLOCKS:
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today"):
                assert getattr(node.value, "id", "") == "clock", f"{name_of(path)}:{node.lineno}"


def test_there_is_one_way_out() -> None:
    """Nobody but the guarded client makes requests of the server's own (SS-01); `resource_server` runs elsewhere."""
    found = {
        name_of(path)
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
        if re.match(r"(httpx2?|httpcore2?|requests|urllib3|aiohttp|urllib\.request|http\.client)(\.|$)", name)
    }
    assert found == {"auth_server/infra/guarded.py", "auth_server/resource_issuer.py"}


def test_templates_trust_no_data() -> None:
    """No `safe` filter, no switched-off escaping, no inline script or style."""
    for path in sorted((PROJECT / "templates").rglob("*.html")):
        text = path.read_text(encoding="utf-8")
        for forbidden in ("|safe", "| safe", "autoescape", "<style", " style=", " onclick", "javascript:", "http://"):
            assert forbidden not in text, f"{name_of(path)}: {forbidden}"


def test_a_changed_secret_key_is_not_a_default(app: Flask) -> None:
    """Flask's own key is derived from the master secret and is not it."""
    assert app.secret_key
    assert config.current().secret_key not in str(app.secret_key)
    assert not app.debug
