"""What the owner of a partition and operators write, by hand."""

from dataclasses import dataclass, field
from typing import Any

from forebay.console.orders.writer import OrderWriter
from forebay.console.planning import Planned
from forebay.processors.notes import Place, encode_note
from forebay.processors.parking import entries
from forebay.processors.parking.orders import Order, What
from forebay.processors.parking.state import PortalState
from forebay.queues.contract import Commit, GroupState, PlacedRecord, Record
from forebay.queues.memory import MemoryQueue
from forebay.schemas import names
from forebay.schemas.portal import partition_of

TOPIC, GROUP = "bitrix24.events", "forebay"
A = "a.example"
HERE = partition_of(A, 4)
#: Another portal of the same partition.
B = next(f"b{number}.example" for number in range(99) if partition_of(f"b{number}.example", 4) == HERE)


class Owner:
    """Takes every partition that it is given."""

    def assigned(self, partition: int, committed: Commit) -> None: ...

    async def revoked(self, partition: int) -> None: ...

    def lost(self, partition: int) -> None: ...

    def rewritten(self, partition: int, offset: int) -> None: ...

    def gap(self, partition: int, start: int, end: int) -> None: ...


@dataclass(kw_only=True)
class Worker:
    """What a partition's owner writes, by hand."""

    queue: MemoryQueue
    generation: int = 1
    place: Place = field(default_factory=Place)
    owner: str | None = "worker-1"
    spilled: dict[str, int] = field(default_factory=dict)

    async def put(self, record: Record) -> int:
        return (await self.queue.producer().send(names.parked(TOPIC), record)).offset

    async def claim(self) -> None:
        await self.put(entries.claim(A, (GROUP, self.generation), 0, 1))

    async def spill(self, portal: str, offset: int) -> None:
        own = PlacedRecord(
            key=portal, value=b"x", timestamp_ms=5, headers=(), stream=TOPIC, partition=HERE, offset=offset
        )
        after = self.spilled.get(portal, -1)
        await self.put(entries.spill(own, (GROUP, self.generation), after, 1000 + offset))
        self.spilled[portal] = offset

    async def tell(self, portal: str, **state: Any) -> None:
        await self.put(entries.statement(portal, PortalState(**state), (GROUP, self.generation), 1))

    @property
    def committed(self) -> GroupState:
        return GroupState(offset=10, note=encode_note(10, [], 1000, self.place), owner=self.owner)


def order_writer(queue: MemoryQueue, who: str = "anna@host", at_ms: int = 7) -> OrderWriter:
    """The writer of an operator's orders."""
    return OrderWriter(producer=queue.producer(), topic=TOPIC, who=who, why="a test", now_ms=lambda: at_ms)


async def order(queue: MemoryQueue, what: What, portal: str = A, group: str = GROUP) -> Order:
    return await order_writer(queue).put(portal, what, group, HERE)


async def replay(queue: MemoryQueue, *offsets: int, portal: str = A) -> Order:
    planned = Planned(portal=portal, partition=HERE, group=GROUP, stream=names.dead(TOPIC))
    for offset in offsets:
        planned.add(offset, offset)
    (written,) = await order_writer(queue).put_all(planned, What.REPLAY)
    return written
