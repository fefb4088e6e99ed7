"""What tests of the producer send, find, and set at the brokers."""

import asyncio

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are public, but in no __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from forebay.queues.contract import Queue, Record
from tests.kafka.cluster import Cluster
from tests.kafka.fixtures import Kafka


def record(number: int = 0, value: bytes = b"") -> Record:
    return Record(key="portal", value=value or str(number).encode(), timestamp_ms=1_700_000_000_000 + number)


async def values(queue: Queue, stream: str) -> list[bytes]:
    inspector = queue.inspector()
    found = []
    try:
        for partition, bounds in (await inspector.bounds(stream)).items():
            found += [one.value for one in await inspector.read(stream, partition, bounds.start, 1000)]
    finally:
        await inspector.close()
    return found


async def altered(of: Kafka | Cluster, kind: ResourceType, name: str, setting: str, value: object) -> None:
    """Set what the brokers keep; it holds when this returns."""
    entry = ConfigEntry(setting, str(value), incremental_operation=AlterConfigOpType.SET)
    with AdminClient({"bootstrap.servers": of.bootstrap, "log_level": 0}) as admin:
        [done] = admin.incremental_alter_configs([ConfigResource(kind, name, incremental_configs=[entry])]).values()
        await asyncio.wrap_future(done)
    while (await settings_of(of, kind, name))[setting].value != str(value):
        pass


async def settings_of(of: Kafka | Cluster, kind: ResourceType, name: str) -> dict[str, ConfigEntry]:
    with AdminClient({"bootstrap.servers": of.bootstrap, "log_level": 0}) as admin:
        [asked] = admin.describe_configs([ConfigResource(kind, name)]).values()
        found: dict[str, ConfigEntry] = await asyncio.wrap_future(asked)
        return found
