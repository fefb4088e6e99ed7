"""A small OAuth server of Bitrix24 in this process: as much of it as `app.info` needs.

Source: bitrix24/b24pysdk, the request and the response of `app.info`; the errors are those of apidocs.bitrix24.com,
"System errors".
"""

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, kw_only=True)
class Installed:
    """An application on a portal, as an access token of it shows."""

    client_id: str
    member_id: str
    domain: str


class FakeOAuth:
    """Use it in a `with` statement. `knows` maps access tokens to what they are of."""

    def __init__(self) -> None:
        self.knows: dict[str, Installed] = {}
        self.expired: set[str] = set()
        #: Given to every call, when it is set: status and body.
        self.answer: tuple[int, bytes] | None = None
        #: Each access token that was asked about, in order.
        self.asked: list[str] = []
        #: Not set while every call is to wait.
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __enter__(self) -> "FakeOAuth":
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """What stands in `oauth_urls`."""
        return f"http://127.0.0.1:{self._server.server_port}/rest"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        oauth = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = oauth._answered(self.path)
                self.send_response(status)
                self.send_header("Content-Type", "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        return Handler

    def _answered(self, target: str) -> tuple[int, bytes]:
        parts = urlsplit(target)
        if parts.path.rstrip("/") != "/rest/app.info":
            return 404, _error("ERROR_METHOD_NOT_FOUND", "Method not found!")
        token = parse_qs(parts.query).get("auth", [""])[0]
        self.asked.append(token)
        self.may_answer.wait()
        if self.answer is not None:
            return self.answer
        if token in self.expired:
            return 401, _error("expired_token", "The access token provided has expired.")
        if token not in self.knows:
            return 401, _error("invalid_token", "Unable to get application by token")
        return 200, _app_info(self.knows[token])


def _error(code: str, text: str) -> bytes:
    return json.dumps({"error": code, "error_description": text}).encode()


def _app_info(found: Installed) -> bytes:
    install = {
        "installed": True,
        "version": "1",
        "status": "F",
        "scope": "crm,user",
        "domain": found.domain,
        "uri": f"https://{found.domain}",
        "client_endpoint": f"https://{found.domain}/rest/",
        "member_id": found.member_id,
        "member_type": "c",
    }
    result = {
        "client_id": found.client_id,
        "scope": "crm,user",
        "expires": "2026-11-25T18:00:00+00:00",
        "install": install,
        "user_id": 1,
    }
    return json.dumps({"result": result, "time": {"start": 1.0, "finish": 1.1, "duration": 0.1}}).encode()
