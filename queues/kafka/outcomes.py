"""What became of records, on its way to those who wait for it."""

import asyncio
from collections import deque

from forebay.queues.contract import Delivery, Position
from forebay.queues.errors import QueueError
from forebay.queues.telling import settle


class Outcomes:
    """Told in the loop's next turn, in the order in which they came to be known. Used on one event loop.

    So nobody is called back from where an outcome is found out, which may be in the middle of his own call.
    """

    def __init__(self) -> None:
        self._untold: deque[tuple[Delivery, Position | QueueError]] = deque()
        #: The streams of which failures are among these, and why: nothing that comes before they are told may be kept.
        self.failing: dict[str, QueueError] = {}

    def add(self, delivery: Delivery, outcome: Position | QueueError) -> None:
        """It is known now."""
        if not self._untold:
            asyncio.get_running_loop().call_soon(self.tell)
        self._untold.append((delivery, outcome))

    def tell(self) -> None:
        """Tell what is known by now. What comes meanwhile has its own turn."""
        self.failing.clear()
        try:
            for _ in range(len(self._untold)):
                settle(*self._untold.popleft())
        finally:
            if self._untold:
                asyncio.get_running_loop().call_soon(self.tell)
