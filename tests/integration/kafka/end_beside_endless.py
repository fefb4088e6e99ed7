"""Uses every part of a queue whose clients never close, closes all of them, and ends: `BOOTSTRAP STREAM`."""

import asyncio
import sys
import tempfile
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from forebay.queues.contract import Commit
from forebay.queues.kafka import clients
from forebay.queues.portals.contract import Fact
from tests.kafka.members import joined, send
from tests.kafka.opener import opening

NEVER = Event()


class EndlessAdmin(AdminClient):
    def __exit__(self, *why: Any) -> None:
        NEVER.wait()


class EndlessConsumer(Consumer):
    def close(self) -> None:
        NEVER.wait()


async def main(bootstrap: str, stream: str, folder: Path) -> None:
    """Print what was closed."""
    async with opening(folder) as opened:
        queue = opened(bootstrap)
        partition = await send(queue, stream, range(3))
        consumer, inspector, store = await joined(queue, stream), queue.inspector(), queue.portals(stream)
        await consumer.commit({partition: Commit(offset=2)})
        assert (await inspector.groups(stream))[stream][partition].offset == 2
        assert len(await inspector.read(stream, partition, 0, 3)) == 3
        await store.ensure()
        await store.put([Fact("portal", b"fact")])
        while not (await store.read(0, 1.0)).facts:
            pass
        await consumer.close()
        await inspector.close()
        await store.close()
        await queue.close()
    print("closed")


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patched, tempfile.TemporaryDirectory() as made:
        patched.setattr(clients, "AdminClient", EndlessAdmin)
        patched.setattr(clients, "Consumer", EndlessConsumer)
        asyncio.run(main(sys.argv[1], sys.argv[2], Path(made)))
