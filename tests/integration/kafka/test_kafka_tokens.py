"""Tokens that expire while Forebay runs."""

import asyncio
from uuid import uuid4

import pytest

from forebay.queues.contract import Commit
from tests.kafka.members import PARTITIONS, fetch, joined, send
from tests.kafka.opener import Opener
from tests.kafka.secured import Secured
from tests.kafka.ways_in import ways_in

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
