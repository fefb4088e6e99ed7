"""The HTTP request as the sender's bytes: nothing in it may fail to decode."""

import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from falcon.asgi import Request
from falcon.request import RequestOptions

from forebay.queues.tracing.contract import Call
from forebay.schemas.trace_context import trace_context

from .metrics import Counters

Events = Callable[[], Awaitable[dict[str, Any]]]

#: Where app.py puts the server's own `receive`, the headers by name and the request's id in the scope.
RECEIVE = "forebay.receive"
SENT = "forebay.sent"
REQUEST_ID = "forebay.request_id"

#: Where worker.py notes that the whole body has come already.
IS_WHOLE = "forebay.is_whole"

#: Enough that no two requests of a log have the same id.
_REQUEST_ID_BITS = 64

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=:-]{1,128}")


class PortalRequest(Request):
    """Falcon's request, and beside it the query, the headers and the body's events as they came."""

    __slots__ = ("counters", "events", "query_sent", "sent", "started", "trace")

    def __init__(
        self,
        scope: dict[str, Any],
        receive: Events,
        first_event: dict[str, Any] | None = None,
        options: RequestOptions | None = None,
    ) -> None:
        self.events: Events = scope[RECEIVE]
        self.sent: Mapping[bytes, bytes] = scope[SENT]
        self.query_sent: bytes = scope["query_string"]
        self.started = time.perf_counter()
        #: Whose call it is, once an endpoint has taken it.
        self.counters: Counters | None = None
        #: Its spans, where there are traces.
        self.trace: Call | None = None
        if self.query_sent:
            # Falcon decodes the query as UTF-8 before any error handler is in reach.
            scope = {**scope, "query_string": b""}
        super().__init__(scope, receive, first_event, options)

    @property
    def is_whole(self) -> bool:
        """Whether no event of the body has to be waited for."""
        return IS_WHOLE in self.scope

    @property
    def seconds(self) -> float:
        """The time since the headers were read."""
        return time.perf_counter() - self.started

    @property
    def request_id(self) -> str:
        """The id that the answer carries as X-Request-Id."""
        sent: bytes = self.scope[REQUEST_ID]
        return sent.decode("ascii")

    @property
    def traceparent(self) -> str | None:
        """The caller's trace context, when it is a valid one."""
        given = self.sent.get(b"traceparent")
        return given.decode("ascii") if given and trace_context(given) else None


def new_request_id() -> bytes:
    """The id of a request that brings none."""
    return b"%016x" % random.getrandbits(_REQUEST_ID_BITS)


def request_id_of(sent: Mapping[bytes, bytes]) -> bytes | None:
    """The caller's X-Request-Id, when it is one that may be repeated in an answer and in a log."""
    given = sent.get(b"x-request-id")
    return given if given and _REQUEST_ID.fullmatch(given) else None
