"""Members that the brokers fence or shut out: what was theirs is lost at once, and their leaving has an end."""

import asyncio
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from forebay.queues.contract import StoredRecord
from forebay.queues.errors import QueueError, QueueUnavailable
from tests.integration.kafka.mocked import STREAM
from tests.kafka.members import PARTITIONS, PATIENCE_S, Owner, send
from tests.kafka.mock_cluster import Api, MockCluster
from tests.kafka.opener import Opener


@pytest.mark.parametrize(
    ("protocol", "beat", "code"),
    [
        ("classic", Api.HEARTBEAT, KafkaError.FENCED_INSTANCE_ID),
        ("consumer", Api.CONSUMER_GROUP_HEARTBEAT, KafkaError.FENCED_INSTANCE_ID),
        ("consumer", Api.CONSUMER_GROUP_HEARTBEAT, KafkaError.UNRELEASED_INSTANCE_ID),
    ],
)
async def test_a_static_member_that_is_fenced_has_lost_its_partitions_before_it_is_closed(
    mock: MockCluster, opened: Opener, protocol: str, beat: Api, code: int
) -> None:
    queue = opened(mock.bootstrap, kafka={"group.protocol": protocol}, group_instance_id="worker-1")
    # Longer than the mock takes to put a classic group together.
    consumer = queue.consumer(STREAM, STREAM, session_s=10)
    await consumer.start(owner := Owner())
    await owner.owns(PARTITIONS)

    mock.fail(beat, code)
    with pytest.raises(QueueError, match="can't go on"):
        while True:
            await consumer.fetch(1, 1.0)

    async with asyncio.timeout(10):
        await owner.is_told("lost", PARTITIONS)
    await consumer.close()
    assert owner.told == ["assigned"] * PARTITIONS + ["lost"] * PARTITIONS


@pytest.mark.parametrize(
    ("protocol", "code", "remedy"),
    [
        ("consumer", KafkaError.GROUP_AUTHORIZATION_FAILED, "kafka-acls"),
        ("classic", KafkaError.GROUP_MAX_SIZE_REACHED, r"group\.max\.size"),
    ],
)
async def test_a_member_that_is_shut_out_for_a_while_says_why_and_comes_back_by_itself(
    mock: MockCluster, opened: Opener, protocol: str, code: int, remedy: str
) -> None:
    queue = opened(mock.bootstrap, kafka={"group.protocol": protocol})
    consumer = queue.consumer(STREAM, STREAM, session_s=10)
    await consumer.start(owner := Owner())
    await owner.owns(PARTITIONS)

    for api in (Api.CONSUMER_GROUP_HEARTBEAT, Api.HEARTBEAT, Api.JOIN_GROUP):
        mock.fail(api, *[code] * 1000)
    with pytest.raises(QueueUnavailable, match=remedy):
        while True:
            await consumer.fetch(1, 1.0)
    for api in (Api.CONSUMER_GROUP_HEARTBEAT, Api.HEARTBEAT, Api.JOIN_GROUP):
        mock.relent(api)
    async with asyncio.timeout(60):
        await owner.is_told("assigned", 2 * PARTITIONS)

    assert owner.told == ["assigned"] * PARTITIONS + ["lost"] * PARTITIONS + ["assigned"] * PARTITIONS
    await send(queue, STREAM, [7])
    found: list[StoredRecord] = []
    while not found:
        # What was complained of before comes first.
        with suppress(QueueUnavailable):
            found = await consumer.fetch(1, PATIENCE_S)
    assert [one.value for one in found] == [b"7"]
    await consumer.close()


def test_a_client_that_never_closes_keeps_no_process() -> None:
    script = Path(__file__).with_name("leave_fenced.py")

    left = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)

    assert left.returncode == 0, left.stderr
    assert left.stdout.splitlines()[-1].split() == ["assigned"] * PARTITIONS + ["lost"] * PARTITIONS
    assert "without a goodbye" in left.stdout
