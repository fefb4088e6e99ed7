"""What is known of portals while others go on writing."""

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
