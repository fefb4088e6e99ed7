"""Quarantined calls become events after all: read again by the present parser, and sent to the end of the topic."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from forebay.console.orders.writer import Meanwhile, OrderWriter, order_writer
from forebay.console.planning import Plan, Planned
from forebay.console.portal_keys import keyring
from forebay.console.reading import inspected, opened
from forebay.console.stopping import Stop, ended_by_ctrl_c
from forebay.console.terminal.output import Row
from forebay.console.times import to_ms, utc_now
from forebay.ingest.errors import Unreadable
from forebay.ingest.rereading import Rereader
from forebay.ingest.settings import IngestSettings
from forebay.processors.parking.orders import Order, What
from forebay.queues.contract import Inspector, Queue, Record, StoredRecord
from forebay.queues.errors import RecordRefused
from forebay.schemas.codec import Codec, new_codec

from .letters import quarantined
from .unsealing import CannotOpen, opened_body

#: Calls in memory: each may have as much as the ingest takes. So many a crash may repeat.
_AT_ONCE = 50

#: Calls that are read at once, of whatever portal.
_READ_AT_ONCE = 100


@dataclass(slots=True, kw_only=True)
class Reread:
    """What became of quarantined calls."""

    sent: int = 0
    #: So many were looked at, by us or by an operator who was quicker.
    seen: int = 0
    #: Those that stay, as rows with the present reason.
    stay: list[Row] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeue:
    """Reads calls again and sends them, a portal after the other."""

    inspector: Inspector
    rereader: Rereader
    keys: Mapping[str, bytes]
    codec: Codec
    now_ms: Callable[[], int] = lambda: to_ms(utc_now())

    async def read(self, planned: Planned, result: Reread) -> list[tuple[StoredRecord, Record]]:
        """The calls of a portal that can be read now, each with its event; the others go to the result."""
        readable = []
        async for call in self._calls(planned):
            try:
                event = self.rereader.record(call, opened_body(call, self.keys), self.now_ms())
                readable.append((call, event))
            except Unreadable as error:
                result.stay.append(self._row(call, error.reason, str(error)))
            except CannotOpen as error:
                result.stay.append(self._row(call, "sealed", str(error)))
        return readable

    async def _calls(self, planned: Planned) -> AsyncIterator[StoredRecord]:
        """Those of the calls that are there: retention may have been quicker."""
        wanted = deque(planned.offsets)
        while wanted:
            # Neighbours come with it: each read costs Kafka a tenth of a second.
            found = await self.inspector.read(planned.stream, planned.partition, wanted[0], _READ_AT_ONCE)
            if not found:
                return
            there = {call.offset: call for call in found}
            while wanted and wanted[0] <= found[-1].offset:
                if (call := there.get(wanted.popleft())) is not None:
                    yield call

    async def send(self, planned: Planned, writer: OrderWriter, result: Reread) -> list[Order]:
        """Send the events of a portal's calls; then write down that it was done. A crash in between repeats them."""
        readable = await self.read(planned, result)
        # Tasks made in order keep a key's order.
        sent = [asyncio.create_task(writer.producer.send(writer.topic, event)) for _, event in readable]
        kept = Planned(portal=planned.portal, partition=planned.partition, group="", stream=planned.stream)
        failed = []
        for (call, _), answer in zip(readable, await asyncio.gather(*sent, return_exceptions=True), strict=True):
            if isinstance(answer, RecordRefused):
                result.stay.append(self._row(call, "refused_by_queue", str(answer)))
            elif isinstance(answer, BaseException):
                failed.append(answer)
            else:
                kept.add(call.offset, call.offset)
        result.sent += len(kept.offsets)
        written = await writer.put_all(kept, What.REPLAY)
        result.seen += len(planned.offsets) - len(failed)
        if failed:
            # Only now: those that the queue has are sent no second time.
            raise failed[0]
        return written

    def _row(self, call: StoredRecord, reason: str, detail: str) -> Row:
        return {**quarantined(call, self.codec).row(), "error": detail, "error_class": reason}


@asynccontextmanager
async def _requeue(settings: IngestSettings, queue: Queue) -> AsyncIterator[Requeue]:
    codec = new_codec()
    async with inspected(queue) as inspector:
        rereader, keys = Rereader(settings, codec), await keyring(settings, queue)
        yield Requeue(inspector=inspector, rereader=rereader, keys=keys, codec=codec)


def _parts(plan: Plan) -> Iterator[Planned]:
    return (part for planned in plan for part in planned.parts(_AT_ONCE))


async def requeue(settings: IngestSettings, plan: Plan, why: str, result: Reread, told: Callable[[int], None]) -> None:
    """Send the calls of the plan as events, until Ctrl-C; `told` hears how many were looked at by then.

    Also after an error the result says how far it came. Raises `Overtaken` when another does the same.
    """
    stop = Stop()
    with ended_by_ctrl_c(stop):
        async with (
            opened(settings) as queue,
            _requeue(settings, queue) as work,
            order_writer(queue, settings.topic, why) as writer,
        ):
            await send_all(work, plan, writer, stop, result, told)


async def send_all(
    work: Requeue, plan: Plan, writer: OrderWriter, stop: Stop, result: Reread, told: Callable[[int], None]
) -> None:
    """Send some calls after the others, each but what another operator has sent meanwhile."""
    meanwhile = Meanwhile(inspector=work.inspector, topic=writer.topic, since={})
    for some in _parts(plan):
        if stop.is_asked:
            return
        (left,) = await meanwhile.left([some])
        result.seen += len(some.offsets) - len(left.offsets)
        written = await work.send(left, writer, result)
        told(result.seen)
        await meanwhile.check([left], [written])


async def look_at(settings: IngestSettings, plan: Plan) -> Reread:
    """Which calls of the plan would stay, and how many would be sent."""
    result = Reread()
    async with opened(settings) as queue, _requeue(settings, queue) as work:
        for some in _parts(plan):
            result.sent += len(await work.read(some, result))
    return result
