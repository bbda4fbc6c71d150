"""The settings of client certificates (RFC 8705): who tells us of them, and whose count. `config.Settings` has them.

TLS ends at a proxy in front of us, so a certificate reaches us in a header. Its name has no hyphen: programs see
`Client-Cert` and a stranger's `Client_Cert` as the same header, and only the former is what a proxy overwrites.
"""

from __future__ import annotations

from dataclasses import dataclass

from auth_server import values
from auth_server.values import setting


@dataclass(frozen=True, kw_only=True)
class CertificateSettings:
    """Nothing of it is on unless the header is named."""

    mtls_cert_header: str = setting(
        values.header_name,
        "",
        "Header in which TRUSTED_PROXIES tell of a client's certificate, which they overwrite; unset: no mutual TLS.",
        "ClientCert",
    )
    mtls_ca_file: str = setting(
        values.authorities_file,
        "",
        "Authorities whose certificates count for `tls_client_auth`; without it, there is none.",
        "/etc/ssl/clients.pem",
    )
    mtls_alias: str = setting(
        values.issuer_url,
        "",
        "Address of the host where the proxy asks for certificates, for `mtls_endpoint_aliases`.",
        "https://mtls.id.example.org",
    )

    def problems_with_proxies(self, trusted: tuple[values.Network, ...]) -> list[str]:
        """Say what single values cannot: a header is worth what its senders are."""
        found = []
        if self.mtls_cert_header and not trusted:
            found.append("MTLS_CERT_HEADER: expected with TRUSTED_PROXIES: who is believed (example: ClientCert)")
        if self.mtls_cert_header and any(network.prefixlen == 0 for network in trusted):
            found.append("TRUSTED_PROXIES: expected less than everybody, with MTLS_CERT_HEADER (example: 127.0.0.1)")
        if not self.mtls_cert_header:
            alone = [name for name in ("mtls_ca_file", "mtls_alias") if getattr(self, name)]
            found += [f"{name.upper()}: expected with MTLS_CERT_HEADER (example: ClientCert)" for name in alone]
        return found
