"""A connection that gets pages: nobody holds one for ever, by saying nothing or by reading nothing."""

import asyncio
from typing import Any

from forebay.ingest.patience import PatientProtocol

#: What the kernel does not take of a page is kept for its reader, who has so long: a page may have megabytes.
_READ_S = 60.0


class PageProtocol(PatientProtocol):
    """The ingest's, whose answers are small, for large ones."""

    _unread: asyncio.TimerHandle | None = None
    #: gunicorn's own, which has no types.
    transport: Any

    def pause_writing(self) -> None:
        """More waits for the reader than should; from now on it is waited for."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.worker.loop.call_later(_READ_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Nearly all is read."""
        super().resume_writing()
        self._read()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._read()
        super().connection_lost(exc)

    def _read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
