"""Processes of one host with one spool, in front of an unreliable queue, driven step by step."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from forebay.ingest.spool.breaker import Breaker
from forebay.ingest.spool.drain import Drain
from forebay.ingest.spool.errors import SpoolUnavailable
from forebay.ingest.spool.kept import Kept
from forebay.ingest.spool.pace import Pace
from forebay.ingest.spool.passage import Passage
from forebay.ingest.spool.spool import Spool
from forebay.queues.contract import Record
from forebay.queues.errors import QueueError

from .unreliable import Broker, UnreliableProducer

EVENTS, QUARANTINE = "events", "events.quarantine"

#: No deadline passes by itself: the test says when.
NEVER_S = 3600.0


@dataclass(kw_only=True, eq=False)
class Worker:
    """One process of the ingest."""

    spool: Spool
    producer: UnreliableProducer
    passage: Passage
    drain: Drain
    has_begun: bool = False
    #: What happens on the loop while the drain reads what it will send next.
    meanwhile: Sequence[Callable[[], None]] = ()

    def __post_init__(self) -> None:
        loop, load = asyncio.get_running_loop(), self.spool.store.load

        def load_meanwhile(seqs: Iterable[int]) -> list[Kept]:
            asyncio.run_coroutine_threadsafe(self._happen(), loop).result()
            return load(seqs)

        self.spool.store.load = load_meanwhile  # type: ignore[method-assign]

    async def _happen(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, ()
        for happen in meanwhile:
            happen()

    async def step(self) -> bool:
        """Drain for a moment, if it is our turn; whether it was."""
        if not self.spool.folder.draining.take():
            return False
        if not self.has_begun:
            self.has_begun = True
            await self.drain.begin()
        await self.drain.step()
        return True

    async def begin_step(self, turns: int) -> None:
        """Be in the midst of a step, after so many turns of the loop, if it is our turn to drain."""
        if self.spool.folder.draining.is_held and self.has_begun:
            self.drain._running = asyncio.ensure_future(self.drain.step())
            for _ in range(turns):
                await asyncio.sleep(0)

    async def settled(self) -> None:
        """Return when everything that was put is durable, and told."""
        for _ in range(3):
            await asyncio.sleep(0)
        await self.spool.run(lambda: None)
        for _ in range(3):
            await asyncio.sleep(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An event that a portal sent: after the answers to which others, and what became of the call."""

    number: int
    portal: str
    after: frozenset[int]
    worker: Worker
    kept: "asyncio.Future[bool]"


@dataclass(kw_only=True)
class World:
    """The host, its portals, and the account of what they were told."""

    folder: Path
    max_bytes: int = 1 << 30
    #: Of the ingest and of the drain.
    paces: tuple[Pace | None, Pace | None] = (None, None)
    part_of: Callable[[str], str] = str
    broker: Broker = field(default_factory=Broker)
    workers: list[Worker] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    #: Events that were somewhere under way when a process died: they alone may stand in the queue twice.
    shaken: set[int] = field(default_factory=set)

    async def start(self) -> Worker:
        """One more process."""
        spool = Spool(self.folder, self.max_bytes)
        await spool.open()
        producer, breaker = self.broker.producer(), Breaker(lambda: spool.counts.acknowledged)
        passage = Passage(producer, spool, breaker, NEVER_S, pace=self.paces[0])
        drain = Drain(
            spool,
            producer,
            breaker,
            quarantine=QUARANTINE,
            part_of=self.part_of,
            pace=self.paces[1],
            look_s=0.001,
        )
        self.workers.append(Worker(spool=spool, producer=producer, passage=passage, drain=drain))
        return self.workers[-1]

    async def send(self, portal: str, worker: Worker) -> Call:
        """A call of the portal, whose end is not waited for."""
        number = len(self.calls)
        record = Record(key=portal, value=str(number).encode(), timestamp_ms=number + 1)
        after = frozenset(call.number for call in self.answered() if call.portal == portal)
        kept = asyncio.ensure_future(worker.passage.send(EVENTS, record))
        self.calls.append(Call(number=number, portal=portal, after=after, worker=worker, kept=kept))
        await worker.settled()
        return self.calls[-1]

    def answered(self) -> list[Call]:
        """The calls that were told that their event is kept."""
        return [call for call in self.calls if _is_kept(call)]

    async def crash(self, worker: Worker, taken: int, *, writes: str = "") -> None:
        """The process dies where it stands: nothing is told, its locks are free, and its calls have no answer.

        Of the portal of which it `writes` a record just then, the counts tell and nothing else.
        """
        self.workers.remove(worker)
        await worker.settled()
        self.shaken |= {int(sent.record.value) for sent in worker.producer.pending}
        for kept in await worker.spool.run(self._spooled, worker):
            self.shaken.add(int(kept))
        worker.producer.die(taken)
        worker.drain.stop()
        worker.passage.close()
        await worker.settled()
        worker.spool.folder.draining.release()
        if writes:
            worker.spool.counts.add(writes, 200)
        await worker.spool.close()
        for call in self.calls:
            if call.worker is worker:
                call.kept.cancel()

    async def stop(self, worker: Worker, meanwhile: Sequence[Callable[[], Awaitable[object]]], taken: int) -> None:
        """The process is told to end, perhaps in the midst of a step: as `Outlet.close` does it.

        What the queue has not decided when all this has happened is given up, and so much of that is taken in the end.
        """
        self.workers.remove(worker)
        worker.drain.stop()
        worker.passage.close()
        closing = asyncio.ensure_future(worker.producer.finish(taken))
        for happen in meanwhile:
            await worker.settled()
            await happen()
        await worker.settled()
        if not closing.done():
            self.shaken |= {int(sent.record.value) for sent in worker.producer.pending}
            worker.passage.give_up()
            closing.cancel()
        await asyncio.wait([closing])
        await worker.drain.close()
        await worker.spool.close()
        for call in self.calls:
            if call.worker is worker:
                call.kept.cancel()

    @staticmethod
    def _spooled(worker: Worker) -> list[bytes]:
        heads = worker.spool.store.heads(0, 10_000)
        return [kept.record.value for kept in worker.spool.store.load([head.seq for head in heads])]

    async def heal(self) -> None:
        """The queue is back and tells everything; return when the spool is empty."""
        self.broker.mode = "up"
        if not self.workers:
            await self.start()
        for _ in range(10_000):
            for worker in self.workers:
                worker.producer.deliver_all()
                await worker.settled()
                await worker.step()
            if not self.workers[0].spool.counts.records and all(call.kept.done() for call in self.calls):
                return
        raise AssertionError(f"{self.workers[0].spool.counts.records} records stay in the spool")

    async def close(self) -> None:
        """Let go of everything."""
        for worker in self.workers:
            worker.passage.close()
            await worker.producer.close()
            await worker.drain.close()
            await worker.spool.close()
        for call in self.calls:
            call.kept.cancel()
        await asyncio.gather(*(call.kept for call in self.calls), return_exceptions=True)

    def judge(self) -> None:
        """Nothing lost, nothing that was told as failed, in order, doubled only where a process died."""
        log = [int(record.value) for record in self.broker.logs[EVENTS]]
        aside = {int(record.value) for record in self.broker.logs[QUARANTINE]}
        first = {number: place for place, number in reversed(list(enumerate(log)))}
        kept = {call.number for call in self.answered()}
        assert not kept - first.keys() - aside, f"lost: {kept - first.keys() - aside}"
        failed = {call.number for call in self.calls if _is_refused(call)}
        assert not failed & first.keys(), f"told as failed, and kept: {failed & first.keys()}"
        for call in self.answered():
            late = {
                other
                for other in call.after
                if {other, call.number} <= first.keys() and first[other] > first[call.number]
            }
            assert not late, f"{call.portal}: {late} was answered before {call.number} came, and stands behind it"
        doubled = {number for number, times in Counter(log).items() if times > 1}
        assert not doubled - self.shaken, f"doubled without a death: {doubled - self.shaken}"


def _is_kept(call: Call) -> bool:
    return call.kept.done() and not call.kept.cancelled() and call.kept.exception() is None


def _is_refused(call: Call) -> bool:
    return (
        call.kept.done()
        and not call.kept.cancelled()
        and isinstance(call.kept.exception(), SpoolUnavailable | QueueError)
    )


def per_portal(world: World) -> dict[str, list[int]]:
    """What stands in the queue, portal by portal."""
    found: dict[str, list[int]] = defaultdict(list)
    for record in world.broker.logs[EVENTS]:
        found[record.key].append(int(record.value))
    return found
