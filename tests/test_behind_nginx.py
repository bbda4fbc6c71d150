"""Client certificates through nginx, configured as `docs/how-to/use-client-certificates.md` says."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from flask import Flask

from tests.support import certificate as certs
from tests.support import factories
from tests.support.certificate import DN, Holder, certificate
from tests.support.live import Answer, Server, free_port
from tests.support.rp import payload

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "use-client-certificates.md"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
MAIN, MTLS = "id.example.org", "mtls.id.example.org"
FRAME = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {servers}
}}
"""


def write(folder: Path, name: str, holder: Holder) -> tuple[Path, Path]:
    """Write certificate and key as files."""
    pem, key = folder / f"{name}.pem", folder / f"{name}.key"
    pem.write_text(holder.pem)
    key.write_bytes(holder.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return pem, key


@dataclass
class Front:
    """A running nginx, and connections to it as clients make them."""

    port: int
    folder: Path

    def post(
        self, host: str, fields: dict[str, str], holder: Holder | None = None, sni: str = "", **headers: str
    ) -> Answer:
        """POST to the token endpoint at a host, with a certificate or without."""
        context = ssl.create_default_context(cafile=str(self.folder / "server.pem"))
        if holder:
            context.load_cert_chain(*write(self.folder, "client", holder))
        connection = HTTPConnection(host)
        plain = socket.create_connection(("127.0.0.1", self.port), 30)
        connection.sock = context.wrap_socket(plain, server_hostname=sni or host)
        try:
            form = {"Content-Type": "application/x-www-form-urlencoded", **headers}
            connection.request("POST", "/oauth/token", urlencode(fields), form)
            response = connection.getresponse()
            text = response.read()
            is_json = response.headers.get_content_type() == "application/json"
            return Answer(response.status, json.loads(text) if is_json else {})
        except (OSError, HTTPException):
            return Answer(0)
        finally:
            connection.close()


def configuration(folder: Path, port: int, server_port: int) -> str:
    """Return what the page says, with the paths and ports of this test."""
    found = re.search(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    text = found[1].replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    text = text.replace("http://127.0.0.1:8421", f"http://127.0.0.1:{server_port}")
    text = text.replace("/etc/ssl/id.example.org", f"{folder}/server")
    assert text.count(str(port)) == text.count(str(server_port)) == 2
    return FRAME.format(folder=folder, servers=text)


@pytest.fixture
def ca() -> Holder:
    return certs.authority()


@pytest.fixture
def front(app: Flask, start_server: Callable[..., Server], tmp_path: Path, ca: Holder) -> Iterator[Front]:
    """A server process behind nginx, which both see certificates."""
    assert NGINX
    factories.person(app, roles=["administrator"])
    server = start_server(
        trusted_proxies="127.0.0.1", mtls_ca_file=certs.ca_file(tmp_path, ca), mtls_alias=f"https://{MTLS}"
    )
    names = [x509.DNSName(MAIN), x509.DNSName(MTLS)]
    write(
        tmp_path, "server", certificate(subject=certs.name((NameOID.COMMON_NAME, MAIN)), alternatives=names, usage=None)
    )
    port = free_port()
    file = tmp_path / "nginx.conf"
    file.write_text(configuration(tmp_path, port, server.port))
    with (tmp_path / "nginx.log").open("wb") as log:
        process = subprocess.Popen([NGINX, "-p", str(tmp_path), "-c", str(file)], stdout=log, stderr=log)
    try:
        _wait_for(port, process, tmp_path)
        yield Front(port, tmp_path)
    finally:
        process.terminate()
        process.wait(15)


def _wait_for(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, (folder / "nginx.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.02)


def service(app: Flask, **about: Any) -> dict[str, str]:
    """Register a service whose tokens are bound; return its request."""
    made, _secret = factories.service(app, tls_client_certificate_bound_access_tokens=True, **about)
    return {"grant_type": "client_credentials", "client_id": made.client_id}


@pytest.mark.skipif(not NGINX and os.environ.get("CI") != "true", reason="NO NGINX: its configuration was not tested")
def test_the_configuration_of_the_page_works(make_app: Callable[..., Flask], front: Front, ca: Holder) -> None:
    """Both methods, bound tokens; what a stranger puts into the header is dropped on every way."""
    app = make_app(**certs.SETTINGS, mtls_ca_file=str(front.folder / "clients.pem"))
    mine, issued = certificate(), certificate(ca)
    own = service(app, token_endpoint_auth_method="self_signed_tls_client_auth", jwks={"keys": [mine.jwk()]})
    named = service(app, token_endpoint_auth_method="tls_client_auth", tls_client_auth_subject_dn=DN)
    for fields, holder in ((own, mine), (named, issued)):
        answer = front.post(MTLS, fields, holder)
        assert answer.status == 200, answer
        assert payload(answer.body["access_token"])["cnf"] == {"x5t#S256": holder.thumbprint}
        assert front.post(MTLS, fields).verdict == (401, "invalid_client")
        assert front.post(MTLS, fields, certificate()).verdict == (401, "invalid_client")
        for host in (MAIN, MTLS):
            for name in ("Client-Cert", "client-cert", "Client_Cert", "CLIENT_CERT"):
                spoofed = front.post(host, fields, None, **{name: holder.escaped})
                assert spoofed.verdict == (401, "invalid_client")
                beside = front.post(host, fields, certificate(), **{name: holder.escaped})
                assert beside.verdict == (401, "invalid_client")
        # a connection that was not asked for a certificate, with the name of the host that asks, and the other way
        assert front.post(MTLS, fields, holder, sni=MAIN, **holder.headers).status in (400, 401, 421)
        assert front.post(MAIN, fields, holder, sni=MTLS).verdict == (401, "invalid_client")
