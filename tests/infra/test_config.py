"""Settings: every problem is told at once, and a wrong value never starts a server."""

from __future__ import annotations

import dataclasses
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from auth_server import config, values
from auth_server.config import ConfigurationError, Settings
from auth_server.values import Rate

SECRET = "0123456789-abcdefghijklmnopqrstuvwxyz"
FREE_TEXT = {
    *("INSTANCE_PATH", "REDIS_URL", "CONFIG_FILE", "MAIL_URL", "MAIL_FROM", "METRICS_TOKEN"),
    *("CLIENT_ID_METADATA_HOSTS", "METRICS_BIND", "GEOIP_FILE"),
    "BACKUP_PATH",
}
WRONG = {
    "ISSUER": "ftp://id.example.org",
    "DATABASE_URL": "mysql://root@db/auth",
    "SECRET_KEY": "changeme",
    "SECRET_KEY_PREVIOUS": "a" * 60,
    "ACCESS_TOKEN_TTL": "soon",
    "REFRESH_TOKEN_TTL": "-1",
    "REFRESH_TOKEN_IDLE_TTL": "1.5h",
    "REFRESH_TOKEN_GRACE": "10 s",
    "REFRESH_REUSE_REVOKES": "nobody",
    "SESSION_IDLE_TTL": "",
    "SESSION_ABSOLUTE_TTL": "12w",
    "REMEMBER_TTL": "forever",
    "LOGIN_RATE_LIMIT": "5/15m",
    "ENDPOINT_RATE_LIMIT": "0 per minute",
    "CREATE_RATE_LIMIT": "many",
    "PASSWORD_MIN_LENGTH": "7",
    "BCRYPT_ROUNDS": "40",
    "MFA": "perhaps",
    "SIGNUP": "yes",
    "SELF_DELETE": "maybe",
    "RECOVERY_WAIT": "31d",
    "SIGNUP_DOMAINS": "example.org,@example.com",
    "REGISTRATION": "on",
    "CLIENT_ID_METADATA": "maybe",
    "CLIENT_ID_METADATA_HOSTS": "https://app.example.org",
    "REQUIRE_PAR": "1",
    "DPOP_NONCE": "yes",
    "KEY_ROTATION_INTERVAL": "quarterly",
    "JWKS_MAX_AGE": "15 minutes",
    "STATUS_LIST_TTL": "6m",
    "TRUSTED_PROXIES": "10.0.0.0/99",
    "OUTBOUND_CA_FILE": "/nowhere/ca.pem",
    "OUTBOUND_ALLOW_HOSTS": "https://intranet.example.org",
    "LOG_LEVEL": "loud",
    "LOG_FORMAT": "xml",
    "AUDIT_RETENTION": "1y",
    "GEOIP_FILE": "/nowhere/places.mmdb",
    "TRUSTED_BROWSER_TTL": "a month",
    "WATCH_NEW_DEVICE": "end_family",
    "WATCH_NEW_COUNTRY": "panic",
    "WATCH_IMPOSSIBLE_TRAVEL": "off",
    "WATCH_RECOVERY_CODE": "end_all",
    "WATCH_THROTTLED": "end_all",
    "WATCH_TWO_NETWORKS": "end",
    "WATCH_TWO_COUNTRIES": "",
    "WATCH_COUNTRY_CHANGE": "Record",
    "WATCH_AGENT_CHANGE": "yes",
    "WATCH_NETWORK_WINDOW": "3 minutes",
    "WATCH_CONFIDENTIAL": "on",
    "MAX_SESSIONS": "none",
    "MTLS_CERT_HEADER": "Client_Cert",
    "MTLS_CA_FILE": "/nowhere/clients.pem",
    "MTLS_ALIAS": "mtls.id.example.org",
}


def read(folder: Path, **changed: str) -> Settings:
    """Read settings from an environment with a secret and these variables."""
    environ = {"INSTANCE_PATH": str(folder), "SECRET_KEY": SECRET, **changed}
    return config.from_env({config.PREFIX + name: value for name, value in environ.items()})


def problems(folder: Path, **changed: str) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        read(folder, **changed)
    return refused.value.problems


def test_the_defaults_are_the_contracts(tmp_path: Path) -> None:
    """Nothing set is a safe server for one machine."""
    found = read(tmp_path)
    assert found.issuer == "http://localhost:8421"
    assert found.database_url == f"sqlite:///{tmp_path / 'auth-server.db'}"
    assert (found.access_token_ttl, found.refresh_token_ttl) == (timedelta(minutes=15), timedelta(days=30))
    assert (found.refresh_token_idle_ttl, found.refresh_token_grace) == (timedelta(days=14), timedelta(0))
    assert (found.session_idle_ttl, found.session_absolute_ttl) == (timedelta(hours=1), timedelta(hours=12))
    assert found.remember_ttl == timedelta(days=30)
    assert found.login_rate_limit == Rate(5, timedelta(minutes=15))
    assert found.endpoint_rate_limit == found.create_rate_limit == Rate(60, timedelta(minutes=1))
    assert (found.password_min_length, found.bcrypt_rounds) == (15, 12)
    assert (found.signup, found.registration, found.mfa) == ("closed", "off", "optional")
    assert found.trusted_proxies == ()


def test_hosts_of_documents_are_kept_as_they_are_compared(tmp_path: Path) -> None:
    """In lower case; none by default, which is all."""
    assert read(tmp_path).client_id_metadata_hosts == ()
    found = read(tmp_path, CLIENT_ID_METADATA_HOSTS="App.example.org, *.example.com,!old.example.com:8443")
    assert found.client_id_metadata_hosts == ("app.example.org", "*.example.com", "!old.example.com:8443")
    for wrong in ("*", "!", "*.", "a b", "!!a", "https://a", "a/b", "*a.example", "a.example:", "a.*.example"):
        assert len(problems(tmp_path, CLIENT_ID_METADATA_HOSTS=wrong)) == 1


@pytest.mark.parametrize(
    "name",
    ["Client_Cert", "Cert", "Client Cert", "1Cert", "Authorization", "cookie", "é" * 9, "a" * 62],
)
def test_a_header_of_certificates_has_one_spelling(tmp_path: Path, name: str) -> None:
    """Programs see `-` and `_` as one; nor may it mean something else."""
    (line,) = problems(tmp_path, MTLS_CERT_HEADER=name, TRUSTED_PROXIES="127.0.0.1")
    assert line.startswith("AUTH_SERVER_MTLS_CERT_HEADER: expected ")
    for good in ("ClientCert", "X-SSL-Client-Cert", ""):
        assert read(tmp_path, MTLS_CERT_HEADER=good, TRUSTED_PROXIES="127.0.0.1").mtls_cert_header == good


def test_certificates_come_from_proxies_that_are_named(tmp_path: Path) -> None:
    """Nobody else is believed, and "everybody" is nobody's proxy; what goes with certificates is nothing without."""
    alias = "https://mtls.id.example.org"
    assert read(tmp_path, TRUSTED_PROXIES="127.0.0.1", MTLS_ALIAS=alias).sees_certificates
    for everybody in ("", "0.0.0.0/0", "::/0", "127.0.0.1,::/0"):
        assert not read(tmp_path, TRUSTED_PROXIES=everybody).sees_certificates
        (line,) = problems(tmp_path, MTLS_ALIAS=alias, TRUSTED_PROXIES=everybody)
        assert line.startswith("AUTH_SERVER_MTLS_ALIAS: expected with TRUSTED_PROXIES that are less than everybody")
    (line,) = problems(tmp_path, MTLS_ALIAS=alias, TRUSTED_PROXIES="127.0.0.1", MTLS_CERT_HEADER="")
    assert line.startswith("AUTH_SERVER_MTLS_ALIAS: expected with MTLS_CERT_HEADER")


def test_passwords_may_be_shorter_beside_a_second_factor(tmp_path: Path) -> None:
    """NIST SP 800-63B-4 §3.1.1.2; what is said expressly holds."""
    assert read(tmp_path, MFA="required").password_min_length == 8
    assert read(tmp_path, MFA="required", PASSWORD_MIN_LENGTH="12").password_min_length == 12


@pytest.mark.parametrize(("text", "wait"), [("1h", 3600), ("24h", 86400), ("30d", 30 * 86400)])
def test_a_recovery_waits_as_long_as_said(tmp_path: Path, text: str, wait: int) -> None:
    """An hour at least, so that somebody can read the mail that stops it; a month at most."""
    found = read(tmp_path, RECOVERY_WAIT=text, ISSUER="https://id.example.org")
    assert found.recovery_wait == timedelta(seconds=wait)


@pytest.mark.parametrize(
    "text", ["0", "59m", "3599", "2592001", "31d", "soon", "-1h", "1.5h", "24 h", "", "999999999d"]
)
def test_a_recovery_that_waits_too_short_or_too_long_is_refused(tmp_path: Path, text: str) -> None:
    """One line that names it, with an example; nothing else is the matter."""
    (line,) = problems(tmp_path, RECOVERY_WAIT=text, ISSUER="https://id.example.org")
    assert line.startswith("AUTH_SERVER_RECOVERY_WAIT: expected ")
    assert line.endswith("(example: 24h)")


def test_on_one_machine_a_recovery_may_be_tried_out_at_once(tmp_path: Path) -> None:
    """On a loopback issuer alone, where nobody's account is at stake; too long is too long there too."""
    assert read(tmp_path, RECOVERY_WAIT="0").recovery_wait == timedelta(0)
    assert len(problems(tmp_path, RECOVERY_WAIT="31d")) == 1


def test_a_sign_up_by_domain_needs_domains(tmp_path: Path) -> None:
    """Otherwise nobody could open an account, or everybody; domains are kept as they are compared."""
    (line,) = problems(tmp_path, SIGNUP="domain")
    assert line.startswith("AUTH_SERVER_SIGNUP_DOMAINS: ")
    found = read(tmp_path, SIGNUP="domain", SIGNUP_DOMAINS="Example.ORG, bücher.example")
    assert found.signup_domains == ("example.org", "xn--bcher-kva.example")
    assert [read(tmp_path, SIGNUP=mode).signup for mode in ("closed", "invite", "open")] == ["closed", "invite", "open"]


def test_every_wrong_value_is_reported_at_once(tmp_path: Path) -> None:
    """One line per problem, each with the variable's name; none hides another."""
    found = problems(tmp_path, **WRONG, NONSENSE="1")
    named = [line.partition(":")[0].removeprefix(config.PREFIX) for line in found]
    assert sorted(named) == sorted([*WRONG, "NONSENSE"])
    assert {field.name.upper() for field in dataclasses.fields(Settings)} == {*WRONG, *FREE_TEXT}


def test_rules_between_settings_are_told_with_the_rest(tmp_path: Path) -> None:
    """A value that only another setting forbids is told in the same breath as a misspelt one."""
    found = problems(
        tmp_path, ACCESS_TOKEN_TTL="2h", LOG_LEVEL="loud", REFRESH_TOKEN_GRACE="5m", REMEMBER_TTL="0",
        TRUSTED_BROWSER_TTL="31d",
    )  # fmt: skip
    named = [line.partition(":")[0].removeprefix(config.PREFIX) for line in found]
    assert sorted(named) == [
        "ACCESS_TOKEN_TTL",
        "LOG_LEVEL",
        "REFRESH_TOKEN_GRACE",
        "REMEMBER_TTL",
        "TRUSTED_BROWSER_TTL",
    ]


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_problem_says_what_is_expected(tmp_path: Path, name: str) -> None:
    """Each line has the name, what is wrong and an example or the choices, and never the value of a secret."""
    (line,) = problems(tmp_path, **{name: WRONG[name]})
    assert line.startswith(f"{config.PREFIX}{name}: ")
    assert any(mark in line for mark in ("(example: ", "e.g. ", "possible: ", "expected sqlite")), line
    if name.startswith("SECRET_KEY"):
        assert WRONG[name] not in line


def test_a_misspelt_name_is_refused_with_the_right_one(tmp_path: Path) -> None:
    """`AUTH_SERVER_ISUER` stops the start and names `AUTH_SERVER_ISSUER`; foreign variables do not matter."""
    (line,) = problems(tmp_path, ISUER="http://localhost:8421")
    assert line == "AUTH_SERVER_ISUER: no such setting; did you mean AUTH_SERVER_ISSUER?"
    environ = {"AUTH_SERVER_SECRET_KEY": SECRET, "AUTH_SERVER_INSTANCE_PATH": str(tmp_path), "AUTHSERVER_ISUER": "x"}
    assert config.from_env(environ).issuer == "http://localhost:8421"


@pytest.mark.parametrize(
    "issuer",
    [
        "https://id.example.org",
        "https://id.example.org:8443",
        "http://localhost:8421",
        "http://127.0.0.1:9000",
        "http://[::1]:9000",
        "https://[2001:db8::1]",
    ],
)
def test_a_right_issuer_is_taken_as_it_is(tmp_path: Path, issuer: str) -> None:
    """https anywhere, plain http on loopback."""
    assert read(tmp_path, ISSUER=issuer).issuer == issuer


@pytest.mark.parametrize(
    "issuer",
    [
        "http://id.example.org",  # plain http on a public host
        "http://127.0.0.1.example.org",
        "https://id.example.org/",  # trailing slash
        "https://id.example.org/tenant",
        "https://id.example.org?x=1",
        "https://id.example.org#x",
        "https://id.example.org?",
        "https://ada@id.example.org",
        "https://ID.example.org",
        "https://",
        "id.example.org",
        "https://id.example.org:abc",  # no port
        "https://id.example.org:99999",
        "https://id.example.org:443",  # browsers leave the default port out: no request would have the right host
        "http://localhost:80",
        "https://id example.org",
        "https://id.example.org\n",
        'https://id.example.org"',
        "https://id.example.org\\",
        "",
    ],
)
def test_a_wrong_issuer_is_refused(tmp_path: Path, issuer: str) -> None:
    """Anything that could not be compared or reached as it stands stops the start."""
    assert problems(tmp_path, ISSUER=issuer)[0].startswith("AUTH_SERVER_ISSUER: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [("BCRYPT_ROUNDS", "11"), ("LOGIN_RATE_LIMIT", "off")],
)
def test_what_is_weak_is_for_loopback_only(tmp_path: Path, name: str, value: str) -> None:
    """Cheap hashes and no guess limit are taken on a loopback issuer and nowhere else."""
    assert read(tmp_path, **{name: value})
    (line,) = problems(tmp_path, ISSUER="https://id.example.org", **{name: value})
    assert line.startswith(f"AUTH_SERVER_{name}: ")


@pytest.mark.parametrize(
    ("value", "good"), [("3600", True), ("1h", True), ("3601", False), ("30", True), ("29", False)]
)
def test_access_tokens_live_at_most_an_hour(tmp_path: Path, value: str, good: bool) -> None:
    """More than 3600 seconds is refused."""
    if good:
        assert read(tmp_path, ACCESS_TOKEN_TTL=value).access_token_ttl <= timedelta(hours=1)
    else:
        assert problems(tmp_path, ACCESS_TOKEN_TTL=value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("900", 900), ("900s", 900), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000)]
)
def test_durations_are_seconds_or_units(text: str, seconds: int) -> None:
    """Both spellings mean the same."""
    assert values.duration(text) == timedelta(seconds=seconds)


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    """`…_FILE` reads it, and setting both is refused: nobody could say which one holds."""
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    environ = {"AUTH_SERVER_INSTANCE_PATH": str(tmp_path), "AUTH_SERVER_SECRET_KEY_FILE": str(path)}
    assert config.from_env(environ).secret_key == SECRET
    (line,) = problems(tmp_path, SECRET_KEY_FILE=str(path))
    assert line.startswith("AUTH_SERVER_SECRET_KEY_FILE: AUTH_SERVER_SECRET_KEY is set too")
    environ["AUTH_SERVER_SECRET_KEY_FILE"] = str(tmp_path / "missing")
    with pytest.raises(ConfigurationError, match="cannot read"):
        config.from_env(environ)


def test_only_a_start_makes_the_instance_folder(tmp_path: Path) -> None:
    """Reading settings leaves no trace; `create` makes folder and secret, the secret for the owner alone."""
    folder = tmp_path / "instance"
    environ = {"AUTH_SERVER_INSTANCE_PATH": str(folder)}
    config.from_env(environ)
    assert not folder.exists()
    first = config.from_env(environ, create=True).secret_key
    assert len(first) >= 43
    assert (folder / "secret_key").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert config.from_env(environ, create=True).secret_key == first


def test_two_starts_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    """Of several processes that make the secret, all use the same one."""
    environ = {"AUTH_SERVER_INSTANCE_PATH": str(tmp_path / "instance")}
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(config.from_env(environ, create=True).secret_key))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in (tmp_path / "instance").iterdir()] == ["secret_key"]


def test_a_secret_that_others_can_read_stops_the_start(tmp_path: Path) -> None:
    """A world-readable master secret is refused, and taken again after `chmod 600`."""
    path = tmp_path / "secret_key"
    path.write_text(SECRET)
    path.chmod(0o644)
    environ = {"AUTH_SERVER_INSTANCE_PATH": str(tmp_path)}
    with pytest.raises(ConfigurationError, match="chmod 600"):
        config.from_env(environ)
    path.chmod(0o600)
    assert config.from_env(environ).secret_key == SECRET


def test_the_issuer_in_force_is_remembered(tmp_path: Path) -> None:
    """A second shell prints the same links; the variable wins over the memory."""
    config.remember_issuer(read(tmp_path, ISSUER="http://localhost:9000"))
    assert read(tmp_path).issuer == "http://localhost:9000"
    assert read(tmp_path, ISSUER="http://localhost:9001").issuer == "http://localhost:9001"
    (tmp_path / "issuer").write_text("nonsense")
    assert problems(tmp_path)[0].startswith("AUTH_SERVER_ISSUER: remembered in ")


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    """The settings of a process are one frozen value."""
    found = read(tmp_path)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.issuer = "https://evil.example"  # type: ignore[misc]


def test_every_setting_has_a_manual() -> None:
    """The reference is made from the fields' texts, so none may be empty."""
    assert all(field.metadata["doc"] for field in dataclasses.fields(Settings))
