"""How a client begins with a partition: its first record goes alone, and what follows waits until that is kept.

Brokers that don't know a producer take any of its batches for the first one (Apache Kafka's issue 15591). Where they
refuse the first that he sent to a partition, they keep the next, which was on its way behind it, and what is sent again
would stand after that.

A producer of whom a partition has got nothing for long is forgotten, and begins with it anew.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain

#: A stream and a partition.
Place = tuple[str, int]

#: Brokers forget a producer when his last record in the partition is as old as their producer.id.expiration.ms says, a
#: day by default. A record that has waited in a spool may be that old when it comes, and they look every ten minutes.
_REMEMBERED_S = 60.0


class Openings:
    """Those of one client. Records are known by their numbers; so many, of so many bytes, have room."""

    def __init__(self, room: tuple[int, int], clock: Callable[[], float] = time.monotonic) -> None:
        self._room_records, self._room_bytes = room
        self._clock = clock
        #: When they were sent to last.
        self._begun: dict[Place, float] = {}
        #: Of the others, the first that is under way, and what waits behind it.
        self._first: dict[int, Place] = {}
        self._behind: dict[Place, deque[int]] = {}
        self._sizes: dict[int, int] = {}
        self._bytes = 0

    @property
    def waiting(self) -> Iterable[int]:
        """What is not sent yet."""
        return chain.from_iterable(self._behind.values())

    def must_wait(self, place: Place, number: int, size: int) -> bool:
        """Whether it is not to be sent yet. It is given back by `ended` or `leave`. Raises `BufferError`: no room."""
        if place not in self._behind:
            return False
        if len(self._sizes) >= self._room_records or self._bytes + size > self._room_bytes:
            raise BufferError
        self._behind[place].append(number)
        self._note(number, size)
        return True

    def sent(self, place: Place, number: int, size: int) -> None:
        """The client has it."""
        now = self._clock()
        if now - self._begun.get(place, -math.inf) < _REMEMBERED_S:
            self._begun[place] = now
        else:
            self._first[number], self._behind[place] = place, deque()
            self._note(number, size)

    def ended(self, number: int, *, is_kept: bool) -> Iterable[int]:
        """What may be sent now, the last first."""
        if not self._first or (place := self._first.pop(number, None)) is None:
            return ()
        if is_kept:
            self._begun[place] = self._clock()
        waited = self._behind.pop(place)
        self._forget(number, *waited)
        return reversed(waited)

    def leave(self, stream: str) -> Iterable[int]:
        """All that waits of the stream, the last first: it is no more to be sent."""
        left: list[int] = []
        for place, waits in self._behind.items():
            if place[0] == stream:
                left += waits
                waits.clear()
        self._forget(*left)
        return sorted(left, reverse=True)

    def forget(self, stream: str) -> None:
        """It was away: made anew, it knows nobody."""
        self._begun = {place: at for place, at in self._begun.items() if place[0] != stream}

    def _note(self, number: int, size: int) -> None:
        self._sizes[number] = size
        self._bytes += size

    def _forget(self, *numbers: int) -> None:
        for number in numbers:
            self._bytes -= self._sizes.pop(number)
