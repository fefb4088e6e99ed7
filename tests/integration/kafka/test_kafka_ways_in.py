"""Every way into a Kafka by the setting `kafka`: for producer, consumers of both protocols, admin and inspector."""

from uuid import uuid4

import pytest

from forebay.queues.contract import Commit
from tests.kafka.members import PARTITIONS, fetch, joined, send
from tests.kafka.opener import Opener
from tests.kafka.secured import Secured
from tests.kafka.ways_in import ways_in

pytestmark = pytest.mark.kafka

WAYS = ("plain", "scram", "tls", "plain over tls", "scram over tls", "mutual tls", "oidc", "unsigned tokens")


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
@pytest.mark.parametrize("name", WAYS)
async def test_events_pass_by_every_way_in(secured: Secured, opened: Opener, name: str, protocol: str) -> None:
    way = ways_in(secured)[name]
    queue = opened(way.bootstrap, kafka={**way.kafka, "group.protocol": protocol})
    stream = f"events-{uuid4().hex}"
    await queue.ensure([stream], PARTITIONS)

    partition = await send(queue, stream, range(3))
    consumer = await joined(queue, stream)
    read = await fetch(consumer, 3)
    await consumer.commit({partition: Commit(offset=3, note=b"seen")})
    inspector = queue.inspector()
    group = (await inspector.groups(stream))[stream][partition]
    [first, *_] = await inspector.read(stream, partition, 0, 3)

    assert read == [0, 1, 2]
    assert first.value == b"0"
    assert (group.offset, group.note) == (3, b"seen")
    assert group.owner is not None
    await inspector.close()
    await consumer.close()
