"""A gunicorn worker that lets no connection be silent for ever, and that stops without waiting for idle ones.

It stands on gunicorn's own `asgi` worker, which bounds the request line, headers, chunks and trailers, and refuses what
could be read in two ways: with the C parser of gunicorn_h1c where that is installed (the extra `fast`), with one in
Python otherwise. The tests of hostile calls hold both to it with every new release.
"""

from typing import Any

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers import gasgi

#: Of the grace at a stop, what the producer has to itself.
_FLUSH_S = 3


class PortalProtocol(ASGIProtocol):  # type: ignore[misc]  # gunicorn has no types
    """One connection."""

    def connection_made(self, transport: Any) -> None:
        """Give the first request its time to arrive; gunicorn itself would wait for ever."""
        super().connection_made(transport)
        self.worker.connections.add(self)
        self._deadline = self.worker.loop.call_later(self.worker.headers_s, self._close_if_silent)

    def data_received(self, data: bytes) -> None:
        """Read on; what the parser in Python trips over, such as a length of 5,000 digits, is a bad request."""
        try:
            super().data_received(data)
        except ValueError:
            self._send_error_response(400, "Invalid HTTP request")
            self._close_transport()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._deadline.cancel()
        self.worker.connections.discard(self)
        super().connection_lost(exc)

    def _close_if_silent(self) -> None:
        # Between two requests there is none either; those that wait for a second one have the keep-alive's time.
        if self.req_count <= 1 and self._current_request is None:
            self._close_transport()

    def close_if_idle(self) -> None:
        """Close unless a request is being read or answered; its answer will close the connection."""
        if self._awaiting_request:
            self._keepalive_timeout()


class PortalWorker(gasgi.ASGIWorker):  # type: ignore[misc]  # gunicorn has no types
    """One process of the ingest."""

    def init_process(self) -> None:
        """Have the connections made of our protocol; gunicorn has no setting for it."""
        self.connections: set[PortalProtocol] = set()
        self.headers_s: float = self.app.settings.body_timeout_s
        # The master ends a worker when the grace is over; so waiting for connections must leave time to flush.
        self.cfg.set("graceful_timeout", max(1, self.cfg.graceful_timeout - _FLUSH_S))
        gasgi.ASGIProtocol = PortalProtocol
        # It notes on the class it is asked on whether the C parser is there, and looks it up on its own class.
        ASGIProtocol._check_h1c_protocol_available()
        super().init_process()

    def handle_exit_signal(self) -> None:
        """SIGTERM: not ready any more; what runs is finished, what is idle is closed."""
        self.app.stop()
        super().handle_exit_signal()
        for connection in list(self.connections):
            connection.close_if_idle()
