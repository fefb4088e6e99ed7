"""What is known of portals while others go on writing."""

import pytest

from forebay.queues.memory import MemoryQueue
from forebay.queues.portals.contract import Chapter, Fact, PortalStore
from forebay.queues.portals.following import Following

PATIENCE_S = 5.0


class Busy:
    """A store into which somebody writes again before each read: never has a reader all that stands there."""

    def __init__(self, store: PortalStore) -> None:
        self._store = store
        self.ensure, self.put, self.end, self.close = store.ensure, store.put, store.end, store.close

    async def read(self, start: int, timeout_s: float) -> Chapter:
        await self._store.put([Fact("another", b"1")])
        chapter = await self._store.read(start, timeout_s)
        return chapter._replace(is_end=False)


async def test_who_begins_while_others_write_without_a_pause_knows_what_stood_there() -> None:
    store = MemoryQueue().portals("events")
    await store.ensure()
    last = await store.put([Fact("one", b"1"), Fact("other", b"2")])
    following = Following(Busy(store))
    following.open()

    await following.reached(last, PATIENCE_S)

    await following.close()


class Slow:
    """A store that gives one fact at a time, and into which another is written while the first is read."""

    def __init__(self, store: PortalStore) -> None:
        self._store = store
        self.ensure, self.put, self.close = store.ensure, store.put, store.close
        #: What was answered to who asked for it.
        self.ends: list[int] = []

    async def end(self) -> int:
        self.ends.append(await self._store.end())
        return self.ends[-1]

    async def read(self, start: int, timeout_s: float) -> Chapter:
        chapter = await self._store.read(start, timeout_s)
        if not start:
            await self._store.put([Fact("late", b"3")])
        return Chapter(chapter.facts[:1], start + len(chapter.facts[:1]), is_end=False)


async def test_what_has_come_while_a_large_store_was_read_is_known_before_it_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("forebay.queues.portals.following._OLD_S", 0.0)
    store = MemoryQueue().portals("events")
    await store.ensure()
    await store.put([Fact("one", b"1"), Fact("other", b"2")])
    following = Following(slow := Slow(store))
    following.open()

    await following.reached(-1, PATIENCE_S)

    await following.close()
    assert slow.ends == [2, 3, 3]
