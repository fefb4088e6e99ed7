"""Connections that are to lead to one server, while their name comes to lead to another."""

from dataclasses import dataclass, field

import pytest

from forebay.queues.errors import QueueUnavailable
from forebay.queues.threads.connection_thread import ConnectionThread, Lives


class LostError(Exception):
    """What the store raises."""


@dataclass
class Way:
    """A connection to the server of this name."""

    server: str

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass
class Store:
    """A name that leads to a server, and how often somebody has connected by it."""

    server: str = "old"
    made: int = 0
    taking_no_writes: set[str] = field(default_factory=set)
    name = "store"

    def connect(self) -> Way:
        self.made += 1
        return Way(self.server)

    def current(self, connection: Way) -> bool:
        return True

    def remedy(self, error: Exception) -> str:
        return str(error)

    def read(self, way: Way) -> str:
        return way.server

    def write(self, way: Way) -> str:
        if way.server in self.taking_no_writes:
            raise LostError("read only")
        return way.server

    def threads(self) -> tuple[ConnectionThread[Way], ConnectionThread[Way]]:
        lives = Lives()
        reading, writing = (
            ConnectionThread(self, name, errors=(LostError,), lives=lives) for name in ("read", "write")
        )
        return reading, writing


async def test_who_reads_follows_who_was_refused_and_connected_anew() -> None:
    store = Store()
    reading, writing = store.threads()
    assert [await reading.run(store.read), await writing.run(store.write)] == ["old", "old"]

    store.taking_no_writes.add("old")
    with pytest.raises(QueueUnavailable):
        await writing.run(store.write)
    # By now the name still leads there: who connects anew here must do so once more.
    assert await reading.run(store.read) == "old"
    store.server = "new"

    assert [await writing.run(store.write), await reading.run(store.read)] == ["new", "new"]
    for thread in (reading, writing):
        await thread.close()


async def test_connections_that_all_were_lost_are_made_anew_only_so_often() -> None:
    store = Store()
    threads = store.threads()
    for thread in threads:
        await thread.run(store.write)
    store.taking_no_writes.add("old")
    for thread in threads:
        with pytest.raises(QueueUnavailable):
            await thread.run(store.write)
    store.server, store.made = "new", 0

    for _ in range(3):
        for thread in threads:
            assert await thread.run(store.write) == "new"

    assert store.made == len(threads)
    for thread in threads:
        await thread.close()
