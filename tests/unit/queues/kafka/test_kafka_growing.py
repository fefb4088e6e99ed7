"""In which order topics get more partitions, and when that is done."""

from collections.abc import Collection
from typing import cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from forebay.queues.errors import QueueError, QueueUnavailable, UnknownStream
from forebay.queues.kafka import growth
from forebay.queues.kafka.admin import Admin, Topic
from forebay.queues.kafka.growth import grow

NAMES = ["events", "events.parked", "events.dead"]


def topic(partitions: int, *leaderless: int) -> Topic:
    return Topic(id="a", partitions=tuple(range(partitions)), leaderless=leaderless)


class Brokers:
    """Of each question about topics they know one state; the last one stays."""

    def __init__(self, *known: dict[str, Topic | None]) -> None:
        self._known = list(known)
        self.asked = 0
        #: What was asked of them: the topic, and whether it was only to be checked.
        self.grown: list[tuple[str, bool]] = []
        #: The topic that they refuse to grow.
        self.refused = ""

    async def topics(self, names: Collection[str]) -> dict[str, Topic | None]:
        found = self._known[min(self.asked, len(self._known) - 1)]
        self.asked += 1
        return {name: found[name] for name in names}

    async def grow(self, name: str, partitions: int, *, only_check: bool) -> None:
        assert partitions == 3
        if name == self.refused:
            raise KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
        self.grown.append((name, only_check))

    async def grow_all(self, *, only_plan: bool = False) -> list[str]:
        return await grow(cast(Admin, self), NAMES, 3, only_plan=only_plan)


def all_with(partitions: int) -> dict[str, Topic | None]:
    return dict.fromkeys(NAMES, topic(partitions))


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "_BETWEEN_S", 0)


async def test_none_is_changed_before_all_were_checked_and_all_is_done_when_each_partition_has_a_leader() -> None:
    before = {**all_with(2), "events.dead": topic(3)}
    on_the_way = [before, {**all_with(3), "events": topic(2)}, {**all_with(3), "events": topic(3, 2)}]
    brokers = Brokers(before, *on_the_way, {**all_with(3), "events": None}, all_with(3))

    done = await brokers.grow_all()

    assert brokers.grown == [(name, only_check) for only_check in (True, False) for name in NAMES[:2]]
    assert brokers.asked == 6
    assert done == [f"stream {name} from 2 to 3 partitions" for name in NAMES[:2]]


async def test_where_one_is_refused_none_is_changed() -> None:
    brokers = Brokers(all_with(2))
    brokers.refused = "events.dead"

    with pytest.raises(QueueError, match=r"events\.dead can't get 3 partitions.*kafka-acls"):
        await brokers.grow_all()

    assert brokers.grown == [("events", True), ("events.parked", True)]


async def test_a_plan_asks_the_brokers_and_changes_nothing() -> None:
    brokers = Brokers(all_with(2))

    assert len(await brokers.grow_all(only_plan=True)) == 3
    assert [only_check for _, only_check in brokers.grown] == [True] * 3


async def test_one_that_is_not_there_or_has_more_already_keeps_all_as_they_are() -> None:
    absent, larger = Brokers({**all_with(2), "events.dead": None}), Brokers({**all_with(2), "events.dead": topic(4)})

    with pytest.raises(UnknownStream, match=r"events\.dead"):
        await absent.grow_all()
    with pytest.raises(QueueError, match=r"events\.dead has 4 partitions, and Kafka can't take any away"):
        await larger.grow_all()

    assert (absent.grown, larger.grown) == ([], [])


async def test_brokers_that_never_come_to_know_it_are_told() -> None:
    brokers = Brokers(all_with(2))

    with pytest.raises(QueueUnavailable, match="were grown, but the brokers don't know it yet"):
        await brokers.grow_all()

    assert brokers.asked == 101
