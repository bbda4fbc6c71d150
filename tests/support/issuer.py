"""An issuer that is nobody's server: keys made here, documents as a test wants them, on a port of this machine."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from auth_server.keys import jose, status_list

METADATA, JWKS, INTROSPECT = "/.well-known/oauth-authorization-server", "/keys", "/introspect"
LIST = "/oauth/status/0"
AUDIENCE = "https://orders.example.org"


@dataclass
class Asked:
    """One request that came."""

    path: str
    authorization: str | None
    form: dict[str, str]


@dataclass
class Document:
    """What is answered at one address."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def of(cls, content: Any, **headers: str) -> Document:
        return cls(200, headers, json.dumps(content).encode())


class Issuer:
    """Serves metadata, key set and introspection, and notes who asked."""

    def __init__(self, natives: dict[str, jose.NativeKey]) -> None:
        self.natives = dict(natives)
        self.asked: list[Asked] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.metadata = {
            "issuer": self.url,
            "jwks_uri": self.url + JWKS,
            "introspection_endpoint": self.url + INTROSPECT,
        }
        self.documents = {METADATA: Document.of(self.metadata), INTROSPECT: Document.of({"active": False})}
        self.publish("max-age=900")
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def publish(self, cache_control: str = "") -> None:
        """Serve the key set anew."""
        keys = [jose.public_jwk(native, alg) for alg, native in self.natives.items()]
        headers = {"Cache-Control": cache_control} if cache_control else {}
        self.documents[JWKS] = Document(200, headers, json.dumps({"keys": keys}).encode())

    def replace_key(self, alg: str = "ES256") -> None:
        self.natives[alg] = jose.generate(alg)

    def publish_list(self, *recalled: int, cache_control: str = "max-age=10", uri: str = "", **headers: str) -> None:
        """Serve a status list, signed now, with these places set."""
        token = status_list.sign(
            recalled, self.key("ES256"), issuer=self.url, uri=uri or self.url + LIST,
            now=int(time.time()), ttl_seconds=10, life_seconds=30,
        )  # fmt: skip
        self.documents[LIST] = Document(200, {"Cache-Control": cache_control, **headers}, token.encode())

    def status(self, index: int) -> dict[str, Any]:
        """Return the claim of a token with this place."""
        return {"status_list": {"idx": index, "uri": self.url + LIST}}

    def count(self, path: str) -> int:
        return sum(asked.path == path for asked in self.asked)

    def key(self, alg: str) -> jose.Key:
        native = self.natives[alg]
        return jose.Key(jose.public_jwk(native, alg)["kid"], alg, jose.wrap(native))

    def token(self, alg: str = "ES256", typ: str = "at+jwt", **changed: Any) -> str:
        """Return a good access token; a value of None removes a claim."""
        now = int(time.time())
        claims = {
            **{"iss": self.url, "sub": "a-person", "aud": AUDIENCE, "exp": now + 900, "iat": now, "jti": "1"},
            **{"client_id": "wiki", "scope": "openid orders:read"},
            **changed,
        }
        return jose.sign({name: value for name, value in claims.items() if value is not None}, self.key(alg), typ)

    def introspection(self, **changed: Any) -> None:
        """Answer that any token is good; a value of None removes a member."""
        found = {
            **{"active": True, "iss": self.url, "sub": "a-person", "aud": [AUDIENCE]},
            **{"scope": "openid orders:read", "token_type": "Bearer"},
            **changed,
        }
        left = {name: value for name, value in found.items() if value is not None}
        self.documents[INTROSPECT] = Document.of(left)


def _handler_of(issuer: Issuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            form = dict(parse_qsl(self.rfile.read(length).decode()))
            issuer.asked.append(Asked(self.path, self.headers.get("Authorization"), form))
            document = issuer.documents.get(self.path, Document(404))
            self.send_response(document.status)
            for name, value in document.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(document.body)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            """Keep the test's output clean."""

    return Handler
