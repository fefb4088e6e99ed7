"""Tokens that expire while Forebay runs."""

import asyncio
from uuid import uuid4

import pytest

from forebay.queues.contract import Commit, Record
from forebay.schemas import names
from tests.integration.kafka.working import Site, encoded
from tests.kafka.members import PARTITIONS, fetch, joined, send
from tests.kafka.opener import Opener
from tests.kafka.secured import Secured
from tests.kafka.ways_in import ways_in
from tests.waiting import until

pytestmark = pytest.mark.faults

#: librdkafka asks for a new token after four fifths of the old one's life.
TOKEN_S = 10
IDLE_S = 25


@pytest.mark.parametrize("name", ["oidc", "unsigned tokens"])
async def test_tokens_are_renewed_for_every_client(
    secured: Secured, opened: Opener, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The broker hangs up on whoever still comes with a token that has expired; idle clients need a new one as well."""
    monkeypatch.setattr(secured.provider, "token_s", TOKEN_S)
    way = ways_in(secured)[name]
    if name == "unsigned tokens":
        way = way.but(sasl_oauthbearer_config=f"principal=forebay lifeSeconds={TOKEN_S}")
    queue = opened(way.bootstrap, kafka=way.kafka)
    stream = f"events-{uuid4().hex}"
    await queue.ensure([stream], PARTITIONS)
    producer, consumer, inspector = queue.producer(), await joined(queue, stream), queue.inspector()
    await producer.check()
    partition = await send(queue, stream, range(1))
    await inspector.read(stream, partition, 0, 1)
    issued = secured.provider.issued

    await asyncio.sleep(IDLE_S)
    await producer.check()
    await send(queue, stream, range(1, 3))

    assert await fetch(consumer, 3) == [0, 1, 2]
    await consumer.commit({partition: Commit(offset=3)})
    assert len(await inspector.read(stream, partition, 0, 3)) == 3
    assert (await inspector.groups(stream))[stream][partition].offset == 3
    assert name != "oidc" or secured.provider.issued > issued
    await inspector.close()
    await consumer.close()
    await producer.close()


async def test_a_worker_goes_on_by_itself_when_its_tokens_come_again(
    secured: Secured, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The brokers let nobody in whose token has expired. A client that was refused by all of them begins anew, and of
    what it was asked in that moment it never says anything."""
    monkeypatch.setattr(secured.provider, "token_s", TOKEN_S)
    way = ways_in(secured)["oidc"]
    site = Site(opened(way.bootstrap, kafka=way.kafka), f"events-{uuid4().hex}", partitions=PARTITIONS)
    await site.queue.ensure(names.streams(site.topic), PARTITIONS)
    sender = opened(secured.clear).producer()

    async def handled(number: int) -> None:
        record = Record(key="p.example", value=encoded(number), timestamp_ms=1_700_000_000_000)
        await sender.send(site.topic, record)
        await until(lambda: number in site.handled)

    async with site.working():
        await handled(1)
        monkeypatch.setattr(secured.provider, "is_well", False)
        await asyncio.sleep(IDLE_S)
        monkeypatch.setattr(secured.provider, "is_well", True)

        await handled(2)
    await sender.close()
