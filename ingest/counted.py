"""A connection whose requests are waited for only as long as there is room for what has come of them."""

from http import HTTPStatus
from typing import Any

from .patience import PatientProtocol
from .request import PIECES


class CountedProtocol(PatientProtocol):
    """A patient one, but where many are waited for."""

    # gunicorn's own, which has no types.
    _body_receiver: Any

    def connection_made(self, transport: Any) -> None:
        """Let who comes to a crowd be silent for no long time, behind an answer neither."""
        #: The scope of the request that the application is answering.
        self._served: dict[str, Any] | None = None
        super().connection_made(transport)
        self._keepalive: float = self.worker.unless_crowded(self._keepalive)

    def connection_lost(self, exc: Exception | None) -> None:
        """Hold nothing any more."""
        self.worker.coming.over(self)
        super().connection_lost(exc)

    def _count(self, size: int, *, is_whole: bool) -> None:
        """So much has come; whether the request that it belongs to is whole with it."""
        if is_whole:
            self.worker.coming.over(self)
        else:
            self.worker.coming.more(self, size)

    def give_up(self) -> None:
        """As in `Sender`. While the application waits for the body, the answer is its own."""
        self._pause_reading()
        # At once: in one turn of the loop a thousand others may bring as much.
        if (receiver := self._body_receiver) is not None:
            receiver._chunks.clear()
        if self._served is None:
            self._send_error_response(HTTPStatus.REQUEST_TIMEOUT.value, "")
            self._close_transport()
        else:
            self._served.pop(PIECES, []).clear()
            receiver._body_wait_expired = True
            receiver._wake_waiter()
