from collections.abc import Callable, Mapping

from forebay.console.group_lag import lags, read_by_others
from forebay.processors.parking import entries
from forebay.processors.parking.state import PortalState
from forebay.queues.contract import Commit, Record
from forebay.queues.memory import MemoryQueue
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from forebay.schemas.portal import partition_of

from .by_hand import Owner

TOPIC = "bitrix24.events"
PORTAL = "one.bitrix24.example"
HERE = partition_of(PORTAL, 4)
NOW_MS = 1_772_366_400_000 + 60_000


async def test_a_partition_lags_by_its_unfinished_records(
    queue: MemoryQueue, event: Callable[..., object], record: Callable[..., Record]
) -> None:
    for number in range(10):
        await queue.producer().send(TOPIC, record(event(number, PORTAL)))
    consumer = queue.consumer(TOPIC, "forebay")
    await consumer.start(Owner())
    await consumer.commit({HERE: Commit(offset=4)})

    rows: Mapping[object, Mapping[str, object]] = {
        row["partition"]: row for row in await lags(queue.inspector(), QueueSettings(), None, NOW_MS)
    }

    owner = consumer.name  # type: ignore[attr-defined]  # the memory queue's
    assert rows[HERE] == {"partition": HERE, "records": 6, "seconds": 56.0, "owner": owner, "parked": 0}
    assert [row["records"] for partition, row in rows.items() if partition != HERE] == [0, 0, 0]


async def test_a_portal_lags_by_its_own_records(
    queue: MemoryQueue, event: Callable[..., object], record: Callable[..., Record]
) -> None:
    other = next(f"p{number}.example" for number in range(99) if partition_of(f"p{number}.example", 4) == HERE)
    for number in range(10):
        await queue.producer().send(TOPIC, record(event(number, PORTAL if number % 2 else other)))

    rows = await lags(queue.inspector(), QueueSettings(), PORTAL, NOW_MS)

    assert rows == [{"portal": PORTAL, "partition": HERE, "records": 5, "seconds": 59.0, "owner": None, "parked": 0}]


async def test_parked_records_are_shown_beside_those_that_lag(
    queue: MemoryQueue, record: Callable[..., Record]
) -> None:
    other = next(f"p{number}.example" for number in range(99) if partition_of(f"p{number}.example", 4) == HERE)
    for portal, count in ((PORTAL, 3), (other, 2)):
        state = PortalState(records=count, last=9, since_ms=1)
        statement = entries.statement(portal, state, ("forebay", 1), 1)
        await queue.producer().send(names.parked(TOPIC), statement)

    assert not queue.group_states[TOPIC, "forebay"].owners, "the group has been there"

    all_of_it = await lags(queue.inspector(), QueueSettings(), None, NOW_MS)
    (of_portal,) = await lags(queue.inspector(), QueueSettings(), PORTAL, NOW_MS)
    of_another_group = await lags(queue.inspector(), QueueSettings(group="another"), None, NOW_MS)

    assert {row["partition"]: row["parked"] for row in all_of_it} == {at: 5 if at == HERE else 0 for at in range(4)}
    assert of_portal["parked"] == 3
    assert {row["parked"] for row in of_another_group} == {0}


async def test_a_group_that_never_came_lags_by_everything(
    queue: MemoryQueue, event: Callable[..., object], record: Callable[..., Record]
) -> None:
    await queue.producer().send(TOPIC, record(event(1)))

    rows = await lags(queue.inspector(), QueueSettings(group="new"), None, NOW_MS)

    assert sum(int(str(row["records"])) for row in rows) == 1
    assert {row["owner"] for row in rows} == {None}


async def test_a_group_that_never_came_is_told_of_those_that_did(queue: MemoryQueue) -> None:
    await queue.consumer(TOPIC, "forebay-crm").start(Owner())

    inspector = queue.inspector()

    assert await read_by_others(inspector, TOPIC, "forebay") == ["forebay-crm"]
    assert await read_by_others(inspector, TOPIC, "forebay-crm") == []
