"""Copies of an event on three brokers: what is made, and what is told of topics that were made otherwise."""

from collections.abc import Iterable, Iterator

import pytest
from confluent_kafka import TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are public, but in no __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from forebay.queues.contract import Queue
from forebay.queues.errors import QueueUnavailable
from forebay.queues.findings import Needs
from forebay.queues.kafka.admin import Admin
from forebay.schemas import names
from tests.kafka.cluster import Cluster
from tests.kafka.opener import Opener

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

PARTITIONS = 2


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("three"), nodes=3) as cluster:
        yield cluster


@pytest.fixture
def admin(three: Cluster) -> Iterator[AdminClient]:
    with AdminClient({"bootstrap.servers": three.bootstrap, "log_level": 0}) as admin:
        yield admin


def kept(admin: AdminClient, topic: str) -> tuple[int, str]:
    """Copies, and how many must be in sync."""
    described = admin.describe_topics(TopicCollection([topic]))[topic].result(30)
    [asked] = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    return len(described.partitions[0].replicas), asked.result(30)["min.insync.replicas"].value


async def told(queue: Queue, topic: str) -> str:
    """Everything that is found wrong."""
    needs = Needs(streams={topic: frozenset(("read", "write"))}, events=topic, partitions=PARTITIONS)
    return "\n".join([one.text() async for one in queue.diagnose(needs) if one.state != "ok"])


async def test_an_event_gets_three_copies_and_counts_as_kept_with_two(
    three: Cluster, opened: Opener, admin: AdminClient
) -> None:
    queue = opened(three.bootstrap, topic="as-it-should-be")

    planned = await queue.missing(["as-it-should-be"], PARTITIONS)
    made = await queue.ensure(["as-it-should-be"], PARTITIONS)

    sentence = (
        f"stream as-it-should-be with {PARTITIONS} partitions, 3 copies, 2 of them in sync before an event counts"
    )
    assert planned == made == [f"{sentence} as kept"]
    assert kept(admin, "as-it-should-be") == (3, "2")
    assert await told(queue, "as-it-should-be") == ""


async def test_what_was_just_made_is_known_whichever_broker_is_asked(three: Cluster, opened: Opener) -> None:
    for number in range(4):
        topic = f"new-{number}"
        queue = opened(three.bootstrap, topic=topic)
        inspector = queue.inspector()

        await queue.ensure(names.streams(topic), 12)

        for stream in names.streams(topic) * 3:
            assert len(await inspector.bounds(stream)) == 12
        await inspector.close()


async def test_a_topic_that_was_made_and_has_a_broker_that_never_learns_of_it_is_no_hang(
    three: Cluster, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forebay.queues.kafka.topics._KNOWN_S", 0.5)

    async def unknown(admin: Admin, stream: str, partitions: Iterable[int]) -> dict[int, int]:
        raise QueueUnavailable("Kafka: Broker: Unknown topic or partition")

    monkeypatch.setattr(Admin, "ends", unknown)
    queue = opened(three.bootstrap, topic="half-known")

    with pytest.raises(QueueUnavailable, match="half-known were made, but not all brokers know them yet"):
        await queue.ensure(["half-known"], PARTITIONS)
    assert await queue.ensure(["half-known"], PARTITIONS) == []


async def test_a_topic_that_keeps_less_is_told_and_not_changed(
    three: Cluster, opened: Opener, admin: AdminClient
) -> None:
    topics = [
        NewTopic("one-copy", PARTITIONS, 1, config={"min.insync.replicas": "1"}),
        NewTopic("one-in-sync", PARTITIONS, 3, config={"min.insync.replicas": "1"}),
    ]
    for one in admin.create_topics(topics).values():
        one.result(30)
    queue = opened(three.bootstrap, topic="one-copy")

    made = await queue.ensure(["one-copy", "one-in-sync"], PARTITIONS)

    assert made == []
    assert "topic one-copy: 1 copy of each event, where 3 are possible" in await told(queue, "one-copy")
    in_sync = await told(queue, "one-in-sync")
    assert "min.insync.replicas is 1: an event counts as kept with one broker alone" in in_sync
    assert "--entity-name one-in-sync --add-config min.insync.replicas=2" in in_sync
    assert (kept(admin, "one-copy"), kept(admin, "one-in-sync")) == ((1, "1"), (3, "1"))


async def test_copies_that_are_away_are_told(three: Cluster, opened: Opener, admin: AdminClient) -> None:
    queue = opened(three.bootstrap, topic="two-in-sync")
    await queue.ensure(["two-in-sync", "all-in-sync"], PARTITIONS)
    entry = ConfigEntry("min.insync.replicas", "3", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, "all-in-sync", incremental_configs=[entry])
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(30)
    before = await told(queue, "two-in-sync")

    three.nodes[2].stop()
    try:
        while "away or behind" not in (some := await told(queue, "two-in-sync")):
            pass
        few = await told(queue, "all-in-sync")
    finally:
        three.nodes[2].start()
        three.wait_in_sync()

    assert before == ""
    assert "warn topic two-in-sync: partitions 0, 1 have copies that are away or behind" in some
    assert "fail topic all-in-sync: partitions 0, 1 have fewer copies in sync than min.insync.replicas (3)" in few
