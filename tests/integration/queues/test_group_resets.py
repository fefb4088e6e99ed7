"""A group that has no place where records are is told so: its events come again."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from forebay.queues.contract import Commit, Queue
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.schemas.portal import partition_of
from tests.integration.queue_contract.parts import PARTITIONS, STREAM, Follower, member, record, send_all


@pytest.fixture(params=["memory", "sqlite", "redis", "memcached"])
async def queue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Queue]:
    urls = {"memory": f"memory://{uuid4()}", "sqlite": ""}
    url = urls[request.param] if request.param in urls else request.getfixturevalue(f"{request.param}_url")
    opened = open_queue(QueueSettings(data_dir=tmp_path, queue_url=url))
    await opened.ensure([STREAM], PARTITIONS)
    yield opened
    await opened.close()


async def test_only_a_group_without_a_place_where_records_are_begins_anew(queue: Queue) -> None:
    producer, filled = queue.producer(), partition_of("portal", PARTITIONS)
    await send_all(producer, [record("portal", 1)])
    await producer.close()
    new, known = Follower(), Follower()

    async with member(queue, new) as one:
        await one.commit({filled: Commit(offset=1)})
    async with member(queue, known):
        pass

    assert {number for number, commit in new.committed.items() if commit.is_reset} == {filled}
    assert not known.committed[filled].is_reset
