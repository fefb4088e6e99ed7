"""What operators do, on a real Kafka."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from forebay import Reject
from forebay.console.group_lag import lags
from forebay.console.growing import Growth, NotQuiet
from forebay.console.letters.letters import Filter
from forebay.console.letters.resolving import plan_of, replay_letters
from forebay.console.orders.parked import list_waiting, order
from forebay.console.reading import inspected
from forebay.console.settings import Settings
from forebay.processors.parking.orders import What
from forebay.queues.opening import open_queue
from forebay.schemas import names
from forebay.schemas.codec import new_codec
from tests.kafka.fixtures import Kafka
from tests.waiting import until

from .site import PARTITIONS, Program, Site

pytestmark = pytest.mark.kafka

A, WELL = "a.bitrix24.example", "well.bitrix24.example"


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
