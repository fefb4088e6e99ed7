"""A connection that may not be silent for ever: what it is waited for, by one timer for all of its requests."""

from collections.abc import Callable
from typing import Any

from gunicorn.asgi.protocol import ASGIProtocol

#: Between the end of a wait and the close: the loop reads what has come meanwhile. Where this process stood still, as
#: one that was stopped or got no processor, a whole call may be there, and nobody sends it again.
_LOOK_S = 0.01


class PatientProtocol(ASGIProtocol):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's own, whose first request has its time to come, and which may be asked to close."""

    # gunicorn's own, which has no types.
    _current_request: Any
    _keepalive_handle: Any

    def connection_made(self, transport: Any) -> None:
        """Give the first request its time to arrive; gunicorn itself would wait for ever."""
        #: When a request was answered without the task, which so knows nothing of it; and since when we are about to
        #: close.
        self._answered_at = self._patient_since = 0.0
        #: The rest of a request was waited for.
        self._was_patient = False
        super().connection_made(transport)
        self.worker.connections.add(self)
        self._deadline = self.worker.loop.call_later(self.worker.patience_s(), self._close_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._deadline.cancel()
        self.worker.connections.discard(self)
        super().connection_lost(exc)

    def close_if_idle(self) -> None:
        """Close unless a request is being read or answered; its answer will close the connection."""
        if self._awaiting_request and self._current_request is None:
            self._close_for_silence()

    def _is_coming(self) -> bool:
        """Whether there is something of a request, and its headers are not whole yet."""
        return False

    def _has_answered(self) -> None:
        """Without the task: wait for another request as long as gunicorn does."""
        self._answered_at = self.worker.loop.time()
        if self._keepalive_handle is None:
            self._deadline.cancel()
            self._keepalive_handle = self.worker.loop.call_later(self._keepalive, self._keepalive_timeout)

    def _close_if_silent(self) -> None:
        self._deadline = self.worker.loop.call_later(_LOOK_S, self._close_if_still_silent)

    def _close_if_still_silent(self) -> None:
        # Between two requests there is none either; those that wait for a second one have the keep-alive's time.
        if self.req_count <= 1 and self._current_request is None:
            self._close_transport()

    def _keepalive_timeout(self) -> None:
        """Close for silence, unless there was an answer since this timer was set, or there is one still to come."""
        self._cancel_keepalive_timer()
        if self._current_request is not None:
            return
        left = self._answered_at + self._keepalive - self.worker.loop.time()
        if left > 0:
            self._keepalive_handle = self.worker.loop.call_later(left, self._keepalive_timeout)
        else:
            self._close_for_silence()

    def _close_for_silence(self) -> None:
        """Of a request that is just coming the rest has as long as a first one: it may be an event that nobody sends
        again."""
        self._patient_since = self.worker.loop.time()
        self._was_patient = self._is_coming()
        if self._was_patient:
            self._wait(self.worker.patience_s(), self._look)
        else:
            self._look()

    def _look(self) -> None:
        self._wait(_LOOK_S, self._close_unless_asked)

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        self._cancel_keepalive_timer()
        self._keepalive_handle = self.worker.loop.call_later(seconds, then)

    def _close_unless_asked(self) -> None:
        self._cancel_keepalive_timer()
        if self._answered_at >= self._patient_since:
            self._keepalive_timeout()
        elif self._is_coming() and not self._was_patient:
            self._close_for_silence()
        elif self._current_request is None:
            super()._keepalive_timeout()
