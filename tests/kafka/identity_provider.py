"""A tiny identity provider: answers a client's secret with a signed token, and shows the key that proves it."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

CLIENT, SECRET = "forebay", "oidc-secret-9fK2"

_KEY_ID = "test-key"


class IdentityProvider:
    """Issues tokens that live for `token_s` seconds, and counts them."""

    def __init__(self) -> None:
        self._key = generate_private_key(public_exponent=65537, key_size=2048)
        self.token_s = 3600
        self.issued = 0
        #: Whether it can give any.
        self.is_well = True
        self.url = ""

    def keys(self) -> dict[str, object]:
        """The public key, as a JWK set."""
        numbers = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": _KEY_ID}
        return {"keys": [{**key, "n": _number(numbers.n), "e": _number(numbers.e)}]}

    def token(self) -> dict[str, object]:
        """The answer to a client that proved itself."""
        self.issued += 1
        now = int(time.time())
        head = {"alg": "RS256", "typ": "JWT", "kid": _KEY_ID}
        claims = {"iss": self.url, "sub": CLIENT, "aud": "kafka", "iat": now, "exp": now + self.token_s}
        signed = f"{_text(head)}.{_text(claims)}"
        signature = _base64(self._key.sign(signed.encode(), PKCS1v15(), SHA256()))
        return {"access_token": f"{signed}.{signature}", "token_type": "Bearer", "expires_in": self.token_s}


@contextmanager
def identity_provider() -> Iterator[IdentityProvider]:
    """One that listens on a port of its own."""
    provider = IdentityProvider()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(provider))
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(provider: IdentityProvider) -> type[BaseHTTPRequestHandler]:
    proof = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, provider.keys())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not provider.is_well:
                self._answer(500, {"error": "server_error"})
            elif self.headers.get("Authorization") == proof:
                self._answer(200, provider.token())
            else:
                self._answer(401, {"error": "invalid_client"})

        def _answer(self, status: int, body: dict[str, object]) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Silent."""

    return Handler


def _number(number: int) -> str:
    return _base64(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _text(value: object) -> str:
    return _base64(json.dumps(value).encode())


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
