"""Records of a few portals, and how far groups are with them."""

from forebay.console.settings import Settings
from forebay.processors.notes import Place, encode_note
from forebay.queues.contract import Commit, Position, Record, StoredRecord
from forebay.queues.memory import MemoryProducer, MemoryQueue
from forebay.schemas.portal import partition_of

TOPIC = "bitrix24.events"
A, B = "a.example", "b.example"
GIVEN = Settings(partitions=4)
DAY_MS = 86_400_000


def a_record(portal: str, number: int) -> Record:
    return Record(key=portal, value=b"%s %d" % (portal.encode(), number), timestamp_ms=number, headers=(("h", b"x"),))


async def put(queue: MemoryQueue, stream: str, *records: Record) -> list[Position]:
    producer = MemoryProducer(queue)
    return [await producer.send(stream, record) for record in records]


def commit(
    queue: MemoryQueue, group: str, portal: str, offset: int, runs: list[tuple[int, int]], place: Place | None = None
) -> None:
    """The group has finished what stands before the offset in the portal's partition, and the runs behind it."""
    note = encode_note(offset, runs, 1000, place or Place())
    number = partition_of(portal, len(queue.logs[TOPIC]))
    queue.group_states[TOPIC, group].commits[number] = Commit(offset=offset, note=note)


def there(queue: MemoryQueue, stream: str = TOPIC) -> list[StoredRecord]:
    return [record for log in queue.logs.get(stream, ()) for record in log]


def values(queue: MemoryQueue, portal: str) -> list[int]:
    """The numbers of the portal's events, in their order."""
    return [int(one.value.split()[1]) for one in there(queue) if one.key == portal]
