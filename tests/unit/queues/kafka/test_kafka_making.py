"""How missing topics are made, beside others who make them, and what is said of those that can't be used."""

from collections.abc import Collection, Iterable
from typing import cast

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # it is public, but in no __all__
from structlog.testing import capture_logs

from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.kafka import topics as kafka_topics
from forebay.queues.kafka.admin import Admin, Topic
from forebay.queues.kafka.topics import AnotherNumber, Topics

EVENTS, DEAD = "events", "events.dead"
PARTITIONS = 3


def topic(partitions: int = PARTITIONS, *leaderless: int) -> Topic:
    return Topic(id="a", partitions=tuple(range(partitions)), leaderless=leaderless)


class Brokers:
    """So many, with these topics."""

    def __init__(self, found: dict[str, Topic] | None = None, *, number: int = 3) -> None:
        self.number, self.found = number, found or {}
        #: Why a topic is not made, by its name; another process makes those that are there already, just before us.
        self.refusals: dict[str, int] = {}
        self.of_another = topic()
        self.made: dict[str, tuple[int, int, dict[str, str]]] = {}
        #: So often those who lead partitions don't know of them yet.
        self.unknown = 0
        self.settings: dict[str, str] | None = None

    async def topics(self, names: Collection[str], answer_s: float = 0) -> dict[str, Topic | None]:
        return {name: self.found.get(name) for name in names}

    async def brokers(self) -> int:
        return self.number

    async def make(self, new: NewTopic) -> None:
        name, config = new.topic, cast(dict[str, str], new.config)
        code = self.refusals.get(name)
        if code == KafkaError.TOPIC_ALREADY_EXISTS:
            self.found[name] = self.of_another
        if code is not None:
            raise KafkaException(KafkaError(code))
        self.found[name], self.made[name] = (
            topic(new.num_partitions),
            (new.num_partitions, new.replication_factor, config),
        )

    async def ends(self, stream: str, partitions: Iterable[int]) -> dict[int, int]:
        self.unknown -= 1
        if self.unknown >= 0:
            raise QueueUnavailable("unknown topic or partition")
        return dict.fromkeys(partitions, 0)

    async def config(self, stream: str, answer_s: float) -> dict[str, str] | None:
        return self.settings


def topics_of(brokers: Brokers) -> Topics:
    return Topics(cast(Admin, brokers), EVENTS)


@pytest.mark.parametrize(("number", "copies", "in_sync"), [(2, 1, "1"), (3, 3, "2"), (9, 3, "2")])
async def test_a_topic_gets_as_many_copies_as_the_cluster_can_keep_and_fewer_are_told(
    number: int, copies: int, in_sync: str
) -> None:
    brokers = Brokers(number=number)

    with capture_logs() as logs:
        made = await topics_of(brokers).ensure([EVENTS, DEAD], PARTITIONS)

    events, letters = (brokers.made[name] for name in (EVENTS, DEAD))
    assert events[:2] == letters[:2] == (PARTITIONS, copies)
    assert [config["min.insync.replicas"] for _, _, config in (events, letters)] == [in_sync] * 2
    assert [config.get("retention.ms") for _, _, config in (events, letters)] == [None, "-1"]
    assert [log["topics"] for log in logs] == ([[EVENTS, DEAD]] if copies == 1 else [])
    assert [sentence.split(",")[0] for sentence in made] == [
        f"stream {name} with {PARTITIONS} partitions" for name in (EVENTS, DEAD)
    ]


async def test_what_is_missing_is_told_and_neither_made_nor_placed() -> None:
    brokers = Brokers({EVENTS: topic()})
    topics = topics_of(brokers)

    [missing] = await topics.missing([EVENTS, DEAD], PARTITIONS)

    assert missing.startswith(f"stream {DEAD} with {PARTITIONS} partitions, 3 copies")
    assert brokers.made == {}
    assert topics.placement.counts == {EVENTS: PARTITIONS}


async def test_what_another_process_makes_at_the_same_time_is_taken_and_not_told_as_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka_topics, "_BETWEEN_S", 0)
    brokers = Brokers(number=1)
    brokers.refusals[EVENTS], brokers.unknown = KafkaError.TOPIC_ALREADY_EXISTS, 3
    topics = topics_of(brokers)

    with capture_logs() as logs:
        made = await topics.ensure([EVENTS, DEAD], PARTITIONS)

    assert [sentence.split()[1] for sentence in made] == [DEAD]
    assert [log["topics"] for log in logs] == [[DEAD]]
    assert brokers.unknown < 0
    assert topics.placement.counts == {EVENTS: PARTITIONS, DEAD: PARTITIONS}


async def test_where_another_process_makes_it_with_another_number_nothing_is_sent_there() -> None:
    brokers = Brokers()
    brokers.refusals[EVENTS], brokers.of_another = KafkaError.TOPIC_ALREADY_EXISTS, topic(5)
    topics = topics_of(brokers)

    with pytest.raises(AnotherNumber, match="set partitions to 5"):
        await topics.ensure([EVENTS], PARTITIONS)

    assert "set partitions to 5" in topics.placement.refused[EVENTS]
    with pytest.raises(QueueUnavailable, match="set partitions to 5"):
        await topics.check(1)


@pytest.mark.parametrize(
    ("code", "passes"),
    [
        (KafkaError._TIMED_OUT, True),
        (KafkaError._TRANSPORT, True),
        (KafkaError.INVALID_REPLICATION_FACTOR, True),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, False),
        (KafkaError.POLICY_VIOLATION, False),
    ],
)
async def test_why_a_topic_is_not_made_says_whether_to_try_again(code: int, passes: bool) -> None:
    brokers = Brokers()
    brokers.refusals[DEAD] = code
    topics = topics_of(brokers)

    with pytest.raises(QueueError, match=r"topic events\.dead could not be made") as told:
        await topics.ensure([EVENTS, DEAD], PARTITIONS)

    assert isinstance(told.value, QueueUnavailable) == passes
    assert topics.placement.refused.keys() == {EVENTS, DEAD}
    del brokers.refusals[DEAD]
    await topics.ensure([EVENTS, DEAD], PARTITIONS)
    assert topics.placement.refused == {}


async def test_a_topic_whose_partitions_nobody_leads_is_unavailable_and_one_that_is_not_made_yet_is_not() -> None:
    brokers = Brokers()
    await topics_of(brokers).check(1)

    brokers.found[EVENTS] = topic(PARTITIONS, 0, 2)

    with pytest.raises(QueueUnavailable, match="partitions 0, 2 of events have no leader"):
        await topics_of(brokers).check(1)


async def test_a_stream_that_was_missed_is_sent_to_again_when_it_is_back_as_it_was() -> None:
    brokers = Brokers({EVENTS: topic(), DEAD: topic()})
    topics = topics_of(brokers)
    await topics.ensure([EVENTS, DEAD], PARTITIONS)
    missed, told = topics.placement.missed, []

    for back in (None, topic(PARTITIONS - 1), topic(PARTITIONS)):
        brokers.found = {DEAD: topic(), **({EVENTS: back} if back else {})}
        await topics.look_for(EVENTS)
        told.append(str(missed.get(EVENTS)))

    assert told[0].startswith("there is no topic events")
    assert told[1].startswith("made anew, topic events has 2 partitions, not 3")
    assert told[2] == "None"


async def test_a_stream_that_was_missed_is_so_as_long_as_nobody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(names: Collection[str], answer_s: float = 0) -> dict[str, Topic | None]:
        raise QueueUnavailable("no broker answers")

    brokers = Brokers({EVENTS: topic()})
    topics = topics_of(brokers)
    await topics.ensure([EVENTS], PARTITIONS)
    topics.placement.missed[EVENTS] = why = QueueUnavailable("there is no topic events")
    monkeypatch.setattr(brokers, "topics", silent)

    await topics.look_for(EVENTS)

    assert topics.placement.missed == {EVENTS: why}


@pytest.mark.parametrize(
    ("settings", "kept_ms"),
    [
        ({"cleanup.policy": "delete", "retention.ms": "60000"}, 60_000),
        ({"cleanup.policy": "compact,delete", "retention.ms": "60000"}, 60_000),
        ({"cleanup.policy": "compact", "retention.ms": "60000"}, None),
        ({"cleanup.policy": "delete", "retention.ms": "-1"}, None),
        ({"cleanup.policy": "delete"}, None),
        (None, None),
    ],
)
async def test_how_long_a_topic_keeps_a_record_is_known_where_it_takes_any(
    settings: dict[str, str] | None, kept_ms: int | None
) -> None:
    brokers = Brokers()
    brokers.settings = settings

    assert await topics_of(brokers).keeps_ms(EVENTS) == kept_ms
