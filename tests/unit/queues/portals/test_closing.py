"""A store that hangs holds no stop up."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.queues.errors import QueueUnavailable
from forebay.queues.memory import MemoryQueue
from forebay.queues.opening import open_queue
from forebay.queues.portals.contract import Chapter, Fact
from forebay.queues.portals.registry import PortalRegistry
from forebay.queues.portals.tokens import TokenKeys
from forebay.queues.settings import QueueSettings

#: Far more than any of these needs.
PATIENCE_S = 20.0


@pytest.fixture
def silent_broker() -> Iterator[str]:
    """An address that takes connections, and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


async def test_a_store_that_never_closes_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forebay.queues.portals.registry._CLOSE_S", 0.01)
    store = MemoryQueue().portals("events")
    monkeypatch.setattr(store, "close", asyncio.Event().wait)
    registry = PortalRegistry(store, TokenKeys({}))
    registry.open()

    async with asyncio.timeout(PATIENCE_S):
        await registry.close()


class HangingReader:
    """Reads until it may end."""

    def __init__(self) -> None:
        self.may_end, self.begun = threading.Event(), threading.Event()
        self.waited_for = False

    def read(self, start: int, timeout_s: float) -> Chapter:
        self.begun.set()
        self.waited_for = not self.may_end.wait(PATIENCE_S)
        return Chapter([], start, True)

    def close(self) -> None:
        """There is nothing to let go of."""


async def test_the_event_loop_goes_on_while_a_read_of_kafka_hangs_at_the_close(
    silent_broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = open_queue(QueueSettings(queue_url=f"kafka://{silent_broker}", data_dir=tmp_path))
    store, reader = queue.portals("events"), HangingReader()
    monkeypatch.setattr(store, "_reader", reader)
    read = asyncio.create_task(store.read(0, 0.1))
    await asyncio.to_thread(reader.begun.wait)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await store.close()
    reader.may_end.set()

    await read
    assert not reader.waited_for
    await queue.close()


async def test_of_a_kafka_that_hangs_a_close_that_is_cancelled_gives_up_what_it_has_not_taken(
    silent_broker: str, tmp_path: Path
) -> None:
    queue = open_queue(QueueSettings(queue_url=f"kafka://{silent_broker}", data_dir=tmp_path))
    store = queue.portals("events")
    put = asyncio.create_task(store.put([Fact("m//left/x", b"{}")]))
    read = asyncio.create_task(store.read(0, 0.1))
    await asyncio.sleep(0)

    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await store.close()

        with pytest.raises(QueueUnavailable):
            await put
        with pytest.raises(QueueUnavailable):
            await read
    await store.close()
    await queue.close()
