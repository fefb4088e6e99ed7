"""A small schema registry in this process: Confluent's REST API, as far as Forebay and Kafka's serializers use it."""

import json
import re
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

#: Where Apicurio has it; other addresses are not found.
PATH = "/apis/ccompat/v7"

Answer = tuple[int, object]

_NO_SUBJECT: Answer = (404, {"error_code": 40401, "message": "Subject not found"})
_NO_SCHEMA: Answer = (404, {"error_code": 40403, "message": "Schema not found"})
_INCOMPATIBLE: Answer = (409, {"error_code": 409, "message": "Schema being registered is incompatible"})


class FakeRegistry:
    """Use it in a `with` statement. It forgets nothing while it is down."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self._schemas: list[str] = []
        self._subjects: dict[str, list[int]] = {}
        self._levels: dict[str, str] = {}
        self._lock = threading.Lock()
        self._goes_on = threading.Event()
        self._goes_on.set()
        #: Given to every question, when it is set.
        self.answer: Answer | None = None
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        """Its address, with the path of the API."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}{PATH}"

    def __enter__(self) -> "FakeRegistry":
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.wake()
        self.down()

    def up(self) -> None:
        """Listen, from the second time on at the same address. Idempotent."""
        if self._server:
            return
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler())
        self._port = self._server.server_port
        if self._tls:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def down(self) -> None:
        """Listen no more: connections are refused. Idempotent."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def hang(self) -> None:
        """Take questions, and answer none until it is woken."""
        self._goes_on.clear()

    def wake(self) -> None:
        """Answer again."""
        self._goes_on.set()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                registry._goes_on.wait()
                status, found = registry._answered(self.command, self.path, json.loads(body) if body else {})
                text = found.encode() if isinstance(found, str) else json.dumps(found).encode()
                # Whoever asked may have left: its timeout is a part of the tests.
                with suppress(ConnectionError):
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_DELETE = do

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

    def _answered(self, method: str, url: str, body: dict[str, Any]) -> Answer:
        path = unquote(urlsplit(url).path)
        with self._lock:
            self.asked.append(f"{method} {path.removeprefix(PATH)}")
            if self.answer:
                return self.answer
            for pattern, does in self._routes.items():
                found = re.fullmatch(pattern, f"{method} {path.removeprefix(PATH)}")
                if found and path.startswith(PATH):
                    return does(self, *found.groups(), **({"body": body} if body else {}))
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _id_of(self, schema: str) -> int | None:
        return self._schemas.index(schema) + 1 if schema in self._schemas else None

    def _described(self, subject: str, schema_id: int) -> dict[str, object]:
        version = self._subjects[subject].index(schema_id) + 1
        return {"subject": subject, "version": version, "id": schema_id, "schema": self._schemas[schema_id - 1]}

    def _register(self, subject: str, body: dict[str, Any]) -> Answer:
        if not self._takes(subject, body["schema"]):
            return _INCOMPATIBLE
        if self._id_of(body["schema"]) is None:
            self._schemas.append(body["schema"])
        schema_id = self._id_of(body["schema"])
        assert schema_id is not None
        ids = self._subjects.setdefault(subject, [])
        if schema_id not in ids:
            ids.append(schema_id)
        return 200, {"id": schema_id}

    def _takes(self, subject: str, schema: str) -> bool:
        # As far as the tests go, records of one name are compatible.
        ids = self._subjects.get(subject)
        if not ids or self._levels.get(subject, "BACKWARD") == "NONE":
            return True
        return _name(self._schemas[ids[-1] - 1]) == _name(schema)

    def _look_up(self, subject: str, body: dict[str, Any]) -> Answer:
        if subject not in self._subjects:
            return _NO_SUBJECT
        schema_id = self._id_of(body["schema"])
        if schema_id not in self._subjects[subject]:
            return _NO_SCHEMA
        return 200, self._described(subject, schema_id)

    def _versions(self, subject: str) -> Answer:
        ids = self._subjects.get(subject)
        return (200, [*range(1, len(ids) + 1)]) if ids else _NO_SUBJECT

    def _latest(self, subject: str) -> Answer:
        ids = self._subjects.get(subject)
        return (200, self._described(subject, ids[-1])) if ids else _NO_SUBJECT

    def _schema(self, schema_id: str) -> Answer:
        number = int(schema_id)
        return (200, {"schema": self._schemas[number - 1]}) if 0 < number <= len(self._schemas) else _NO_SCHEMA

    def _level(self, subject: str, body: dict[str, Any] | None = None) -> Answer:
        if body:
            self._levels[subject] = body["compatibility"]
            return 200, body
        return 200, {"compatibilityLevel": self._levels.get(subject, "BACKWARD")}

    def _check(self, subject: str, body: dict[str, Any]) -> Answer:
        if subject not in self._subjects:
            return _NO_SUBJECT
        return 200, {"is_compatible": self._takes(subject, body["schema"])}

    def _delete(self, subject: str) -> Answer:
        return (200, [1]) if self._subjects.pop(subject, None) else _NO_SUBJECT

    _routes: ClassVar[dict[str, Callable[..., Answer]]] = {
        r"GET /subjects": lambda self: (200, [*self._subjects]),
        r"POST /subjects/([^/]+)/versions": _register,
        r"POST /subjects/([^/]+)": _look_up,
        r"GET /subjects/([^/]+)/versions": _versions,
        r"GET /subjects/([^/]+)/versions/latest": _latest,
        r"GET /schemas/ids/(\d+)": _schema,
        r"(?:GET|PUT) /config/([^/]+)": _level,
        r"POST /compatibility/subjects/([^/]+)/versions/latest": _check,
        r"DELETE /subjects/([^/]+)": _delete,
    }


def _name(schema: str) -> object:
    parsed = json.loads(schema)
    return parsed.get("name") if isinstance(parsed, dict) else parsed
