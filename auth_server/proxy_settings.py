"""The settings of what stands in front of us: which proxies are believed, and in what they tell of client certificates
(RFC 8705). `config.Settings` has them.
"""

from __future__ import annotations

from dataclasses import dataclass

from auth_server import values
from auth_server.values import setting


@dataclass(frozen=True, kw_only=True)
class ProxySettings:
    """Nothing is believed of anybody unless proxies are named."""

    trusted_proxies: tuple[values.Network, ...] = setting(
        values.networks, (), "Whose X-Forwarded-* and Client-Cert headers are believed.", "127.0.0.1,10.0.0.0/8"
    )
    mtls_cert_header: str = setting(
        values.header_name,
        "Client-Cert",
        "Header (RFC 9440) in which TRUSTED_PROXIES tell of a client's certificate, which they overwrite; "
        "a name without a hyphen where they let `Client_Cert` through; empty: no mutual TLS.",
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

    @property
    def sees_certificates(self) -> bool:
        """Tell whether client certificates can be seen: by proxies that are named, since "everybody" is nobody's."""
        networks = self.trusted_proxies
        return bool(self.mtls_cert_header and networks and all(network.prefixlen for network in networks))

    def problems_with_proxies(self) -> list[str]:
        """Say what single values cannot: what goes with certificates is nothing where none can be seen."""
        if self.sees_certificates:
            return []
        alone = [name for name in ("mtls_ca_file", "mtls_alias") if getattr(self, name)]
        needed = "TRUSTED_PROXIES that are less than everybody" if self.mtls_cert_header else "MTLS_CERT_HEADER"
        return [f"{name.upper()}: expected with {needed} (example: 127.0.0.1)" for name in alone]
