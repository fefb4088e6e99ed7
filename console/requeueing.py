"""Quarantined calls become events after all: read again by the present parser, and sent to the end of the topic."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from forebay.ingest.errors import Unreadable
from forebay.ingest.rereading import Rereader
from forebay.ingest.settings import IngestSettings
from forebay.processors.parking.orders import What
from forebay.queues.contract import Inspector, Producer, Record, StoredRecord
from forebay.queues.errors import RecordRefused
from forebay.schemas.codec import Codec, new_codec

from .letters import quarantined
from .ordering import Orderer
from .output import Row
from .planning import Plan, Planned
from .portal_keys import keyring
from .reading import inspected, opened
from .replaying import orderer
from .resolving import still_open
from .times import to_ms, utc_now
from .unsealing import CannotOpen, opened_body


@dataclass(slots=True, kw_only=True)
class Reread:
    """What became of quarantined calls."""

    sent: int = 0
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
        for offset in planned.offsets:
            found = await self.inspector.read(planned.stream, planned.partition, offset, 1)
            if not found or found[0].offset != offset:
                # Retention was quicker.
                continue
            call = found[0]
            try:
                event = self.rereader.record(call, opened_body(call, self.keys), self.now_ms())
                readable.append((call, event))
            except Unreadable as error:
                result.stay.append(self._row(call, error.reason, str(error)))
            except CannotOpen as error:
                result.stay.append(self._row(call, "sealed", str(error)))
        return readable

    async def send(self, planned: Planned, producer: Producer, orderer: Orderer, result: Reread) -> None:
        """Send the events of a portal's calls; then write down that it was done. A crash in between repeats them."""
        readable = await self.read(planned, result)
        # Tasks made in order keep a key's order.
        sent = [asyncio.create_task(producer.send(orderer.topic, event)) for _, event in readable]
        kept = Planned(portal=planned.portal, partition=planned.partition, group="", stream=planned.stream)
        for (call, _), answer in zip(readable, await asyncio.gather(*sent, return_exceptions=True), strict=True):
            if isinstance(answer, RecordRefused):
                result.stay.append(self._row(call, "refused_by_queue", str(answer)))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                kept.add(call.offset, call.offset)
        await orderer.put_all(kept, What.REPLAY)
        result.sent += len(kept.offsets)

    def _row(self, call: StoredRecord, reason: str, detail: str) -> Row:
        return {**quarantined(call, self.codec).row(), "error": detail, "error_class": reason}


async def requeue(settings: IngestSettings, plan: Plan, why: str, told: Callable[[int], None]) -> Reread:
    """Send the calls of the plan as events; `told` hears how many were looked at by then."""
    result, codec, looked_at = Reread(), new_codec(), 0
    async with (
        opened(settings) as queue,
        inspected(queue) as inspector,
        orderer(queue, settings.topic, why) as given,
    ):
        work = Requeue(
            inspector=inspector, rereader=Rereader(settings, codec), keys=await keyring(settings, queue), codec=codec
        )
        for planned in await still_open(inspector, settings.topic, plan):
            await work.send(planned, given.producer, given, result)
            looked_at += len(planned.offsets)
            told(looked_at)
    return result


async def look_at(settings: IngestSettings, plan: Plan) -> Reread:
    """Which calls of the plan would stay, and how many would be sent."""
    result, codec = Reread(), new_codec()
    async with opened(settings) as queue, inspected(queue) as inspector:
        work = Requeue(
            inspector=inspector, rereader=Rereader(settings, codec), keys=await keyring(settings, queue), codec=codec
        )
        for planned in plan:
            result.sent += len(await work.read(planned, result))
    return result
