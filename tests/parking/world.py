"""Workers over a queue in memory whose parked stream fails in every way, driven step by step in virtual time."""

import asyncio
from collections import Counter
from collections.abc import Collection, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from forebay import Handlers, PortalEvent, Retry
from forebay.processors.crashes.caution import Caution
from forebay.processors.dedup.marks import Marks
from forebay.processors.notes import Place, decode_note
from forebay.processors.parking.orders import Order, Span, What, written
from forebay.processors.parking.trimming import Trimming
from forebay.processors.settings import WorkerSettings
from forebay.processors.testing import event
from forebay.processors.virtual_time import VirtualLoop
from forebay.processors.worker import Worker
from forebay.queues.contract import Commit, Record
from forebay.queues.errors import QueueError
from forebay.queues.memory import MemoryProducer
from forebay.schemas import names
from forebay.schemas.codec import codec
from forebay.schemas.portal import partition_of
from tests.parking.books import Books, kind_of
from tests.parking.moody import TOPIC, MoodyProducer, MoodyQueue

GROUP = "shop"
PARTITIONS = 2

#: A portal of each partition.
EACH = tuple(
    next(one for one in map("{}.example".format, range(99)) if partition_of(one, PARTITIONS) == number)
    for number in range(PARTITIONS)
)

#: What was finished so long before a worker's death may not come again: a commit interval, and one on its way.
SETTLED_S = 2.5

#: Who gives a partition back waits for the parked stream so long, and tries again after so long what it refused.
PATIENCE_S, AGAIN_S = 2.0, 1.0

_Result = TypeVar("_Result")


@dataclass(kw_only=True)
class World:
    """The queue, the portals, the workers, and the account of what handlers did."""

    loop: VirtualLoop = field(default_factory=VirtualLoop)
    queue: MoodyQueue = field(default_factory=MoodyQueue)
    handlers: Handlers = field(default_factory=Handlers)
    workers: "dict[Worker, asyncio.Task[int]]" = field(default_factory=dict)
    #: Those that were told to stop, and perhaps have.
    leaving: "list[asyncio.Task[int]]" = field(default_factory=list)
    #: Of handlers with dedup; None: each worker has its own.
    marks: Marks | None = None
    #: Of the worker that is started next.
    caution: Caution | None = None
    #: Portals whose events fail, and the seconds that a handler takes for those of a portal.
    failing: set[str] = field(default_factory=set)
    takes_s: dict[str, float] = field(default_factory=dict)
    #: Portals whose handlers do one event of a batch at a time, and ask for the others again.
    faltering: set[str] = field(default_factory=set)
    running: Counter[str] = field(default_factory=Counter)
    held: set[str] = field(default_factory=set)
    #: Since when everything that workers write is kept; None while it is not.
    sound_since: float | None = 0.0

    def __post_init__(self) -> None:
        self.books = self._open_books()
        self.books.register(self.handlers, self._handle)
        self.queue.given_back = self._given_back
        self.run(self.queue.ensure(names.streams(TOPIC), PARTITIONS))

    def _open_books(self) -> Books:
        return Books(time=self.loop.time)

    @property
    def sent(self) -> Counter[str]:
        """Portal → how many events it had."""
        return self.books.sent

    @property
    def done(self) -> dict[str, list[int]]:
        """Portal → the numbers of the events that are finished, in that order."""
        return self.books.done

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Do this, while everything else goes on."""
        return self.loop.run_until_complete(work)

    def let(self, seconds: float) -> None:
        """Let time pass."""
        self.run(asyncio.sleep(seconds))

    async def _handle(self, given: PortalEvent | list[PortalEvent]) -> None:
        events = given if isinstance(given, list) else [given]
        portal, books = events[0].portal, self.books
        books.begin(portal)
        self.running[portal] += 1
        if self.running[portal] > 1:
            books.faults.append(f"{portal} is handled beside itself")
        if portal in self.held:
            books.faults.append(f"{portal} has a call although it is held")
        try:
            await asyncio.sleep(self.takes_s.get(portal, 0))
            for at, event in enumerate(events):
                self._fail(events, at)
                books.note(event)
        finally:
            self.running[portal] -= 1

    def _fail(self, events: list[PortalEvent], at: int) -> None:
        """Raise, if the handler has trouble with the event at that place."""
        if events[0].portal in self.failing:
            raise ConnectionError("the portal's API is down")
        if events[0].portal in self.faltering and at == 1:
            raise Retry("the others later", done=1)

    def send(self, portal: str, count: int) -> None:
        """So many new events of the portal."""
        self.run(self._send(portal, count))

    async def _send(self, portal: str, count: int) -> None:
        producer = MemoryProducer(self.queue)
        for _ in range(count):
            self.sent[portal] += 1
            kind, number = kind_of(portal), self.sent[portal]
            data = {"FIELDS": {"ID": kind.object(number), "SEQ": number}}
            value = codec().encode(event(kind.name(number), data=data, portal=portal))
            await producer.send(TOPIC, Record(key=portal, value=value, timestamp_ms=int(self.loop.time() * 1000)))

    def order(self, what: What, portal: str, stream: str = names.parked(TOPIC), spans: tuple[Span, ...] = ()) -> None:
        """An operator orders something about a parked portal, or records of another stream."""
        made = Order(
            portal=portal,
            what=what,
            stream=stream,
            spans=spans,
            group=GROUP,
            who="somebody",
            why="a test",
            at_ms=int(self.loop.time() * 1000),
        )
        self.run(MemoryProducer(self.queue).send(names.audit(TOPIC), written(made)))

    @staticmethod
    def partition(portal: str) -> int:
        """Where the portal's records stand."""
        return partition_of(portal, PARTITIONS)

    def commits(self) -> dict[int, Commit]:
        """How far the group is."""
        return self.queue.group_states[TOPIC, GROUP].commits

    def place(self, portal: str) -> Place:
        """From where a new owner of the portal's partition would read who is parked."""
        commit = self.commits()[self.partition(portal)]
        return decode_note(commit.offset, commit.note).place

    def start(self, **more: Any) -> Worker:
        """One more worker, with these settings different from what is usual here."""
        usual: dict[str, Any] = {
            "topic": TOPIC,
            "group": GROUP,
            "partitions": PARTITIONS,
            "tries": 1_000_000,
            "memory_tries": 2,
            "park_first_s": 2.0,
            "park_longest_s": 20.0,
            "max_lane_records": 5,
            "max_held_records": 60,
            "concurrency": 8,
        }
        worker = self.run(self._made(WorkerSettings(**(usual | more))))
        self.workers[worker] = self.loop.create_task(worker.run())
        return worker

    async def _made(self, settings: WorkerSettings) -> Worker:
        clock = self.loop.time
        return Worker(
            settings,
            self.handlers,
            self.queue,
            marks=self.marks,
            caution=self.caution,
            clock=clock,
            present=clock,
            now=clock,
            draw=lambda low, high: high,
        )

    def stop(self, worker: Worker) -> None:
        """As SIGTERM does."""
        self.run(asyncio.wait_for(self.leave(worker), 60))

    def leave(self, worker: Worker) -> "asyncio.Task[int]":
        """The same, and anything may happen meanwhile."""
        self.leaving.append(task := self.workers.pop(worker))
        worker.stop()
        return task

    def kill(self, worker: Worker, zombies: int) -> None:
        """It dies where it stands; of what it has on its way to the parked stream so much may still arrive there."""
        self._excuse(self.sent)
        for partition in list(worker.ownership):
            worker.ownership.lost(partition.number)
        task = self.workers.pop(worker)
        worker.stop()
        self.run(asyncio.wait_for(task, 60))
        waiting, self.queue.mood.waiting = self.queue.mood.waiting, []
        for at, (producer, record, delivery) in enumerate(waiting):
            if delivery.done():
                # Nobody waits for it any more, and that takes it back from nowhere.
                if at < zombies:
                    self.run(_keep(producer, record))
            else:
                self.queue.mood.waiting.append((producer, record, delivery))

    def _given_back(self, partition: int, after_s: float) -> None:
        """What of it may come again: what its owner could not write down for as long as it may wait."""
        if beside := [one for one, calls in self.running.items() if calls and self.partition(one) == partition]:
            self.books.faults.append(f"{beside} have calls, and their partition was given back")
        was_sound = self.sound_since is not None and self.loop.time() - self.sound_since > AGAIN_S
        if after_s > PATIENCE_S - 0.01 and not was_sound:
            self._excuse([portal for portal in self.sent if self.partition(portal) == partition])

    def _excuse(self, portals: Collection[str]) -> None:
        """What of them may come again: what was finished just now, or while something could not be written down."""
        now = self.loop.time()
        since = now if self.sound_since is None else self.sound_since
        last_sound = now - SETTLED_S if self.sound_since is not None and now - since > SETTLED_S else self._sound_until
        self.books.excuse(portals, last_sound)

    _sound_until: float = 0.0

    def feel(self, mood: str) -> None:
        """The parked stream changes its mood."""
        now = self.loop.time()
        if mood != "takes" and self.sound_since is not None:
            if now - self.sound_since > SETTLED_S:
                self._sound_until = now - SETTLED_S
            self.sound_since = None
        self.queue.mood.now = mood
        if mood == "takes":
            self.sound_since = now if self.sound_since is None else self.sound_since
            self.deliver()

    def trim(self) -> None:
        """What no worker needs is deleted from the parked stream: each says so anew, and commits that, before."""
        for worker in (*self.workers, *self.workers):
            with suppress(QueueError):
                self.trim_once(worker)
            self.let(1.1)

    def trim_once(self, worker: Worker, worth: int = 1) -> None:
        """What the commits say that nobody needs is deleted, unless it is less than what is worth it."""
        ours = {one.number: one.parking for one in worker.ownership if one.parking}
        self.run(Trimming(self.queue, worker._attendant._stream, worth=worth).look(ours))

    def deliver(self, *, last_first: bool = False) -> None:
        """What waits is kept, and told, in this order or the other."""
        self.run(self._deliver(last_first))

    async def _deliver(self, last_first: bool) -> None:
        waiting, self.queue.mood.waiting = self.queue.mood.waiting, []
        kept = [(delivery, producer.keep(record)) for producer, record, delivery in waiting]
        for delivery, position in reversed(kept) if last_first else kept:
            if not delivery.done():
                delivery.set_result(position)

    def heal(self) -> None:
        """Everything is well from now on: return when every event is handled, and nothing is parked."""
        self.feel("takes")
        self.failing.clear()
        self.faltering.clear()
        self.takes_s.clear()
        for portal in list(self.held):
            self.order(What.RESUME, portal)
        self.held.clear()
        for leaver in self.leaving:
            self.run(asyncio.wait_for(leaver, 60))
        if not self.workers:
            self.start()
        for _ in range(200):
            self._help()
            self.let(5)
            if self._is_well():
                break
        self.let(5)

    def _help(self) -> None:
        """What an operator does while it takes long."""

    def _is_well(self) -> bool:
        return self.books.is_complete()

    def judge(self) -> None:
        """Nothing is lost, doubled or out of order, and memory has no trace of it."""
        self.books.judge()
        for worker in self.workers:
            assert worker._held.records == 0
            assert worker._held.bytes == 0
            assert worker._attendant.room.records == 0
            assert worker._attendant.room.bytes == 0
            for partition in worker.ownership:
                assert partition.parking is not None
                assert not partition.parking.portals, partition.parking.portals.keys()
                assert not partition.lanes
        for number, log in enumerate(self.queue.logs[TOPIC]):
            if log:
                assert self.commits()[number].offset == log[-1].offset + 1

    def close(self) -> None:
        """Let go of everything."""
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        if left:
            self.run(_ended(left))
        self.loop.close()


async def _ended(tasks: "set[asyncio.Task[Any]]") -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


async def _keep(producer: MoodyProducer, record: Record) -> None:
    producer.keep(record)
