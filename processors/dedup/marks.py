"""What was handled, kept until a window is over: a mark for each event."""

from collections.abc import Mapping
from typing import Protocol

from .keys import Key


class Marks(Protocol):
    """Used on one event loop. Raises `QueueError` while it can't be reached, within seconds, and may be asked again.

    Who cancels the question takes it back, unless it is on its way.
    """

    async def seen(self, *keys: Key) -> bool:
        """Whether of each key an event is marked that was received within the window before this one, or after it."""

    async def mark(self, *keys: Key) -> None:
        """Return when it is kept that the events were handled, of all or of none. Marking twice is marking once."""

    async def close(self) -> None:
        """Do what was asked for, and let go of it. Idempotent."""


class MarksInMemory:
    """For a queue in memory, and for tests: they are gone with the process."""

    def __init__(self) -> None:
        self._received: dict[bytes, int] = {}

    async def seen(self, *keys: Key) -> bool:
        """As in `Marks`."""
        return all(is_marked(key, self._received) for key in keys)

    async def mark(self, *keys: Key) -> None:
        """As in `Marks`."""
        for key in keys:
            self._received[key.digest] = max(key.received_ms, self._received.get(key.digest, key.received_ms))

    async def close(self) -> None:
        """As in `Marks`."""


def is_marked(key: Key, received: Mapping[bytes, int]) -> bool:
    """Whether the key's event was received within its window of the one that is marked; these are by their digest."""
    received_ms = received.get(key.digest)
    return received_ms is not None and abs(key.received_ms - received_ms) <= key.window_ms
