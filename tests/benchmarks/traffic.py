"""Records like the ingest's, through a queue and out of it again."""

import asyncio
import time
from collections.abc import Callable

from forebay.processors.testing import event
from forebay.queues.contract import Commit, Consumer, Producer, Record
from forebay.schemas.codec import codec

PARTITIONS = 12
PORTALS = 1000
COMMIT_EVERY_S = 1.0
NS_A_MS = 1_000_000
HEADERS = tuple((f"ce_header{number}", b"0192f0c1-4f2e-7c3a") for number in range(7))
#: Some 650 bytes, as an application's event has them.
VALUE = codec().encode(
    event(
        "ONCRMDEALUPDATE",
        data={"FIELDS": {"ID": "7"}},
        fields={f"auth[field{number}]": f"{number:032x}" for number in range(5)},
    )
)


class Owner:
    """Knows when every partition is ours."""

    def __init__(self) -> None:
        self.partitions: set[int] = set()
        self.all = asyncio.Event()

    def assigned(self, partition: int, committed: Commit) -> None:
        self.partitions.add(partition)
        if len(self.partitions) == PARTITIONS:
            self.all.set()

    async def revoked(self, partition: int) -> None:
        self.partitions.discard(partition)

    def lost(self, partition: int) -> None:
        self.partitions.discard(partition)

    def rewritten(self, partition: int, offset: int) -> None:
        """As in the contract."""

    def gap(self, partition: int, start: int, end: int) -> None:
        """As in the contract."""


def record(number: int) -> Record:
    key = f"portal{number % PORTALS}.bitrix24.ru"
    return Record(key=key, value=VALUE, timestamp_ms=time.time_ns() // NS_A_MS, headers=HEADERS)


async def send_all(
    producer: Producer, stream: str, concurrency: int, records: int, made: Callable[[int], Record] = record
) -> list[float]:
    """The seconds that each call took, with so many at a time."""
    numbers, took = iter(range(records)), []

    async def sender() -> None:
        for number in numbers:
            started = time.perf_counter()
            await producer.send(stream, made(number))
            took.append(time.perf_counter() - started)

    await asyncio.gather(*(sender() for _ in range(concurrency)))
    return sorted(took)


async def drain(consumer: Consumer, records: int) -> list[float]:
    """The seconds from sent to fetched, of so many; commits once a second and at the end, as the worker does."""
    ages: list[float] = []
    finished: dict[int, Commit] = {}
    committed_at = time.monotonic()
    while len(ages) < records:
        found = await consumer.fetch(500, 1.0)
        now_ms = time.time_ns() // NS_A_MS
        ages += [(now_ms - one.timestamp_ms) / 1000 for one in found]
        finished |= {one.partition: Commit(offset=one.offset + 1) for one in found}
        if time.monotonic() - committed_at > COMMIT_EVERY_S or len(ages) >= records:
            await consumer.commit(finished)
            finished, committed_at = {}, time.monotonic()
    return sorted(ages)
