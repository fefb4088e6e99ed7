"""What was handled, kept until a window is over: a mark for each event."""

from collections.abc import Sequence
from typing import Protocol

from .keys import Key


class Marks(Protocol):
    """Used on one event loop. Raises `QueueError` while it can't be reached, and may be asked again."""

    async def seen(self, *keys: Key) -> bool:
        """Whether of each key an event is marked that was received within the window before this one, or after it."""

    async def mark(self, *keys: Key) -> None:
        """Return when it is kept that the events were handled, of all or of none. Marking twice is marking once."""

    async def close(self) -> None:
        """Do what was asked for, and let go of it. Idempotent."""


class MarksInMemory:
    """For a queue in memory, and for tests: they are gone with the process."""

    def __init__(self) -> None:
        self._received: dict[tuple[str, bytes], int] = {}

    async def seen(self, *keys: Key) -> bool:
        """As in `Marks`."""
        return all(self._is_marked(key) for key in keys)

    async def mark(self, *keys: Key) -> None:
        """As in `Marks`."""
        for key in keys:
            place = key.portal, key.digest
            self._received[place] = max(key.received_ms, self._received.get(place, key.received_ms))

    async def close(self) -> None:
        """As in `Marks`."""

    def _is_marked(self, key: Key) -> bool:
        received_ms = self._received.get((key.portal, key.digest))
        return received_ms is not None and is_within(key, received_ms)


def is_within(key: Key, received_ms: int) -> bool:
    """Whether the key's event was received within its window of the other."""
    return abs(key.received_ms - received_ms) <= key.window_ms


def newest(keys: Sequence[Key]) -> dict[str, int]:
    """Portal → when the newest of its events was received."""
    found: dict[str, int] = {}
    for key in keys:
        found[key.portal] = max(key.received_ms, found.get(key.portal, key.received_ms))
    return found
