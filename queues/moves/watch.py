"""Whether everything was moved from a queue to another one: who goes on with it was forgotten, and is told."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from forebay.queues.contract import Queue
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.schemas.logger import get_logger

from .marker import Marker, Markers

_log = get_logger(__name__)

#: Between two looks, which cost a connection for a moment. A queue that doesn't answer just now is asked again sooner.
_EVERY_S, _AGAIN_S = 600.0, 10.0

#: At the stop a queue that hangs keeps nobody for longer.
_CLOSE_S = 0.5

_MS = 1000

#: What is to be done on the host that goes on with it.
REMEDY = "set queue_url to the new queue on this host, start again, and run the same move once more: it moves the rest"


class MoveWatch:
    """Looks for as long as it runs. Where this user may not read what operators did, nothing is known."""

    def __init__(
        self, queue: Queue, topic: str, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        self._queue, self._sleep = queue, sleep
        self._markers = Markers(topic)
        self._moved: Marker | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        """Where all that waited went; empty while nothing is known of a move."""
        return told(self._moved) if self._moved else ""

    def open(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self.run())

    async def close(self) -> None:
        """Look no more. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=_CLOSE_S)

    async def run(self) -> None:
        """Look again and again. What is found is logged once."""
        while True:
            await self._sleep(await self.look())

    async def look(self) -> float:
        """Look once; how long until the next one."""
        try:
            found = await self._found()
        except QueueUnavailable:
            return _AGAIN_S
        except QueueError:
            return _EVERY_S
        except Exception as error:  # whatever it is: events are taken and handled all the same
            _log.warning("whether the queue was moved can't be told", error=repr(error))
            return _EVERY_S
        if found and found != self._moved:
            _log.error("this queue is not in use any more", why=told(found), remedy=REMEDY)
        self._moved = found
        return _EVERY_S

    async def _found(self) -> Marker | None:
        if not self._queue.promises.replay:
            return None
        inspector = self._queue.inspector()
        try:
            marker = await self._markers.last(inspector)
        finally:
            await inspector.close()
        return marker if marker and marker.is_done else None


def told(marker: Marker) -> str:
    """The move in words."""
    at = datetime.fromtimestamp(marker.at_ms / _MS, UTC)
    did = "was moved" if marker.is_done else "is being moved"
    return f"what waited here {did} to {marker.target} (by {marker.who}, {at:%Y-%m-%d %H:%M} UTC)"
