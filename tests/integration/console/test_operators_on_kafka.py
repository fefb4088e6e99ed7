"""What operators do, on a real Kafka."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]  # public, but in no __all__

from forebay import Reject
from forebay.console.group_lag import lags
from forebay.console.growing import Growth, NotQuiet
from forebay.console.letters.letters import Filter
from forebay.console.letters.requeueing import Reread, requeue
from forebay.console.letters.resolving import plan_of, replay_letters
from forebay.console.orders.parked import list_waiting, order
from forebay.console.reading import inspected
from forebay.console.settings import Settings
from forebay.ingest.address import NOTHING
from forebay.ingest.authenticate import Sender
from forebay.ingest.form import parse
from forebay.ingest.quarantine import quarantine_record
from forebay.ingest.record import Receipt
from forebay.ingest.seal import Sealer
from forebay.processors.parking.orders import What
from forebay.queues.contract import Record
from forebay.queues.opening import open_queue
from forebay.schemas import names
from forebay.schemas.codec import new_codec
from tests.kafka.fixtures import Kafka
from tests.waiting import until

from .site import PARTITIONS, Program, Site

pytestmark = pytest.mark.kafka

A, WELL = "a.bitrix24.example", "well.bitrix24.example"

#: By another number of partitions, most of them would stand in another one.
MANY = [f"portal-{number}.bitrix24.example" for number in range(8)]


@pytest.fixture
async def site(kafka: Kafka, tmp_path: Path) -> AsyncIterator[Site]:
    name = f"events-{uuid4().hex[:12]}"
    url = f"kafka://{kafka.bootstrap}"
    settings = Settings(queue_url=url, topic=name, group=name, partitions=PARTITIONS, data_dir=tmp_path)
    queue = open_queue(settings)
    await queue.ensure(names.streams(name), PARTITIONS)
    made = Site(settings=settings, queue=queue, producer=queue.producer())
    yield made
    for worker in list(made.running):
        await made.stop(worker)
    await made.producer.close()
    await queue.close()


async def test_letters_are_replayed_and_a_portal_is_held(site: Site) -> None:
    program = Program(group=site.settings.group, errors={A: Reject("no stock")})
    await site.send(A, 1, 2, 3)
    await site.send(WELL, 1)
    worker = site.start(program)
    await site.all_committed()
    program.errors.clear()
    plan = await plan_of(site.settings, new_codec(), "dead", Filter(error="no stock"))
    is_clean = await replay_letters(site.settings, plan, None, "stock came")

    held = await order(site.settings, What.HOLD, [A], "", wait=True)
    await site.send(A, 4, 5)
    await site.all_committed()
    async with inspected(site.queue) as inspector:
        async with asyncio.timeout(30):
            while sum(int(str(row["parked"])) for row in await lags(inspector, site.settings, None)) < 2:
                await asyncio.sleep(0.05)
        (row,) = [one.row() for one in await list_waiting(site.settings, site.settings.group)]
        await site.stop(worker)
        growth = Growth(queue=site.queue, inspector=inspector, settings=site.settings, partitions=2 * PARTITIONS)
        with pytest.raises(NotQuiet, match=f"1 parked portals or orders wait in group {site.settings.group}"):
            await growth.watched()
    resumed = await order(site.settings, What.RESUME, [A], "", wait=True)
    site.start(program)
    await until(lambda: program.handled[A] == [1, 2, 3, 4, 5])

    assert is_clean
    assert await site.dead() == []
    assert held.following.open == 0
    assert (row["portal"], row["held"], row["records"]) == (A, True, 2)
    assert [group for group, _ in resumed.following.without_worker] == [site.settings.group]
    assert program.calls == 4 + 3 + 2


def quarantined(portal: str, number: int) -> Record:
    """A call that the ingest could not read."""
    body = f"event=ONCRMDEALADD&data[FIELDS][ID]={number}&auth[domain]={portal}".encode()
    receipt = Receipt(id=uuid4().hex, at_us=1_772_366_400_123_456, endpoint="/bitrix24", traceparent="")
    sender = Sender(portal=portal, member_id=None, verified=True, address=NOTHING)
    return quarantine_record(receipt, sender, parse(body, max_fields=100), "max_fields", "too many", Sealer({}))


@pytest.mark.parametrize("of", [str, names.parked, names.dead, names.quarantine, names.audit])
async def test_partitions_that_somebody_adds_to_one_of_our_topics_are_used_by_nobody(
    kafka: Kafka, site: Site, of: Callable[[str], str]
) -> None:
    stream = of(site.settings.topic)
    with AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0}) as admin:
        admin.create_partitions([NewPartitions(stream, PARTITIONS + 3)])[stream].result(30)
    async with inspected(site.queue) as inspector:
        while len(await inspector.bounds(stream)) == PARTITIONS:
            pass
    # As what starts now.
    queue = open_queue(site.settings)
    await queue.ensure(names.streams(site.settings.topic), PARTITIONS)
    later = replace(site, queue=queue, producer=queue.producer())
    program = Program(group=site.settings.group, errors=dict.fromkeys(MANY, Reject("no stock")))
    worker = later.start(program)

    for portal in MANY:
        await later.send(portal, 1)
    # An order that nobody is there to obey is not waited for.
    await later.all_committed()
    held = await order(site.settings, What.HOLD, [WELL], "", wait=True)
    await later.send(WELL, 1)
    await later.all_committed()
    async with inspected(queue) as inspector:
        waiting = [row["records"] for row in await lags(inspector, site.settings, WELL)]
    named = [one.portal for one in await list_waiting(site.settings, site.settings.group, WELL)]
    program.errors.clear()
    letters = [await plan_of(site.settings, new_codec(), "dead", Filter(portal=portal)) for portal in MANY]
    replayed = [await replay_letters(site.settings, plan, None, "stock came") for plan in letters]
    for portal in MANY:
        await later.producer.send(names.quarantine(site.settings.topic), quarantined(portal, 2))
    calls, result = await plan_of(site.settings, new_codec(), "quarantine", Filter()), Reread()
    await requeue(site.settings, calls, "more fields", result, lambda seen: None)
    resumed = await order(site.settings, What.RESUME, [WELL], "", wait=True)
    await until(lambda: program.handled == {WELL: [1], **{portal: [1, 2] for portal in MANY}})

    assert (held.following.open, resumed.following.open) == (0, 0)
    assert (named, waiting) == ([WELL], [0])
    assert replayed == [True] * len(MANY)
    assert (result.sent, result.stay) == (len(MANY), [])
    await later.stop(worker)
    await later.producer.close()
    await queue.close()


@pytest.mark.parametrize("is_running", [True, False])
async def test_what_is_ordered_in_an_audit_topic_that_was_made_anew_is_obeyed(
    kafka: Kafka, site: Site, is_running: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    program, audit = Program(group=site.settings.group), names.audit(site.settings.topic)
    await site.send(A, 1)
    worker = site.start(program)
    await site.all_committed()
    for what in (What.HOLD, What.RESUME) * 3:
        assert (await order(site.settings, what, [A], "", wait=True)).following.open == 0
    if not is_running:
        await site.stop(worker)
    kafka.delete(audit)
    queue = open_queue(site.settings)
    await queue.ensure([audit], PARTITIONS)
    await queue.close()
    if not is_running:
        worker = site.start(program)

    held = await order(site.settings, What.HOLD, [A], "", wait=True)
    await site.send(A, 2)
    await site.all_committed()
    waiting = [(row.portal, row.records) for row in await list_waiting(site.settings, site.settings.group)]

    assert held.following.open == 0
    assert (waiting, program.handled[A]) == ([(A, 1)], [1])
    assert f"of {audit} ends at 0, and workers have read orders up to 6" in capsys.readouterr().err
