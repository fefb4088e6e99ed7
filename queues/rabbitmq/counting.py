"""Entries that are on their way through a group's stream: what became of each is read there."""

import asyncio
from collections.abc import Callable

from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.telling import settle


class Unheard:
    """An entry of which only that it was refused is to be heard: that is not to be read in the stream."""

    def __init__(self, refused: Callable[[QueueError], None]) -> None:
        self._refused = refused

    def done(self) -> bool:
        """Never."""
        return False

    def set_result(self, offset: int, /) -> None:
        """It is kept."""

    def set_exception(self, error: QueueError, /) -> None:
        """It is not."""
        self._refused(error)


class Counted:
    """One commit. It is told as an entry is: that it was refused is not to be read in the stream."""

    def __init__(self) -> None:
        self.found: asyncio.Future[set[int]] = asyncio.get_running_loop().create_future()

    def done(self) -> bool:
        """Whether it is decided."""
        return self.found.done()

    def counts(self, partitions: set[int]) -> None:
        """It was the owner's in these."""
        settle(self.found, partitions)

    def set_result(self, offset: int, /) -> None:
        """It is kept; whether it counts, who reads it says."""

    def set_exception(self, error: QueueError, /) -> None:
        """It is not kept."""
        settle(self.found, error)


class Counting:
    """Those of one member, each with the name that it had then, and a number that grows."""

    def __init__(self) -> None:
        self._number = 0
        self._waiting: dict[tuple[str, int], Counted] = {}

    def following(self) -> int:
        """The number of the next one."""
        self._number += 1
        return self._number

    def begin(self, who: str) -> tuple[int, Counted]:
        """The next one. End it."""
        number = self.following()
        counted = self._waiting[who, number] = Counted()
        return number, counted

    def end(self, who: str, number: int) -> None:
        """Nobody waits for it any more."""
        del self._waiting[who, number]

    def read(self, who: str, number: int, changed: set[int] | None) -> None:
        """It was read: in these it was the owner's. None: that can't be told, and it has to be said again."""
        if (counted := self._waiting.get((who, number))) is None:
            return
        if changed is None:
            counted.set_exception(QueueUnavailable("the group's stream was cut where it tells what became of a commit"))
        else:
            counted.counts(changed)

    def void(self) -> None:
        """Whether they count or not: what they were for is not ours any more."""
        for counted in self._waiting.values():
            counted.counts(set())
