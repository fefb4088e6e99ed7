"""Whether the queue is known to take nothing just now."""

from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)


class Breaker:
    """Open while events go to the spool without asking the queue. The first acknowledgement closes it.

    `acknowledged` is a number that grows when another process of this host heard one.
    """

    def __init__(self, acknowledged: Callable[[], int]) -> None:
        self._acknowledged = acknowledged
        self._seen = 0
        #: Why it is open; empty while it is closed.
        self.why = ""

    @property
    def is_open(self) -> bool:
        """Whether to pass the queue by."""
        if self.why and self._acknowledged() != self._seen:
            self.close()
        return bool(self.why)

    def open(self, why: str) -> None:
        """The queue takes nothing. What was acknowledged before counts no more."""
        if not self.why:
            log.warning("the queue takes nothing; events go to the spool", reason=why)
        self.why, self._seen = why, self._acknowledged()

    def close(self) -> None:
        """The queue has acknowledged a record. Idempotent."""
        if self.why:
            log.info("the queue takes events again")
        self.why = ""
