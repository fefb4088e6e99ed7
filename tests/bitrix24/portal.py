"""A small portal in this process: as much of Bitrix24's REST API as recipes use, with its limits.

Sources: apidocs.bitrix24.com, crm.deal.list, crm.deal.get, "Retrieve Large Volumes of Data", "Limits", "System errors".
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Of a list method, always.
PAGE = 50

#: The intensity of all plans but the largest: so many calls at once, and so many a second for ever.
BURST, A_SECOND = 50, 2.0

#: The portal's own time zone: it writes times in it, and understands every other.
ZONE = timezone(timedelta(hours=3))

Deal = dict[str, Any]
Answer = tuple[int, dict[str, Any]]

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": lambda one, other: bool(one >= other),
    "<=": lambda one, other: bool(one <= other),
    ">": lambda one, other: bool(one > other),
    "<": lambda one, other: bool(one < other),
    "": lambda one, other: bool(one == other),
}


class Refused(Exception):
    """How the portal says no."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.answer: Answer = status, {"error": code, "error_description": code.replace("_", " ").capitalize()}


class FakePortal:
    """Use it in a `with` statement."""

    def __init__(self, *, burst: int = BURST, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._clock = burst, clock
        self._level, self._looked = 0.0, clock()
        self._lock = threading.Lock()
        self._deals: dict[int, Deal] = {}
        #: Given to every call, when it is set.
        self.answer: tuple[int, bytes] | None = None
        #: Called after each page of a list.
        self.turned: Callable[[], None] = lambda: None
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def __enter__(self) -> "FakePortal":
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def webhook(self) -> str:
        """The address of its incoming webhook."""
        return f"http://127.0.0.1:{self._server.server_port}/rest/1/abc123/"

    def save(self, number: int, at: datetime, **fields: str) -> None:
        """Somebody makes or changes the deal at that time."""
        with self._lock:
            self._deals[number] = {**self._deals.get(number, {}), **fields, "ID": number, "DATE_MODIFY": at}

    def delete(self, number: int) -> None:
        """Somebody deletes the deal."""
        with self._lock:
            del self._deals[number]

    def call(self, method: str, given: dict[str, Any]) -> Answer:
        """What the portal answers."""
        self.asked.append((method, given))
        try:
            self._limit()
            with self._lock:
                answer = self._answer(method, given)
        except Refused as refused:
            return refused.answer
        if method.endswith(".list"):
            self.turned()
        return 200, answer | {"time": {"duration": 0.01, "operating": 0.0}}

    def _limit(self) -> None:
        """A leaky bucket: what is over its edge is refused, and not counted."""
        now = self._clock()
        self._level = max(0.0, self._level - (now - self._looked) * A_SECOND)
        self._looked = now
        if self._level + 1 > self._burst:
            raise Refused(503, "QUERY_LIMIT_EXCEEDED")
        self._level += 1

    def _answer(self, method: str, given: dict[str, Any]) -> dict[str, Any]:
        if method == "crm.deal.list":
            return self._list(given)
        if method == "crm.deal.get":
            found = self._deals.get(int(given.get("id", 0)))
            if found is None:
                raise Refused(400, "NOT_FOUND")
            return {"result": _shown(found)}
        raise Refused(404, "ERROR_METHOD_NOT_FOUND")

    def _list(self, given: dict[str, Any]) -> dict[str, Any]:
        found = [deal for deal in self._deals.values() if _matches(deal, given.get("filter", {}))]
        for field, way in reversed(list(given.get("order", {"ID": "ASC"}).items())):
            found.sort(key=lambda deal: deal[field], reverse=way.upper() == "DESC")
        start = int(given.get("start", 0))
        page = [_shown(deal) for deal in found[max(0, start) : max(0, start) + PAGE]]
        if start < 0:
            # Without counting, which is faster.
            return {"result": page, "total": 0}
        more = {"next": start + PAGE} if len(found) > start + PAGE else {}
        return {"result": page, "total": len(found), **more}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        portal = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                _, rest, user, secret, method = self.path.split("/")
                if (rest, user, secret) != ("rest", "1", "abc123"):
                    status, answer = Refused(401, "INVALID_CREDENTIALS").answer
                else:
                    status, answer = portal.call(method.removesuffix(".json"), body)
                octets = json.dumps(answer).encode()
                if portal.answer:
                    status, octets = portal.answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(octets)))
                self.end_headers()
                self.wfile.write(octets)

            def log_message(self, format: str, *arguments: object) -> None:
                """Nobody reads it."""

        return Handler


def _matches(deal: Deal, wanted: dict[str, Any]) -> bool:
    for key, value in wanted.items():
        sign = next(sign for sign in _COMPARE if key.startswith(sign))
        field = key.removeprefix(sign)
        # The real one leaves out what it does not know, so that a misspelt filter gives everything.
        if field in ("ID", "DATE_MODIFY") and not _COMPARE[sign](deal[field], _parsed(field, value)):
            return False
    return True


def _parsed(field: str, value: Any) -> Any:
    return int(value) if field == "ID" else datetime.fromisoformat(value)


def _shown(deal: Deal) -> Deal:
    """Everything is text, and times are the portal's."""
    at = deal["DATE_MODIFY"].astimezone(ZONE).isoformat(timespec="seconds")
    return {**deal, "ID": str(deal["ID"]), "DATE_MODIFY": at}
