"""What a client logs in with is renewed while everything runs: who is refused with the old goes on by the new."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are public, but in no __all__
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from forebay.queues.contract import Commit, Queue, Record
from forebay.queues.errors import QueueUnavailable
from tests.certificates import Authority
from tests.kafka.members import PARTITIONS, fetch, joined
from tests.kafka.opener import Opener
from tests.kafka.secured import PASSWORDS, Secured, secured_kafka
from tests.kafka.ways_in import ways_in
from tests.missing import entered

pytestmark = pytest.mark.kafka

T = TypeVar("T")

HOSTS = ("localhost", "127.0.0.1")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Secured]:
    """A secured Kafka of the test's own, whose certificates it may replace."""
    with ExitStack() as running:
        yield entered(running, lambda: secured_kafka(tmp_path))


@pytest.mark.parametrize(
    ("protocol", "is_brokers_too"), [("consumer", True), ("classic", False)], ids=["all of them", "ours alone"]
)
async def test_certificates(own: Secured, opened: Opener, tmp_path: Path, protocol: str, is_brokers_too: bool) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    trusted, certificate, key = mine / "ca.pem", mine / "client.crt", mine / "client.key"
    shutil.copy(own.authority, trusted)
    shutil.copy(own.client.certificate, certificate)
    shutil.copy(own.client.key, key)
    way = ways_in(own)["mutual tls"].but(
        ssl_ca_location=str(trusted), ssl_certificate_location=str(certificate), ssl_key_location=str(key)
    )

    def renew() -> None:
        renewed = Authority(tmp_path, "renewed authority")
        client, broker = renewed.signed("forebay-client"), renewed.signed("broker", HOSTS)
        if is_brokers_too:
            shutil.copy(renewed.certificate, trusted)
            shutil.copy(broker.both, own.authority.parent / "broker.pem")
        shutil.copy(client.certificate, certificate)
        shutil.copy(client.key, key)
        # What the brokers know our certificate by.
        shutil.copy(renewed.certificate, own.authority)

    await _goes_on(opened(way.bootstrap, kafka={**way.kafka, "group.protocol": protocol}), own, renew)


async def test_a_password_in_a_file(own: Secured, opened: Opener, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(PASSWORDS["forebay"] + "\n", "utf-8")
    way = ways_in(own)["scram over tls"].but(sasl_password=None, sasl_password_file=str(file))

    def renew() -> None:
        file.write_text("pw-renewed\n", "utf-8")
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        with AdminClient({"bootstrap.servers": own.clear, "log_level": 0}) as admin:
            changed: list[UserScramCredentialAlteration] = [
                UserScramCredentialUpsertion("forebay", credential, b"pw-renewed")
            ]
            for done in admin.alter_user_scram_credentials(changed).values():
                done.result(30)

    await _goes_on(opened(way.bootstrap, kafka=way.kafka), own, renew)


async def _goes_on(queue: Queue, own: Secured, renew: Callable[[], None]) -> None:
    """Whoever has a client of the queue works on after the brokers were started anew, and no event comes again."""
    stream = f"events-{uuid4().hex}"
    await queue.ensure([stream], PARTITIONS)
    producer, inspector, consumer = queue.producer(), queue.inspector(), await joined(queue, stream)
    partition = (await producer.send(stream, _record(0))).partition
    assert await fetch(consumer, 1) == [0]
    await consumer.commit({partition: Commit(offset=1)})

    await asyncio.to_thread(renew)
    # What stands is as good as before, and nobody does anything.
    await producer.send(stream, _record(1))
    assert await fetch(consumer, 1) == [1]
    await consumer.commit({partition: Commit(offset=2)})
    [node] = own.cluster.nodes
    await asyncio.to_thread(node.stop)
    node.start()
    await asyncio.to_thread(own.cluster.wait_ready)

    await producer.send(stream, _record(2))
    assert await _in_the_end(lambda: fetch(consumer, 1)) == [2]
    bounds = await _in_the_end(lambda: inspector.bounds(stream))
    assert bounds[partition].end == 3
    await producer.check()
    for one in (producer, consumer, inspector):
        await one.close()


async def _in_the_end(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer, once there is one: who asks first may be told of the trouble."""
    while True:
        with suppress(QueueUnavailable):
            return await ask()


def _record(number: int) -> Record:
    return Record(key="portal", value=b"%d" % number, timestamp_ms=1_700_000_000_000 + number)
