"""A partition of a group, and the worker's part that owns it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from forebay.processors.commits import Commits
from forebay.processors.consequences import Consequences
from forebay.processors.dead_letters import DeadLetters
from forebay.processors.health import Health
from forebay.processors.held import Held
from forebay.processors.lanes import Lanes
from forebay.processors.metrics import Tally, build_metrics
from forebay.processors.ownership import Ownership
from forebay.processors.partitions import Lane, Partition
from forebay.processors.settings import WorkerSettings
from forebay.queues.contract import PlacedRecord, StoredRecord
from forebay.queues.memory import MemoryQueue

TOPIC, GROUP, PORTAL = "events", "shop", "a.example"
NOW = 1000.0


@dataclass(kw_only=True)
class Place:
    """A group's one partition, and its owner."""

    queue: MemoryQueue
    held: Held
    health: Health
    registry: CollectorRegistry
    ownership: Ownership
    then: Consequences

    def open(self) -> Partition:
        """The partition, which is ours and open."""
        partition = self.ownership.open_one(0)
        assert partition is not None
        return partition

    def take_in(self, *offsets: int) -> tuple[Partition, Lane, list[StoredRecord]]:
        """Records that were fetched."""
        partition = self.open()
        records: list[StoredRecord] = [
            PlacedRecord(stream=TOPIC, partition=0, offset=offset, key=PORTAL, value=b"value", timestamp_ms=0)
            for offset in offsets
        ]
        self.held.add(partition.watermark.receive_all(records))
        Lanes().add(partition, records)
        return partition, partition.lanes[PORTAL], records

    def committed(self) -> int:
        """Up to where the group is."""
        return self.queue.group_states[TOPIC, GROUP].commits[0].offset


@asynccontextmanager
async def placed() -> AsyncIterator[Place]:
    """It is read from its beginning on."""
    queue, held, health = MemoryQueue(), Held(1000, 1 << 30), Health()
    await queue.ensure([TOPIC], 1)
    metrics = build_metrics(registry := CollectorRegistry())
    consumer, letters = queue.consumer(TOPIC, GROUP), DeadLetters(queue.producer(), TOPIC, health, None)
    ownership = Ownership(Commits(consumer, 4096, health), held, metrics, grace_s=60, now=lambda: NOW)
    then = Consequences(
        WorkerSettings(), letters, held, Tally(metrics), now=lambda: NOW, draw=lambda low, high: high, tracer=None
    )
    await consumer.start(ownership)
    yield Place(queue=queue, held=held, health=health, registry=registry, ownership=ownership, then=then)
    await consumer.close()
