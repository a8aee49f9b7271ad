"""A small OpenID Connect issuer on this machine: discovery, keys, log-in, tokens, over real HTTP.

Whoever comes to the log-in is whom the test says. ``spoil`` changes what is told, as an issuer that
is wrong or hostile would: the claims, the key that signs, the documents.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = "affidavit-tests"
SECRET = "the client's secret: %&+"


@dataclass
class Issuer:
    """What the issuer is, and what it will say."""

    url: str = ""
    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "1", "name": "Ada"})
    """Of whoever logs in, over those that every token has."""
    document: dict[str, Any] = field(default_factory=dict)
    """Over the discovery document."""
    keys: dict[str, Any] | None = None
    """Instead of the document of its keys."""
    signing: RSAKey | None = None
    """Another key than the one that is published."""
    algorithm: str = "RS256"
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    """What each code was given for; each is taken once."""
    asked: list[str] = field(default_factory=list)
    """Paths that were asked for."""

    def described(self) -> dict[str, Any]:
        """The discovery document."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            **self.document,
        }

    def token(self, given: dict[str, str]) -> str:
        """The token of somebody who has logged in."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": given["nonce"],
            **self.claims,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        if self.algorithm in {"none", "HS256"}:  # what no library would make
            parts = ({"alg": self.algorithm}, claims)
            said = ".".join(_plain(json.dumps(part).encode()) for part in parts)
            public = self.key.as_pem(private=False)
            mac = hmac.new(public, said.encode(), hashlib.sha256).digest()
            return f"{said}.{_plain(mac) if self.algorithm == 'HS256' else ''}"
        head = {"alg": self.algorithm, "kid": "one"}
        return jwt.encode(head, claims, self.signing or self.key)


def _plain(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def issuing() -> Iterator[Issuer]:
    """Run an issuer on a free port."""
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        """Answers like an issuer."""

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            """Discovery, keys, and the log-in, which sends the browser back at once."""
            parts = urlsplit(self.path)
            issuer.asked.append(parts.path)
            if parts.path == "/.well-known/openid-configuration":
                self._json(issuer.described())
            elif parts.path == "/keys":
                self._json(
                    issuer.keys
                    if issuer.keys is not None
                    else {"keys": [issuer.key.as_dict(private=False)]}
                )
            elif parts.path == "/authorize":
                asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
                code = secrets.token_urlsafe(16)
                issuer.codes[code] = asked
                back = urlencode({"code": code, "state": asked["state"], "iss": issuer.url})
                self.send_response(302)
                self.send_header("Location", f"{asked['redirect_uri']}?{back}")
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            """A token for a code: once, for whoever can show the verifier and the secret."""
            size = int(self.headers["Content-Length"])
            form = {k: v[0] for k, v in parse_qs(self.rfile.read(size).decode()).items()}
            issuer.asked.append(self.path)
            given = issuer.codes.pop(form.get("code", ""), None)
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            kind, _, login = self.headers.get("Authorization", "").partition(" ")
            name, _, hidden = base64.b64decode(login).decode().partition(":")
            is_client = (kind, unquote(name), unquote(hidden)) == ("Basic", CLIENT, SECRET)
            if (
                given is None
                or given["code_challenge"] != challenge
                or given["code_challenge_method"] != "S256"
                or given["redirect_uri"] != form.get("redirect_uri")
                or not is_client
            ):
                self._json({"error": "invalid_grant"}, 400)
                return
            self._json(
                {"access_token": "x", "token_type": "Bearer", "id_token": issuer.token(given)}
            )

        def _json(self, document: dict[str, Any], status: int = 200) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
