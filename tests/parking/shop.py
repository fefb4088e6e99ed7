"""A world whose handlers a test writes itself, in virtual time."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from forebay import Handlers, PortalEvent
from forebay.processors.testing import event
from forebay.processors.worker import Worker
from forebay.queues.contract import Record, StoredRecord
from forebay.queues.memory import MemoryProducer
from forebay.schemas import names
from forebay.schemas.codec import codec
from tests.parking.moody import TOPIC
from tests.parking.world import World

PORTAL = "shop.example"


def id_of(event: PortalEvent) -> int:
    """The object's id."""
    data: Any = event.data
    return int(data["FIELDS"]["ID"])


@dataclass(kw_only=True)
class Shop:
    """The world, and a list of what the handlers were given: of each call the ids."""

    world: World = field(default_factory=World)
    calls: list[list[int]] = field(default_factory=list)
    at: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world.handlers = Handlers()

    def on(self, *names: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a function, whose calls are written down."""

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            async def written_down(given: Any) -> None:
                self.write_down(given)
                await function(given)

            self.world.handlers.on(*names, **options)(written_down)
            return function

        return register

    def write_down(self, given: PortalEvent | Sequence[PortalEvent]) -> None:
        """A call."""
        events = [given] if isinstance(given, PortalEvent) else given
        self.calls.append([id_of(one) for one in events])
        self.at.append(self.world.loop.time())

    def send(self, name: str, *ids: int, portal: str = PORTAL, **fields: Any) -> None:
        """An event for each id."""
        for one in ids:
            value = codec().encode(event(name, data={"FIELDS": {"ID": one, **fields}}, portal=portal))
            self.put(value, portal)

    def put(self, value: bytes, portal: str = PORTAL) -> None:
        """A record, whatever it holds."""
        made = Record(key=portal, value=value, timestamp_ms=int(self.world.loop.time() * 1000))
        self.world.run(MemoryProducer(self.world.queue).send(TOPIC, made))

    def start(self, **settings: Any) -> Worker:
        """A worker."""
        return self.world.start(**settings)

    def let(self, seconds: float) -> None:
        """Let time pass."""
        self.world.let(seconds)

    def dead(self) -> list[StoredRecord]:
        """Every dead letter."""
        return [record for log in self.world.queue.logs[names.dead(TOPIC)] for record in log]

    def dead_ids(self) -> list[int]:
        """The object's id of each."""
        return [id_of(codec().decode(one.value)) for one in self.dead()]

    def committed(self) -> int:
        """How many records are committed."""
        return sum(commit.offset for commit in self.world.commits().values())

    async def nap(self, seconds: float) -> None:
        """What a handler does that takes its time."""
        await asyncio.sleep(seconds)
