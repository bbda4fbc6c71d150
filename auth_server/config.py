"""Settings: one frozen, typed value, read from `AUTH_SERVER_…` once at the start.

Every problem is collected and told at once; with any, the start is refused. A field's `doc` is its manual: the
reference in `docs/` is made from it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from auth_server import values
from auth_server.proxy_settings import ProxySettings
from auth_server.values import setting
from auth_server.watch_settings import WatchSettings

PREFIX = "AUTH_SERVER_"
_LEAST_BESIDE_A_SECOND_FACTOR = 8
_MOST_ACCESS_TOKEN_TTL = timedelta(hours=1)


class ConfigurationError(Exception):
    """The configuration is refused; `problems` has one line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, kw_only=True)
class Settings(WatchSettings, ProxySettings):
    """What the operator decides. Durations are `timedelta`."""

    issuer: str = setting(
        values.issuer_url,
        "http://localhost:8421",
        "Public address; decides every absolute URL.",
        "https://id.example.org",
    )
    instance_path: Path = setting(Path, Path("instance"), "Folder of everything local.", "/var/lib/auth-server")
    database_url: str = setting(
        values.database_url, "", "SQLite file or PostgreSQL.", "postgresql+psycopg://auth:…@db/auth"
    )
    redis_url: str = setting(
        values.text,
        "",
        "Shares the limits of refused requests; the database stays the truth.",
        "redis://127.0.0.1:6379/0",
    )
    secret_key: str = setting(values.secret, "", "Master secret; made once in the instance folder.")
    secret_key_previous: str = setting(values.secret, "", "Still opens what was sealed before a change of SECRET_KEY.")
    config_file: str = setting(values.text, "", "TOML applied at the start, see `apply`.", "/etc/auth-server.toml")
    mail_url: values.MailUrl | None = setting(
        values.mail_url,
        None,
        "Where mail goes: `smtp://` (STARTTLS), `smtps://`, `file:///folder`; default: `outbox` in the instance.",
        "smtps://user:password@mail.example.org:465",
    )
    mail_from: str = setting(
        values.mail_address, "", "Sender of mail; default: `auth-server@` the issuer's host.", "auth@example.org"
    )
    access_token_ttl: timedelta = setting(
        values.duration, timedelta(minutes=15), "Life of access tokens, at most 1h.", "15m"
    )
    refresh_token_ttl: timedelta = setting(
        values.duration, timedelta(days=30), "Life of a family, from the sign-in on.", "30d"
    )
    refresh_token_idle_ttl: timedelta = setting(
        values.duration, timedelta(days=14), "An unused refresh token dies then.", "14d"
    )
    refresh_token_grace: timedelta = setting(
        values.duration, timedelta(0), "How long a just-rotated token gets the same successor.", "10"
    )
    refresh_reuse_revokes: str = setting(
        values.one_of("family", "user"), "family", "What ends when a refresh token is reused.", "family"
    )
    session_idle_ttl: timedelta = setting(values.duration, timedelta(hours=1), "An unused session ends then.", "1h")
    session_absolute_ttl: timedelta = setting(values.duration, timedelta(hours=12), "Every session ends then.", "12h")
    remember_ttl: timedelta = setting(
        values.duration, timedelta(days=30), "`Keep me signed in`, counted from the last use.", "30d"
    )
    login_rate_limit: values.Rate | None = setting(
        values.rate,
        values.Rate(5, timedelta(minutes=15)),
        "Failed sign-ins per account and per address.",
        "5 per 15 minutes",
    )
    endpoint_rate_limit: values.Rate | None = setting(
        values.rate, values.Rate(60, timedelta(minutes=1)), "Refused requests to machine endpoints.", "60 per minute"
    )
    create_rate_limit: values.Rate | None = setting(
        values.rate, values.Rate(60, timedelta(minutes=1)), "Requests of strangers that create rows.", "60 per minute"
    )
    password_min_length: int = setting(
        values.whole_number(8, 128), 15, "Shortest new password; 8 unless set, where MFA is required.", "15"
    )
    bcrypt_rounds: int = setting(
        values.whole_number(4, 16), 12, "Cost of password hashes; below 12 only on loopback.", "12"
    )
    mfa: str = setting(
        values.one_of("off", "optional", "required"),
        "optional",
        "Second factor; `off`: for administrators only; `required`: set up before anything else.",
        "optional",
    )
    recovery_wait: timedelta = setting(
        values.duration,
        timedelta(hours=24),
        "How long a link of `users recovery-link` waits before it works, 1h to 30d; less on loopback only.",
        "24h",
    )
    signup: str = setting(
        values.one_of("closed", "invite", "domain", "open"),
        "closed",
        "Who may open an account: nobody, whom you invite, who has an address at SIGNUP_DOMAINS, everybody.",
        "invite",
    )
    signup_domains: tuple[str, ...] = setting(
        values.mail_domains, (), "Domains for SIGNUP=domain, each exactly: no subdomains.", "example.org"
    )
    self_delete: str = setting(
        values.one_of("on", "off"), "on", "Whether people may delete their own accounts; `off` for teams.", "on"
    )
    registration: str = setting(
        values.one_of("off", "token", "open"), "off", "Who may register clients: nobody, with a token, all.", "token"
    )
    client_id_metadata: str = setting(
        values.one_of("on", "off"), "on", "Apps whose id is the address of their metadata document.", "off"
    )
    client_id_metadata_hosts: tuple[str, ...] = setting(
        values.host_rules, (), "Hosts whose documents count, all below one with `*.`, none with `!`.", "*.example.org"
    )
    require_par: bool = setting(values.boolean, False, "Only pushed authorization requests (RFC 9126).", "true")
    dpop_nonce: bool = setting(values.boolean, False, "DPoP proofs must carry our nonce (RFC 9449 §8).", "true")
    key_rotation_interval: timedelta = setting(values.duration, timedelta(days=90), "Scheduled key rotation.", "90d")
    jwks_max_age: timedelta = setting(values.duration, timedelta(minutes=15), "Cache time of the key set.", "15m")
    status_list_ttl: timedelta = setting(
        values.duration, timedelta(seconds=10), "Cache time of status lists: 1 second to 5 minutes.", "10"
    )
    outbound_ca_file: str = setting(
        values.ca_file, "", "Extra CA bundle for the server's own requests.", "/etc/ssl/internal.pem"
    )
    outbound_allow_hosts: tuple[str, ...] = setting(
        values.hosts,
        (),
        "Hosts, with or without port, exempt from the private-address block of the server's own requests.",
        "intranet.example.org,10.0.0.5:8443",
    )
    metrics_token: str = setting(values.text, "", "Bearer token of /metrics (not in this version).")
    metrics_bind: str = setting(values.text, "", "Own address of /metrics (not in this version).", "127.0.0.1:9464")
    log_level: str = setting(
        values.one_of("debug", "info", "warning", "error"), "info", "Least severe line that is logged.", "info"
    )
    log_format: str = setting(
        values.one_of("auto", "json", "text"), "auto", "auto: readable on a terminal, JSON elsewhere.", "auto"
    )
    audit_retention: timedelta = setting(
        values.duration, timedelta(days=400), "How long audit events are kept.", "400d"
    )
    geoip_file: str = setting(
        values.country_file, "", "Countries and places of addresses, a MaxMind file.", "/var/lib/GeoLite2-City.mmdb"
    )
    backup_path: str = setting(
        values.text, "", "Folder of snapshots; default: `backups` in the instance folder.", "/var/backups/auth"
    )

    @property
    def is_https(self) -> bool:
        return self.issuer.startswith("https://")

    @property
    def issuer_host(self) -> str:
        """Host and port as a browser sends them."""
        return urlsplit(self.issuer).netloc

    @property
    def on_loopback(self) -> bool:
        return values.is_loopback(urlsplit(self.issuer).hostname or "")

    def url(self, path: str) -> str:
        """Return the absolute URL of a path of ours."""
        return self.issuer + path

    def urls(self, path: str) -> tuple[str, ...]:
        """Return all absolute URLs of a machine's path: at the issuer's host, and where certificates are asked for."""
        return tuple(host + path for host in (self.issuer, self.mtls_alias) if host)


def default_instance_path() -> Path:
    """`instance` beside `app.py`; installed from a wheel: the user's data folder."""
    project = Path(__file__).resolve().parent.parent
    if (project / "app.py").is_file():
        return project / "instance"
    data_home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data_home) / "auth-server"


def from_env(environ: Mapping[str, str] = os.environ, *, create: bool = False) -> Settings:
    """Read the settings; raise `ConfigurationError` with every problem.

    With `create`, the instance folder and its master secret are made when missing: only `init` and `serve` do that.
    """
    found, problems = _parse_all(environ)
    folder: Path = found.setdefault("instance_path", default_instance_path())
    if create and not problems:
        _create_instance(folder, with_secret="secret_key" not in found)
    if "secret_key" not in found:
        found["secret_key"] = _stored_secret(folder, problems)
    if "issuer" not in found:
        found["issuer"] = _remembered_issuer(folder, problems)
    found.setdefault("database_url", f"sqlite:///{(folder / 'auth-server.db').absolute()}")
    if found.get("mfa") == "required":
        found.setdefault("password_min_length", _LEAST_BESIDE_A_SECOND_FACTOR)
    settings = Settings(**found)
    problems += _problems_between(settings)
    if problems:
        raise ConfigurationError(problems)
    return settings


def _parse_all(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    fields = {PREFIX + f.name.upper(): f for f in dataclasses.fields(Settings)}
    found: dict[str, Any] = {}
    problems: list[str] = []
    for name in sorted(environ):
        if not name.startswith(PREFIX):
            continue
        plain = name.removesuffix("_FILE") if name not in fields else name
        if plain not in fields:
            problems.append(f"{name}: no such setting{_nearest(plain, fields)}")
            continue
        if plain != name and plain in environ:
            problems.append(f"{name}: {plain} is set too; keep one")
            continue
        try:
            raw = environ[name] if plain == name else _file_text(environ[name])
            found[fields[plain].name] = fields[plain].metadata["parse"](raw)
        except values.Invalid as problem:
            example = fields[plain].metadata["example"]
            problems.append(f"{name}: {problem}" + (f" (example: {example})" if example else ""))
    return found, problems


def _nearest(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _file_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as cause:
        raise values.Invalid(f"cannot read {path}") from cause


def _problems_between(settings: Settings) -> list[str]:
    """Say what single values cannot: rules between settings."""
    found = []
    if not timedelta(seconds=30) <= settings.access_token_ttl <= _MOST_ACCESS_TOKEN_TTL:
        found.append(f"{PREFIX}ACCESS_TOKEN_TTL: expected 30 seconds to 1 hour (example: 15m)")
    if settings.refresh_token_grace > timedelta(minutes=1):
        found.append(f"{PREFIX}REFRESH_TOKEN_GRACE: expected at most 60 seconds (example: 10)")
    least_wait = timedelta(0) if settings.on_loopback else timedelta(hours=1)
    if not least_wait <= settings.recovery_wait <= timedelta(days=30):
        found.append(
            f"{PREFIX}RECOVERY_WAIT: expected 1 hour to 30 days; less on a loopback issuer only (example: 24h)"
        )
    if not timedelta(seconds=1) <= settings.status_list_ttl <= timedelta(minutes=5):
        found.append(f"{PREFIX}STATUS_LIST_TTL: expected 1 second to 5 minutes (example: 10)")
    if settings.bcrypt_rounds < 12 and not settings.on_loopback:
        found.append(f"{PREFIX}BCRYPT_ROUNDS: expected 12 or more: fewer are for a loopback issuer only (example: 12)")
    if settings.login_rate_limit is None and not settings.on_loopback:
        found.append(f"{PREFIX}LOGIN_RATE_LIMIT: `off` is for a loopback issuer only (example: 5 per 15 minutes)")
    if settings.trusted_browser_ttl and not timedelta(days=1) <= settings.trusted_browser_ttl <= timedelta(days=30):
        found.append(f"{PREFIX}TRUSTED_BROWSER_TTL: expected 0, or 1 to 30 days (example: 30d)")
    if settings.signup == "domain" and not settings.signup_domains:
        found.append(f"{PREFIX}SIGNUP_DOMAINS: expected with SIGNUP=domain (example: example.org)")
    found += [PREFIX + problem for problem in settings.problems_with_proxies()]
    lives = ("refresh_token_ttl", "refresh_token_idle_ttl", "session_idle_ttl", "session_absolute_ttl", "remember_ttl")
    for name in lives:
        if getattr(settings, name) <= timedelta(0):
            found.append(f"{PREFIX}{name.upper()}: expected more than nothing (example: 12h)")
    return found


def _create_instance(folder: Path, *, with_secret: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "secret_key"
    if with_secret and not path.exists():
        draft = folder / f".secret_key.{secrets.token_hex(8)}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(48))
        with contextlib.suppress(FileExistsError):  # another process was first: its secret holds
            os.link(draft, path)
        draft.unlink()


def _stored_secret(folder: Path, problems: list[str]) -> str:
    path = folder / "secret_key"
    if not path.is_file():
        return ""
    if path.stat().st_mode & 0o077:
        problems.append(f"{PREFIX}SECRET_KEY: {path} can be read by others; run: chmod 600 {path}")
    return path.read_text(encoding="utf-8").strip()


def _remembered_issuer(folder: Path, problems: list[str]) -> str:
    path = folder / "issuer"
    if not path.is_file():
        return "http://localhost:8421"
    try:
        return values.issuer_url(path.read_text(encoding="utf-8").strip())
    except values.Invalid as problem:
        problems.append(f"{PREFIX}ISSUER: remembered in {path}: {problem}")
        return ""


def remember_issuer(settings: Settings) -> None:
    """Keep the issuer in force, so that a second shell prints the same links."""
    path = settings.instance_path / "issuer"
    if not path.is_file() or path.read_text(encoding="utf-8").strip() != settings.issuer:
        path.write_text(settings.issuer + "\n", encoding="utf-8")


_current: Settings | None = None


def use(settings: Settings) -> None:
    """Make these the settings of this process."""
    global _current
    _current = settings


def current() -> Settings:
    """Return the settings of this process, for code that has no request."""
    if _current is None:
        raise LookupError("no settings yet: create_app() or config.use() first")
    return _current
