"""The HTTP request as the sender's bytes: nothing in it may fail to decode."""

import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

from falcon.asgi import Request
from falcon.request import RequestOptions

from forebay.queues.tracing.contract import Call
from forebay.schemas.trace_context import trace_context

from .metrics import Counters

Events = Callable[[], Awaitable[dict[str, Any]]]

#: Where asgi.py puts the request in the scope, for Falcon and for itself.
REQUEST = "forebay.request"

#: Where protocol.py notes that the whole body has come already.
IS_WHOLE = "forebay.is_whole"

#: Where what has come of a body stands until it is whole: whoever takes it away from there has given the body up.
PIECES = "forebay.pieces"

#: Of a call whose event is kept: the request's id, and the body of its answer, a JSON, of status 200.
Kept = tuple[bytes, bytes]

#: Hears what became of a call that was begun: that its event is kept, or the request with the error that it is to be
#: answered with. Whether anybody heard it.
Told = Callable[["Kept | PortalRequest"], bool]

#: Enough that no two requests of a log have the same id.
_REQUEST_ID_BITS = 64

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=:-]{1,128}")


class PortalRequest(Request):
    """Falcon's request, and beside it the query, the headers and the body's events as they came.

    What is Falcon's of it is there once Falcon is asked to answer.
    """

    __slots__ = ("counters", "error", "events", "query_sent", "request_id_sent", "sent", "started", "trace")

    def __init__(self, scope: dict[str, Any], events: Events, sent: Mapping[bytes, bytes]) -> None:
        self.scope, self.events, self.sent = scope, events, sent
        self.request_id_sent = request_id_of(sent) or new_request_id()
        self.query_sent: bytes = scope["query_string"]
        self.started = time.perf_counter()
        #: Whose call it is, once an endpoint has taken it.
        self.counters: Counters | None = None
        #: Its spans, where there are traces.
        self.trace: Call | None = None
        #: What went wrong before Falcon was asked; it is answered by Falcon's error handlers.
        self.error: Exception | None = None

    def begin(
        self, scope: dict[str, Any], receive: Events, first_event: dict[str, Any] | None, options: RequestOptions | None
    ) -> Self:
        """Let Falcon see to what is its own."""
        if self.query_sent:
            # Falcon decodes the query as UTF-8 before any error handler is in reach.
            scope = {**scope, "query_string": b""}
        super().__init__(scope, receive, first_event, options)
        return self

    def fail(self) -> None:
        """Raise what went wrong, once."""
        error, self.error = self.error, None
        try:
            if error is not None:
                raise error
        finally:
            # Its traceback knows this frame: it would wait for a garbage collection.
            del error

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
        return self.request_id_sent.decode("ascii")

    @property
    def traceparent(self) -> str | None:
        """The caller's trace context, when it is a valid one."""
        given = self.sent.get(b"traceparent")
        return given.decode("ascii") if given and trace_context(given) else None


def request_for_falcon(
    scope: dict[str, Any],
    receive: Events,
    first_event: dict[str, Any] | None = None,
    options: RequestOptions | None = None,
) -> PortalRequest:
    """What Falcon calls to have its request made: it is there already."""
    # Taken out: the request knows its scope, and both would wait for a garbage collection.
    request: PortalRequest = scope.pop(REQUEST)
    return request.begin(scope, receive, first_event, options)


def new_request_id() -> bytes:
    """The id of a request that brings none."""
    return b"%016x" % random.getrandbits(_REQUEST_ID_BITS)


def request_id_of(sent: Mapping[bytes, bytes]) -> bytes | None:
    """The caller's X-Request-Id, when it is one that may be repeated in an answer and in a log."""
    given = sent.get(b"x-request-id")
    return given if given and _REQUEST_ID.fullmatch(given) else None
