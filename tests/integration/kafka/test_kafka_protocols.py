"""Groups whose members come by different protocols, one after the other."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from forebay.queues.contract import Consumer
from forebay.queues.errors import QueueUnavailable
from tests.kafka.fixtures import Kafka
from tests.kafka.members import PARTITIONS, PATIENCE_S, Owner, fetch, joined, send
from tests.kafka.opener import Opener

pytestmark = pytest.mark.kafka


@pytest.fixture
async def classic(kafka: Kafka, opened: Opener, stream: str) -> AsyncIterator[Consumer]:
    """A member of a group in which another one was as well, so that they have told each other what they had."""
    queue = opened(kafka.bootstrap, kafka={"group.protocol": "classic"})
    stays = await joined(queue, stream, owner := Owner())
    goes = await joined(queue, stream, owns=PARTITIONS // 2)
    await goes.close()
    async with asyncio.timeout(60):
        await owner.owns(PARTITIONS)
    yield stays
    await stays.close()


async def test_who_comes_to_classic_members_joins_them(
    kafka: Kafka, opened: Opener, stream: str, classic: Consumer
) -> None:
    queue = opened(kafka.bootstrap)

    async with asyncio.timeout(60):
        comes = await joined(queue, stream, owner := Owner(), owns=PARTITIONS // 2)
        await classic.close()
        await owner.owns(PARTITIONS)

    await send(queue, stream, range(8))
    assert sorted(await fetch(comes, 8)) == [*range(8)]
    await comes.close()


async def test_who_insists_on_the_new_protocol_waits_for_the_end_of_classic_members(
    kafka: Kafka, opened: Opener, stream: str, classic: Consumer
) -> None:
    queue = opened(kafka.bootstrap, kafka={"group.protocol": "consumer"})
    insists = queue.consumer(stream, stream)
    await insists.start(owner := Owner())

    with pytest.raises(QueueUnavailable, match="classic protocol"):
        await insists.fetch(1, PATIENCE_S)
    assert not owner.owned
    await classic.close()
    async with asyncio.timeout(60):
        await owner.owns(PARTITIONS)

    await insists.close()
