"""Is the ingest alive, and may calls be sent to it?"""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from forebay.queues.errors import QueueError
from forebay.queues.moves.watch import MoveWatch

from .outlet import Outlet

#: Of these two, one that takes events is enough.
_QUEUE, _SPOOL = "queue", "spool"

#: Only where it is so: events are taken all the same, and none is lost by it.
_MOVED = "moved"

#: A queue that needs longer to say that it is there, is not. With a spool nothing hangs on it, and a probe that waits
#: for a second, as Kubernetes' do, gets its answer.
_CHECK_S = 2.0
_CHECK_WITH_SPOOL_S = 0.5


class Part(Protocol):
    """What events are taken without, too."""

    @property
    def state(self) -> str:
        """`ok`, or what is wrong."""


class Health:
    """Whether this worker is on its way out, and whether its queue or its spool would take an event."""

    def __init__(self, outlet: Outlet, others: Mapping[str, Part], moves: MoveWatch) -> None:
        self._outlet, self._others, self._moves = outlet, others, moves
        self._stopping = False
        self._check_s = _CHECK_WITH_SPOOL_S if outlet.spool else _CHECK_S

    def stop(self) -> None:
        """From now on nobody should send new calls; those that come are still taken."""
        self._stopping = True

    async def queue_state(self) -> str:
        """`ok`, or why the queue takes nothing."""
        try:
            async with asyncio.timeout(self._check_s):
                await self._outlet.check()
        except QueueError as error:
            return str(error) or type(error).__name__
        except TimeoutError:
            return f"the queue did not answer within {self._check_s:g} s"
        return "ok"

    def takes_events(self, parts: Mapping[str, str]) -> bool:
        """Whether a call that comes now would be kept."""
        return parts["process"] == "ok" and (parts[_QUEUE] == "ok" or bool(self._outlet.spool_state))

    async def readiness(self) -> dict[str, str]:
        """The state of each part."""
        parts = {"process": "stopping" if self._stopping else "ok", _QUEUE: await self.queue_state()}
        if self._outlet.spool:
            parts[_SPOOL] = self._outlet.spool_state or self._outlet.spool_why_not
        if self._moves.state:
            parts[_MOVED] = self._moves.state
        return parts | {name: part.state for name, part in self._others.items()}
