"""One thread at a time is in a client: confluent-kafka has a second one look every millisecond whether nobody is in,
and beside one that polls again and again that is never."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer

from forebay.queues.contract import Commit
from forebay.queues.kafka import clients
from tests.kafka.fixtures import Kafka
from tests.kafka.members import PARTITIONS, Owner, fetch, joined, send
from tests.kafka.opener import Opener

pytestmark = pytest.mark.kafka

_CALLS = (
    *("assign", "assignment", "close", "commit", "committed", "consume", "get_watermark_offsets", "incremental_assign"),
    *("incremental_unassign", "offsets_for_times", "pause", "poll", "position", "resume", "seek", "subscribe"),
    *("unsubscribe", "list_topics", "memberid"),
)


class Meetings:
    """Which calls came while another thread was in the same client."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self.calls = 0

    def client(self, *arguments: Any, **named: Any) -> Consumer:
        """One that is watched."""
        inside: list[tuple[int, str]] = []

        def watched(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
            def entered(_: Consumer, *given: Any, **more: Any) -> Any:
                here = threading.get_ident(), name
                self.calls += 1
                self.found += [(one, name) for thread, one in list(inside) if thread != here[0]]
                inside.append(here)
                try:
                    return call(made, *given, **more)
                finally:
                    inside.remove(here)

            return entered

        kind = type("Watched", (Consumer,), {name: watched(name, getattr(Consumer, name)) for name in _CALLS})
        made: Consumer = kind(*arguments, **named)
        return made


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
async def test_no_thread_comes_into_a_client_that_another_is_in(
    kafka: Kafka, opened: Opener, stream: str, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    meetings = Meetings()
    monkeypatch.setattr(clients, "Consumer", meetings.client)
    queue = opened(kafka.bootstrap, kafka={"group.protocol": protocol})
    partition = await send(queue, stream, range(20))
    inspector, portals = queue.inspector(), queue.portals(stream)
    await portals.ensure()

    first = await joined(queue, stream, owner := Owner())
    assert await fetch(first, 20) == list(range(20))
    second = await joined(queue, stream, Owner(), owns=2)
    await owner.owns(2)
    await asyncio.gather(first.commit({number: Commit(offset=0) for number in owner.owned}), second.close())
    await owner.owns(PARTITIONS)
    # Whatever is closed is so while it reads.
    reading = [first.fetch(1, 30), inspector.read(stream, partition, 0, 20), portals.read(0, 30)]
    tasks = [asyncio.ensure_future(one) for one in reading]
    await inspector.groups(stream, [stream])
    await asyncio.gather(first.close(), inspector.close(), portals.close())
    await asyncio.wait(tasks)

    assert meetings.calls
    assert meetings.found == []
