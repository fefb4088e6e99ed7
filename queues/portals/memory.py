"""The facts in this process's memory, for tests: everything of the contract but durability."""

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress

from forebay.queues.errors import QueueUnavailable, UnknownStream

from .contract import Chapter, Fact, PlacedFact

#: Facts of one chapter.
_CHAPTER_FACTS = 1000


class FactLog:
    """The facts of one topic. `down` makes every call fail, as a store that is gone does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.down = self.is_made = False
        self.facts: list[PlacedFact] = []
        self.written = asyncio.Event()

    @property
    def end(self) -> int:
        """The place of the next fact."""
        return self.facts[-1].offset + 1 if self.facts else 0

    def check(self) -> None:
        """Raise unless it is there."""
        if self.down:
            raise QueueUnavailable("the memory queue was put down")
        if not self.is_made:
            raise UnknownStream(f"there is no stream {self.name}; `forebay topics ensure` makes it")

    def compact(self) -> None:
        """Leave the last fact of each key alone."""
        last = {fact.key: fact.offset for fact in self.facts}
        self.facts = [fact for fact in self.facts if last[fact.key] == fact.offset]


class MemoryPortalStore:
    """One reader and writer of the log."""

    def __init__(self, log: FactLog) -> None:
        self._log = log

    async def ensure(self, *, only_plan: bool = False) -> list[str]:
        """As in the contract."""
        if self._log.down:
            self._log.check()
        made = [] if self._log.is_made else [f"stream {self._log.name}"]
        self._log.is_made = self._log.is_made or not only_plan
        return made

    async def put(self, facts: Sequence[Fact]) -> int:
        """As in the contract."""
        self._log.check()
        for fact in facts:
            self._log.facts.append(PlacedFact(self._log.end, *fact))
        written, self._log.written = self._log.written, asyncio.Event()
        written.set()
        return self._log.end - 1

    async def end(self) -> int:
        """As in the contract."""
        self._log.check()
        return self._log.end

    async def read(self, start: int, timeout_s: float) -> Chapter:
        """As in the contract."""
        self._log.check()
        written = self._log.written
        if start >= self._log.end:
            with suppress(TimeoutError):
                await asyncio.wait_for(written.wait(), timeout_s)
            self._log.check()
        first = bisect_left(self._log.facts, start, key=lambda fact: fact.offset)
        facts = self._log.facts[first : first + _CHAPTER_FACTS]
        following = facts[-1].offset + 1 if facts else start
        return Chapter(facts, following, following >= self._log.end)

    async def close(self) -> None:
        """As in the contract."""
