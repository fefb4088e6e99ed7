"""What Forebay asks of the place where facts about portals are kept.

It is a log of small facts with a key each, and the last one of a key stays: a compacted topic of Kafka, or a table.
What follows from the facts is found by each reader for itself (book.py), and is the same for all of them, whether or
not what was replaced is still there.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Fact(NamedTuple):
    """Something about a portal. Without a value it takes back what was said under its key."""

    #: ASCII, at most 255 characters.
    key: str
    value: bytes | None


class PlacedFact(NamedTuple):
    """A fact with its place in the log. When it is replaced, the new one has a later place."""

    offset: int
    key: str
    value: bytes | None


class Chapter(NamedTuple):
    """What was read: facts in the order of their places, and where to read on."""

    facts: list[PlacedFact]
    following: int
    #: Whether this was all that stood there. While others write without a pause it may never be known: `end` tells
    #: how far to read.
    is_end: bool


class PortalStore(Protocol):
    """The facts about the portals of one topic. Used on one event loop; many processes of many hosts share them."""

    async def ensure(self, *, only_plan: bool = False) -> list[str]:
        """Make what is missing, and return it, a sentence each; or only tell what would be made.

        Safe to call from many processes at once. Raises `QueueUnavailable`.
        """

    async def put(self, facts: Sequence[Fact]) -> int:
        """Return once the facts are kept, durably and in this order; the place of the last one.

        Raises `QueueUnavailable`: then some may be kept all the same, or come to be. Cancelling takes nothing back.
        """

    async def end(self) -> int:
        """The place of the next fact: who has read up to it knows all that was kept before the call."""

    async def read(self, start: int, timeout_s: float) -> Chapter:
        """Facts at or after the place; none when none came within the time, or less. Only one call may run at a time.

        A key's facts before its last one may be missing. Raises `QueueUnavailable`, and then reading begins anew at 0:
        the store may be another one by then.
        """

    async def close(self) -> None:
        """Let go of the store. Idempotent. Cancelled, it waits for nothing more, and lets go all the same."""
