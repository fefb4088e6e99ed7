"""Is fenced by a mock of the brokers, in a way after which librdkafka does not close, and leaves the group."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from forebay.queues.errors import QueueError
from tests.integration.kafka.mocked import STREAM, mocked
from tests.kafka.members import PARTITIONS, Owner
from tests.kafka.mock_cluster import Api, MockCluster
from tests.kafka.opener import opening


async def main(mock: MockCluster, folder: Path) -> None:
    """Print what the member was told."""
    async with opening(folder) as opened:
        consumer = opened(mock.bootstrap, kafka={"group.protocol": "classic"}).consumer(STREAM, STREAM, session_s=10)
        await consumer.start(owner := Owner())
        await owner.owns(PARTITIONS)
        # Only static members are fenced so; the client believes it of any.
        mock.fail(Api.HEARTBEAT, KafkaError.FENCED_INSTANCE_ID)
        with pytest.raises(QueueError, match="group_instance_id"):
            while True:
                await consumer.fetch(1, 1.0)
        await consumer.close()
        print(*owner.told)


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patched, tempfile.TemporaryDirectory() as made, mocked(patched) as cluster:
        asyncio.run(main(cluster, Path(made)))
