"""A connection: gunicorn's own, which answers nearly every call without a task.

It stands on the protocol of gunicorn's own `asgi` worker, which bounds the request line, headers, chunks and trailers,
and refuses what could be read in two ways: with the C parser of gunicorn_h1c where that is installed (the extra
`fast`), with one in Python otherwise. The tests of hostile calls hold both to it with every new release.
"""

import asyncio
import re
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson
from gunicorn.asgi.protocol import (
    ASGIProtocol,
    _get_cached_date_header,
    _get_cached_status_line,
    _normalize_sockaddr,
)

from .counted import CountedProtocol
from .refusals import slug_and_detail
from .request import IS_WHOLE, REQUEST, Kept, PortalRequest, new_request_id

#: Plain, as gunicorn keeps the status lines by it.
_OK = HTTPStatus.OK.value

#: The answer of nearly every call, as gunicorn would write it.
_KEPT = b"%bcontent-length: %d\r\ncontent-type: application/json\r\nx-request-id: %b\r\nserver: forebay\r\n%b%b%b"

#: So much of what was held is given to the parser at a time: the one in C keeps no more than 64 KiB behind a request.
_PIECE_BYTES = 32 << 10

_NOT_ASCII = re.compile(rb"[\x80-\xff]")

#: What stands before the path where the whole URL was sent, as to a proxy: a server must take it (RFC 9112, 3.2.2).
_SITE = re.compile(rb"\Ahttps?://[^/]*", re.IGNORECASE)


class PortalProtocol(CountedProtocol):
    """One connection."""

    # gunicorn's own, which has no types.
    _callback_parser: Any
    _request_ready: Any

    def connection_made(self, transport: Any) -> None:
        """Begin to read."""
        self._past_line, self._held = False, b""
        #: The next request has begun to come, and its headers are not whole yet.
        self._has_begun = False
        #: The headers of a request are whole, and nobody sees to it yet.
        self._is_new = False
        #: A request that was begun, and is to be answered by the application's error handlers.
        self._failed: PortalRequest | None = None
        #: Of the request that goes on to gunicorn.
        self._scope: dict[str, Any] | None = None
        super().connection_made(transport)
        self._begin, self._taken = getattr(self.app, "begin", None), getattr(self.app, "taken", None)
        self._client = _normalize_sockaddr(transport.get_extra_info("peername"))
        self._server = _normalize_sockaddr(transport.get_extra_info("sockname"))

    def _feed_callback_parser(self, data: bytes) -> bool:
        """Read on; what the parser in Python trips over, such as a length of 5,000 digits, is a bad request."""
        if self._is_answering():
            return self._hold(data)
        try:
            goes_on = bool(super()._feed_callback_parser(self._with_ascii_url(data)))
        except ValueError:
            self._send_error_response(400, "")
            self._close_transport()
            return False
        if self._is_new:
            self._is_new = False
            if not (goes_on and self._has_begun_call()):
                self._request_ready.set()
        receiver = self._body_receiver
        self._count(len(data), is_whole=not self._has_begun if receiver is None else receiver._complete)
        return goes_on

    def _is_coming(self) -> bool:
        return self._has_begun or bool(self._held)

    def _is_answering(self) -> bool:
        return self._body_receiver is not None and self._body_receiver._complete

    def _hold(self, data: bytes) -> bool:
        """Keep the next request until the parser is reset for it: it may come before its sender has our answer.

        The parser in C keeps 64 KiB of it. Of a longer one gunicorn would close the connection without a word.
        """
        self._held += data
        self._pause_reading()
        return True

    def _resume_reading(self) -> None:
        """Read on, behind what was held. gunicorn calls this before it resets the parser, and so it is fed later."""
        if self._held:
            self.worker.loop.call_soon(self._feed_held)
        else:
            super()._resume_reading()

    def _feed_held(self) -> None:
        if self._closed or self._is_answering():
            return
        held, self._held = self._held[:_PIECE_BYTES], self._held[_PIECE_BYTES:]
        if not (held and self._feed_callback_parser(held)):
            return
        if not self._held:
            self._maybe_resume_reading()
        elif not self._is_answering():
            self.worker.loop.call_soon(self._feed_held)

    def _maybe_resume_reading(self) -> None:
        """What is held was sent before whatever could be read."""
        if not self._held:
            super()._maybe_resume_reading()

    def _with_ascii_url(self, data: bytes) -> bytes:
        """Percent-encode in the request line what a rule's author typed as it is; both parsers would refuse it."""
        if self._current_request is not None or self._past_line:
            return data
        if not self._has_begun:
            self._has_begun = not data.isspace()
        end = data.find(b"\n") + 1
        self._past_line = end > 0
        line = data[:end] if end else data
        return data if line.isascii() else _NOT_ASCII.sub(_escaped, line) + data[len(line) :]

    def _on_headers_complete(self) -> bool:
        """Hand the request on. What comes when it is answered starts with the line of the next."""
        self._past_line = self._has_begun = False
        self._came_along = self.req_count > 0 and not self._awaiting_request
        # gunicorn would wake its task for it, before it is known whether that is needed.
        ready, self._request_ready = self._request_ready, None
        try:
            skips_body = bool(super()._on_headers_complete())
        finally:
            self._request_ready = ready
        self._is_new = self._h2c_upgrade_settings is None
        return skips_body

    def _has_begun_call(self) -> bool:
        """Give the application a whole call, whose event it may keep without a task; whether it does.

        The task goes on waiting for a request then, and is woken only for one that needs it.
        """
        request, receiver, worker = self._current_request, self._body_receiver, self.worker
        # Of a new connection the task may not have begun yet.
        is_free = self._awaiting_request or self.req_count == 0
        if self._begin is None or not (is_free and receiver._complete and request.method == "POST"):
            return False
        # Who reads none of his answers is waited for, and of a worker's last request gunicorn makes much.
        if request.may_upgrade() or self._flow_control.write_paused or worker.nr + 1 >= worker.max_requests:
            return False
        scope = {
            "type": "http",
            "path": request.path,
            "headers": request.headers_bytes,
            "query_string": request.query.encode("latin-1"),
            "client": self._client,
            "server": self._server,
        }
        # They stay where they are: if the task has to see to the call, it reads them.
        return bool(self._begin(scope, b"".join(receiver._chunks), self._told))

    def _told(self, outcome: Kept | PortalRequest) -> bool:
        """Answer; what went wrong goes on to the application in the task. False where the caller has left."""
        if self._closed:
            return False
        if isinstance(outcome, PortalRequest):
            self._failed = outcome
            self._request_ready.set()
            return True
        closes = self._write_kept(self._current_request, *outcome)
        self.worker.nr += 1
        parser = self._callback_parser
        if closes or getattr(parser, "remaining_truncated", False):
            self._close_transport()
            return True
        # As gunicorn's task does it, but that what came along is fed in the loop's next turn, and nothing before it.
        self._held = parser.remaining() + self._held
        parser.reset()
        self._current_request = self._body_receiver = None
        if self._held:
            self._pause_reading()
        self._resume_reading()
        self._has_answered()
        return True

    async def _serve_http_request(self, request: Any, sockname: Any, peername: Any) -> bool:
        """Answer in this task; gunicorn makes another one, for applications that go on when they have answered.

        What our application can take without more ado is answered here; of all else gunicorn sees to.
        """
        if self._came_along:
            # It was sent with the one before it: of thousands whose answers wait for nothing, as a refusal does, the
            # last would be answered before anybody else's first.
            await asyncio.sleep(0)
        scope = self._served = self._build_http_scope(request, sockname, peername)
        try:
            if self._failed is not None:
                scope[REQUEST], self._failed = self._failed, None
            elif self._taken and (kept := await self._taken(scope, self._body_receiver.receive)) is not None:
                return await self._answer(request, *kept)
            self._scope = scope
            return bool(await self._handle_http_request(request, sockname, peername))
        finally:
            self._served = None

    async def _answer(self, request: Any, request_id: bytes, body: bytes) -> bool:
        if self._closed:
            return False
        closes = self._write_kept(request, request_id, body)
        if self._flow_control.write_paused:
            # Of one who reads none of his answers no more calls are read.
            await self._flow_control.drain()
        return not closes

    def _write_kept(self, request: Any, request_id: bytes, body: bytes) -> bool:
        """Answer 200 with this JSON in one step; gunicorn would put the same together from pieces, and check each.

        Whether the connection is to be closed.
        """
        closes = bool(self._will_close(request, False))
        line, date = _get_cached_status_line(request.version, _OK), _get_cached_date_header()
        end = b"Connection: close\r\n\r\n" if closes else b"\r\n"
        self._safe_write(_KEPT % (line, len(body), request_id, date, end, body))
        return closes

    def _build_http_scope(self, request: Any, sockname: Any, peername: Any) -> dict[str, Any]:
        """Note whether the whole body has come, so that nobody sets a timer to wait; leave out the site's name."""
        if (made := self._scope) is not None:
            self._scope = None
            return made
        scope: dict[str, Any] = super()._build_http_scope(request, sockname, peername)
        if self._body_receiver is not None and self._body_receiver._complete:
            scope[IS_WHOLE] = True
        if not scope["raw_path"].startswith(b"/"):
            # As with Host, it makes no difference what we are called.
            scope["raw_path"] = path = _SITE.sub(b"", scope["raw_path"]) or b"/"
            scope["path"] = unquote_to_bytes(path).decode("utf-8", "replace")
        return scope

    def _send_response_start(self, status: int, headers: Any, request: Any, close: bool = False) -> None:
        """Answer as who we are."""
        super()._send_response_start(status, [*headers, (b"server", b"forebay")], request, close=close)

    async def _handle_websocket(self, request: Any, sockname: Any, peername: Any) -> None:
        """There are none; refused here, the answer is like every other."""
        self._send_error_response(403, "")
        self._close_transport()

    def _send_error_response(self, status: int, message: str, extra_headers: Any = ()) -> None:
        """Answer what the application never sees, in its form; who has left gets nothing, and was refused nothing."""
        if self._closed:
            # gunicorn takes an answer that it could not send for one that the application never gave.
            return
        slug, detail = slug_and_detail(status)
        request_id = new_request_id().decode("ascii")
        self.worker.teller.warn("a request was refused", status=status, error=slug, request_id=request_id)
        self.worker.app.not_http(status)
        body = orjson.dumps({"error": slug, "detail": detail, "request_id": request_id})
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nX-Request-Id: {request_id}\r\nServer: forebay\r\nConnection: close\r\n\r\n"
        )
        self._safe_write(head.encode("ascii") + body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; what is on its way to the queue goes on."""
        # gunicorn would cancel the task after a time, and until then keep it with all that the connection had.
        task: asyncio.Task[None] | None = self._task
        self._task: asyncio.Task[None] | None = None
        super().connection_lost(exc)
        if task is None or task.done():
            return self._let_go()
        # Whoever waits for the caller to read his answers: he has left.
        self._flow_control.resume_writing()
        self.worker.unfinished.add(task)
        task.add_done_callback(self._finished)
        if self._awaiting_request:
            self._request_ready.set()

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self.worker.unfinished.discard(task)
        self._let_go()

    def _let_go(self) -> None:
        """Of what refers to us: otherwise all of it waits for a garbage collection, which keeps others waiting."""
        self._callback_parser = None
        self._body_receiver = None


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found[0][0]


def find_parser() -> None:
    """Import the parser in C, if there is one. Idempotent."""
    # gunicorn notes on the class it is asked on whether it is there, and looks it up on its own class.
    ASGIProtocol._check_h1c_protocol_available()
