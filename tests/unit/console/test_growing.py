"""The partitions stay as many as they are while anything waits under the old number."""

import pytest

from forebay.console.growing import Growth, NotQuiet
from forebay.processors.parking import entries
from forebay.processors.parking.orders import What
from forebay.processors.parking.state import PortalState
from forebay.queues.contract import Record
from forebay.queues.errors import Unsupported
from forebay.queues.memory import MemoryConsumer, MemoryQueue
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from forebay.schemas.portal import partition_of

from .by_hand import order_writer

TOPIC = "bitrix24.events"
A = "a.example"
HERE = partition_of(A, 4)


async def no_sleep(seconds: float) -> None:
    """The watch without its pauses."""


async def reasons(queue: MemoryQueue) -> str:
    growth = Growth(queue=queue, inspector=queue.inspector(), settings=QueueSettings(), partitions=8, sleep=no_sleep)
    try:
        await growth.watched()
    except NotQuiet as error:
        return str(error)
    return ""


async def test_a_queue_that_can_not_says_so(queue: MemoryQueue) -> None:
    growth = Growth(queue=queue, inspector=queue.inspector(), settings=QueueSettings(), partitions=8)

    with pytest.raises(Unsupported, match="queue_url"):
        await growth.plan()


async def put(queue: MemoryQueue, stream: str, record: Record) -> None:
    await queue.producer().send(stream, record)


async def test_it_is_refused_while_a_portal_is_parked_in_any_group(queue: MemoryQueue) -> None:
    quiet = await reasons(queue)
    # A group is known from its first look at the queue on.
    assert not queue.group_states[TOPIC, "shop"].owners
    for group, state in (("shop", PortalState(records=1, last=3)), ("forebay", PortalState(is_held=True))):
        await put(queue, names.parked(TOPIC), entries.statement(A, state, (group, 1), 1))

    refused = await reasons(queue)
    for group in ("shop", "forebay"):
        await put(queue, names.parked(TOPIC), entries.statement(A, PortalState(), (group, 1), 1))

    assert quiet == ""
    assert "1 parked portals or orders wait in group shop" in refused
    assert "1 parked portals or orders wait in group forebay" in refused
    assert await reasons(queue) == ""


async def test_it_is_refused_while_an_order_waits_for_a_worker(queue: MemoryQueue) -> None:
    await order_writer(queue).put(A, What.HOLD, "forebay", HERE)

    assert "parked portals or orders wait in group forebay" in await reasons(queue)


@pytest.mark.parametrize("stream", [names.dead(TOPIC), names.quarantine(TOPIC)])
async def test_it_is_refused_while_a_letter_is_open_since_an_order_could_not_name_it_afterwards(
    queue: MemoryQueue, stream: str
) -> None:
    await put(queue, stream, Record(key=A, value=b"x", timestamp_ms=0))

    assert f"1 open in {stream}: replay or discard them first" in await reasons(queue)


async def test_it_can_be_asked_while_some_streams_have_more_partitions_already(queue: MemoryQueue) -> None:
    for stream in (TOPIC, names.dead(TOPIC), names.quarantine(TOPIC)):
        queue.logs[stream] += [[] for _ in range(4)]

    assert await reasons(queue) == ""


async def test_a_worker_that_starts_while_it_is_watched_is_seen(queue: MemoryQueue) -> None:
    async def start(_: float) -> None:
        queue.group_states[TOPIC, "shop"].owners[2] = MemoryConsumer(queue, TOPIC, "shop")

    growth = Growth(queue=queue, inspector=queue.inspector(), settings=QueueSettings(), partitions=8, sleep=start)

    with pytest.raises(NotQuiet, match="workers of group shop run, with partitions 2"):
        await growth.watched()
