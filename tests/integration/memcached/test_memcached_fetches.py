"""What one fetch takes out of Memcached."""

import pytest

from forebay.queues.contract import Producer, Queue
from forebay.queues.memcached import reading
from tests.integration.queues.members import PARTITIONS, STREAM, Follower, bytes_of, fill

#: Of the 32 that one question asks for.
QUESTION_BYTES = 32 * 100


async def test_the_bytes_of_a_fetch_are_limited_in_all_and_a_full_partition_starves_none(
    queue: Queue, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_READ_BYTES", 3 * QUESTION_BYTES)
    await fill(producer, {0: [100] * 160, 1: [100] * 160, 2: [100], 3: [100]})
    consumer = queue.consumer(STREAM, "group")
    await consumer.start(follower := Follower())
    await follower.owns(PARTITIONS)

    found = [bytes_of(await consumer.fetch(500, 30.0)) for _ in range(2)]
    await consumer.close()

    assert [sum(one.values()) <= 4 * QUESTION_BYTES for one in found] == [True, True]
    assert all(one.get(partition, 0) >= QUESTION_BYTES for one in found for partition in (0, 1))
    assert (found[0][2], found[0][3]) == (100, 100)
