"""Quarantined calls become events after all, as soon as the parser can read them."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from forebay.console.letters.letters import BOXES, Filter, letters
from forebay.console.letters.requeueing import Requeue, Reread, send_all
from forebay.console.letters.resolving import planned
from forebay.console.orders.writer import Overtaken
from forebay.console.stopping import Stop
from forebay.ingest.address import Address
from forebay.ingest.authenticate import Sender
from forebay.ingest.form import parse
from forebay.ingest.quarantine import quarantine_record
from forebay.ingest.record import Receipt
from forebay.ingest.rereading import Rereader
from forebay.ingest.seal import Sealer
from forebay.ingest.settings import IngestSettings
from forebay.ingest.spool.kept import Kept
from forebay.ingest.spool.refusals import DAMAGED, quarantine_of
from forebay.queues.contract import Delivery, Record, StoredRecord
from forebay.queues.errors import QueueUnavailable, RecordRefused
from forebay.queues.memory import MemoryInspector, MemoryProducer, MemoryQueue
from forebay.schemas import names
from forebay.schemas.codec import codec, new_codec
from forebay.schemas.event import PortalEvent

from .by_hand import order_writer

TOPIC = "bitrix24.events"
PORTAL = "one.bitrix24.example"
NOW_MS = 1_772_400_000_000
KEY = {"k1": bytes(range(32))}

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

#: 2026-03-01T12:00:00.123456Z
AT_US = 1_772_366_400_123_456

Make = Callable[..., Any]


def body_of(count: int = 1, depth: int = 1, auth: str = f"auth[domain]={PORTAL}") -> bytes:
    fields = "".join(f"&data[F{number}]=1" for number in range(count))
    nested = "data" + "[a]" * depth
    return f"event=ONCRMDEALADD&{nested}=1{fields}&{auth}&auth[access_token]=hunter2".encode()


def quarantined(
    body: bytes, id: str = "q-1", portal: str | None = PORTAL, keys: dict[str, bytes] | None = None
) -> Record:
    """The call as the ingest puts it to quarantine."""
    receipt = Receipt(id=id, at_us=AT_US, endpoint="/bitrix24", traceparent=TRACE)
    sender = Sender(portal=portal, member_id=None, verified=True, address=Address(path="rule", query="deal=7"))
    return quarantine_record(receipt, sender, parse(body, max_fields=100), "max_fields", "too many", Sealer(keys or {}))


async def requeued(
    queue: MemoryQueue,
    settings: IngestSettings,
    keys: dict[str, bytes] | None = None,
    producer: Any = None,
    result: Reread | None = None,
) -> Reread:
    result, inspector = result or Reread(), queue.inspector()
    writer = order_writer(queue, at_ms=NOW_MS)
    if producer is not None:
        writer = replace(writer, producer=producer)
    work = Requeue(
        inspector=inspector,
        rereader=Rereader(settings, new_codec()),
        keys=keys or {},
        codec=codec(),
        now_ms=lambda: NOW_MS,
    )
    plan = await planned(letters(inspector, codec(), BOXES["quarantine"], TOPIC, Filter()), "")
    for one in plan:
        await work.send(one, writer, result)
    return result


async def put(queue: MemoryQueue, *calls: Record) -> None:
    for call in calls:
        await queue.producer().send(names.quarantine(TOPIC), call)


def events(queue: MemoryQueue) -> list[PortalEvent]:
    return [codec().decode(record.value) for log in queue.logs[TOPIC] for record in log]


async def still_there(queue: MemoryQueue) -> list[str]:
    found = letters(queue.inspector(), codec(), BOXES["quarantine"], TOPIC, Filter())
    return [letter.id async for letter in found]


async def test_a_call_is_read_by_the_present_settings_and_keeps_its_id_and_its_moment(queue: MemoryQueue) -> None:
    await put(queue, quarantined(body_of(count=40)))

    too_small = await requeued(queue, IngestSettings(max_fields=20))
    before = await still_there(queue)
    result = await requeued(queue, IngestSettings(max_fields=100))

    (event,) = events(queue)
    assert [row["error_class"] for row in too_small.stay] == ["max_fields"]
    assert before == ["q-1"]
    assert (result.sent, result.stay) == (1, [])
    assert (event.id, event.portal, event.name, event.kind) == ("q-1", PORTAL, "ONCRMDEALADD", "event")
    assert event.received_at.isoformat() == "2026-03-01T12:00:00.123456+00:00"
    assert (event.path, event.query, event.subscription.endpoint) == ("rule", "deal=7", "/bitrix24")
    assert event.traceparent == TRACE
    assert not event.subscription.verified
    assert len(event.fields) > 40
    assert await still_there(queue) == []


async def test_it_stands_at_the_end_of_its_portal_with_the_time_of_now(
    queue: MemoryQueue, event: Make, record: Make
) -> None:
    await queue.producer().send(TOPIC, record(event(1, PORTAL)))
    await put(queue, quarantined(body_of()))

    await requeued(queue, IngestSettings())

    (log,) = [log for log in queue.logs[TOPIC] if log]
    assert [codec().decode(one.value).id for one in log] == ["id-1", "q-1"]
    assert log[-1].timestamp_ms == NOW_MS


async def test_a_sealed_body_is_opened_and_its_secrets_are_sealed_again(queue: MemoryQueue) -> None:
    await put(queue, quarantined(body_of(), keys=KEY))
    settings = IngestSettings(seal_keys={"k1": SecretStr("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")})

    without = await requeued(queue, IngestSettings())
    with_key = await requeued(queue, settings, settings.seal_key_bytes())

    (event,) = events(queue)
    assert [(row["error_class"], "seal_keys does not have" in str(row["error"])) for row in without.stay] == [
        ("sealed", True)
    ]
    assert with_key.sent == 1
    assert event.secrets(KEY) == {"auth[access_token]": "hunter2"}
    assert b"hunter2" not in b"".join(record.value for log in queue.logs[TOPIC] for record in log)


async def test_what_still_can_not_be_read_stays_and_the_others_go(queue: MemoryQueue) -> None:
    await put(
        queue,
        quarantined(body_of(depth=30), id="deep"),
        quarantined(body_of(), id="fine"),
        quarantined(body_of(auth="auth[domain]=not a domain"), id="nobody", portal=None),
    )

    result = await requeued(queue, IngestSettings())

    assert {(row["id"], row["error_class"]) for row in result.stay} == {("deep", "max_depth"), ("nobody", "no_portal")}
    assert [event.id for event in events(queue)] == ["fine"]
    assert sorted(await still_there(queue)) == ["deep", "nobody"]


async def test_what_the_queue_refuses_stays_too(queue: MemoryQueue) -> None:
    class Refusing(MemoryProducer):
        def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
            if stream == TOPIC and codec().decode(record.value).id == "large":
                raise RecordRefused("it is larger than the queue takes")
            super().submit(stream, record, delivery)

    await put(queue, quarantined(body_of(), id="large"), quarantined(body_of(), id="small"))

    result = await requeued(queue, IngestSettings(), producer=Refusing(queue))

    assert [(row["id"], row["error_class"]) for row in result.stay] == [("large", "refused_by_queue")]
    assert await still_there(queue) == ["large"]


async def test_it_is_written_down_only_when_the_events_are_kept(queue: MemoryQueue) -> None:
    class Failing(MemoryProducer):
        def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
            raise OSError("a fault")

    await put(queue, quarantined(body_of()))

    with pytest.raises(OSError, match="a fault"):
        await requeued(queue, IngestSettings(), producer=Failing(queue))

    assert await still_there(queue) == ["q-1"]


async def test_what_the_queue_took_before_it_failed_is_not_sent_a_second_time(queue: MemoryQueue) -> None:
    class Failing(MemoryProducer):
        def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
            if stream == TOPIC and len(events(queue)) == 2:
                raise QueueUnavailable("a restart")
            super().submit(stream, record, delivery)

    await put(queue, *(quarantined(body_of(), id=f"q-{number}") for number in range(4)))

    result = Reread()
    with pytest.raises(QueueUnavailable, match="a restart"):
        await requeued(queue, IngestSettings(), producer=Failing(queue), result=result)
    await requeued(queue, IngestSettings())

    assert (result.sent, result.seen) == (2, 2)
    assert [event.id for event in events(queue)] == ["q-0", "q-1", "q-2", "q-3"]


async def test_two_who_replay_the_same_calls_at_once_send_few_of_them_twice(queue: MemoryQueue) -> None:
    await put(queue, *(quarantined(body_of(), id=f"q-{number}") for number in range(200)))
    plan = await planned(letters(queue.inspector(), codec(), BOXES["quarantine"], TOPIC, Filter()), "")
    results = [Reread(), Reread()]

    async def replayed(result: Reread) -> None:
        rereader = Rereader(IngestSettings(), new_codec())
        work = Requeue(inspector=queue.inspector(), rereader=rereader, keys={}, codec=codec(), now_ms=lambda: NOW_MS)
        await send_all(work, plan, order_writer(queue, at_ms=NOW_MS), Stop(), result, lambda seen: None)

    ended = await asyncio.gather(*map(replayed, results), return_exceptions=True)

    assert [type(one) for one in ended if one is not None] == [Overtaken]
    assert await still_there(queue) == []
    found = [event.id for event in events(queue)]
    assert len(set(found)) == 200
    assert len(found) == results[0].sent + results[1].sent <= 250


async def test_calls_that_stand_beside_each_other_are_read_together_and_what_is_gone_is_passed_over(
    queue: MemoryQueue,
) -> None:
    reads: list[int] = []

    class Counting(MemoryInspector):
        async def read(self, stream: str, partition: int, offset: int, count: int) -> list[StoredRecord]:
            reads.append(offset)
            found = await super().read(stream, partition, offset, count)
            return [call for call in found if call.offset != 7]

    await put(queue, *(quarantined(body_of(), id=f"q-{number}") for number in range(50)))
    (plan,) = await planned(letters(queue.inspector(), codec(), BOXES["quarantine"], TOPIC, Filter()), "")
    rereader = Rereader(IngestSettings(), new_codec())
    work = Requeue(inspector=Counting(queue), rereader=rereader, keys={}, codec=codec(), now_ms=lambda: NOW_MS)

    found = await work.read(plan, Reread())

    assert [call.offset for call, _ in found] == [offset for offset in range(50) if offset != 7]
    assert reads == [0]


async def test_a_call_that_named_no_portal_is_read_under_the_one_that_it_names_now(queue: MemoryQueue) -> None:
    await put(queue, quarantined(body_of(), portal=None))

    await requeued(queue, IngestSettings())

    (event,) = events(queue)
    assert event.portal == PORTAL
    assert await still_there(queue) == []


async def test_a_call_of_a_renamed_portal_stands_under_the_key_of_its_other_events(queue: MemoryQueue) -> None:
    await put(queue, quarantined(body_of(), portal="before.bitrix24.example"))

    await requeued(queue, IngestSettings())

    (event,) = events(queue)
    assert (event.portal, event.auth["domain"]) == ("before.bitrix24.example", PORTAL)


async def test_an_event_that_the_queue_refused_when_it_came_out_of_the_spool_goes_as_it_is(queue: MemoryQueue) -> None:
    before = await kept_event(queue)
    await put(
        queue, quarantine_of(Kept(seq=1, stream=TOPIC, record=before, is_whole=True), "refused_by_queue", "too large")
    )

    result = await requeued(queue, IngestSettings())

    _, again = (record for log in queue.logs[TOPIC] for record in log)
    assert (result.stay, await still_there(queue)) == ([], [])
    assert (again.key, again.value, again.headers) == (before.key, before.value, before.headers)


async def test_an_event_that_the_disk_has_changed_stays(queue: MemoryQueue) -> None:
    before = await kept_event(queue)
    await put(
        queue, quarantine_of(Kept(seq=1, stream=TOPIC, record=before, is_whole=False), DAMAGED, "its checksum is wrong")
    )

    result = await requeued(queue, IngestSettings())

    assert [(row["error_class"], row["error"]) for row in result.stay] == [(DAMAGED, "its checksum is wrong")]
    assert len(events(queue)) == 1


async def kept_event(queue: MemoryQueue) -> Record:
    await put(queue, quarantined(body_of()))
    await requeued(queue, IngestSettings())
    (before,) = (record for log in queue.logs[TOPIC] for record in log)
    return Record(before.key, before.value, before.timestamp_ms, tuple(before.headers))
