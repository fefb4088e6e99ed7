"""Questions about the cluster, asked on the event loop."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka import (
    OFFSET_INVALID,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are public, but in no __all__
    AdminClient,
    AlterConfigOpType,
    ClusterMetadata,
    ConfigEntry,
    ConfigResource,
    ConsumerGroupDescription,
    ListOffsetsResultInfo,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
    TopicDescription,
)

from forebay.queues.errors import QueueUnavailable

from ..threads.daemons import Threads
from . import closing
from .answers import answered
from .asking import Asking, end
from .clients import Clients
from .faults import Faults, cause, is_unknown_stream, is_vague
from .layout import for_older_brokers, is_too_new

#: A question that isn't answered by then is given up.
_ANSWER_S = 10.0

#: A question about one topic, and not about all; this one is Kafka's own.
_ANY_TOPIC = "__consumer_offsets"

#: The brokers' setting for how many copies of that there are to be.
_COPIES = "offsets.topic.replication.factor"

#: So many groups are asked at once what they have committed, each by a client of its own.
_AT_ONCE = 8
_NAME = "forebay-commits"

#: A new or moved leader isn't known everywhere at once: how often to ask again, and how long to wait in between.
_TRIES = 40
_ELECTION_S = 0.05
_ELECTION = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.FENCED_LEADER_EPOCH,
        # A leader that is just elected does not know yet how much is kept by all.
        KafkaError.OFFSET_NOT_AVAILABLE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """The numbers of a topic's partitions, and of those that no broker leads just now.

    One that was deleted and made anew has another `id`; brokers before 2.8 give every topic the same.
    """

    id: str
    partitions: tuple[int, ...]
    leaderless: tuple[int, ...]


class Admin:
    """One for all parts of a queue."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._faults = Faults()
        self._asking = Asking(clients, self._faults)
        self._threads = Threads(_AT_ONCE, _NAME)

    @property
    def complaint(self) -> KafkaError | None:
        """What the client has complained of since something worked."""
        self.client.poll(0)
        return self._faults.last

    async def nodes(self, answer_s: float = _ANSWER_S) -> dict[int, str]:
        """Where the brokers say that they are. Raises `QueueUnavailable` when none lets us in."""
        found = await self._refresh(_ANY_TOPIC, answer_s)
        return {number: f"{one.host}:{one.port}" for number, one in found.brokers.items()}

    async def topics(self, names: Collection[str], answer_s: float = _ANSWER_S) -> dict[str, Topic | None]:
        """What is known of each topic; None where there is none. Never makes one."""
        await self._refresh(_ANY_TOPIC, answer_s)
        asked = self.client.describe_topics(TopicCollection(list(names)), request_timeout=answer_s)
        return {name: await self._topic(future, answer_s) for name, future in asked.items()}

    async def _refresh(self, topic: str, answer_s: float = _ANSWER_S) -> ClusterMetadata:
        """Learn anew who leads the topic's partitions, and who the controller is.

        A client that has lost it would go on asking the old one for minutes.
        """
        try:
            return await self._asking.refresh(topic, answer_s)
        except KafkaException as error:
            raise self._unavailable(error) from error

    async def _topic(self, future: "Future[TopicDescription]", answer_s: float) -> Topic | None:
        try:
            found = await answered(future, answer_s)
        except KafkaException as error:
            if is_unknown_stream(cause(error)):
                return None
            raise self._unavailable(error) from error
        self._faults.clear()
        return _topic(found)

    async def brokers(self) -> int:
        """How many brokers the cluster has, also where some are away, or have not come yet: that many at least.

        In a cluster that can't keep as many copies of Kafka's own topics as its brokers are told to, three by default,
        no group works: where that is said there are as many brokers, if not now.
        """
        asked = self.client.describe_cluster(request_timeout=_ANSWER_S)
        nodes = (await self._answer(asked)).nodes
        config = await self._config(ResourceType.BROKER, str(nodes[0].id), _ANSWER_S) if nodes else None
        return max(len(nodes), int((config or {}).get(_COPIES, 0)))

    async def config(self, topic: str, answer_s: float) -> dict[str, str] | None:
        """The settings of the topic; None where we may not see them, or nobody tells."""
        return await self._config(ResourceType.TOPIC, topic, answer_s)

    async def _config(self, kind: ResourceType, name: str, answer_s: float) -> dict[str, str] | None:
        asked = [ConfigResource(kind, name)]
        [future] = self.client.describe_configs(asked, request_timeout=answer_s).values()
        try:
            found = await answered(future, answer_s)
        except KafkaException:
            return None
        return {name: entry.value for name, entry in found.items()}

    async def make(self, topic: NewTopic, answer_s: float = _ANSWER_S, *, only_check: bool = False) -> None:
        """Make a topic. Raises `KafkaException`, since what it means depends on the topic."""
        try:
            await self._make(topic, answer_s, only_check=only_check)
        except KafkaException as error:
            if not is_too_new(cause(error)):
                raise
            config = for_older_brokers(topic.config)
            older = NewTopic(topic.topic, topic.num_partitions, topic.replication_factor, config=config)
            await self._make(older, answer_s, only_check=only_check)

    async def _make(self, topic: NewTopic, answer_s: float, *, only_check: bool) -> None:
        [future] = self.client.create_topics([topic], request_timeout=answer_s, validate_only=only_check).values()
        await answered(future, answer_s)

    async def grow(self, name: str, partitions: int, *, only_check: bool) -> None:
        """Let a topic have so many partitions. Raises `KafkaException`."""
        wanted = [NewPartitions(name, partitions)]
        [future] = self.client.create_partitions(wanted, request_timeout=_ANSWER_S, validate_only=only_check).values()
        await answered(future, _ANSWER_S)

    async def starts(self, stream: str, partitions: Iterable[int]) -> dict[int, int]:
        """The first offset of each partition that is kept."""
        return await self._offsets(stream, partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    async def ends(self, stream: str, partitions: Iterable[int]) -> dict[int, int]:
        """The next offset of each partition; what is behind an open transaction can't be read, and isn't there yet."""
        return await self._offsets(stream, partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    async def tops(self, stream: str, partitions: Iterable[int]) -> dict[int, int]:
        """The same, with what is behind an open transaction."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        return await self._offsets(stream, partitions, latest, IsolationLevel.READ_UNCOMMITTED)

    async def at(self, stream: str, partition: int, timestamp_ms: int) -> int:
        """The offset of the first record of that time or later; negative when there is none."""
        return (await self._offsets(stream, [partition], OffsetSpec.for_timestamp(timestamp_ms)))[partition]

    async def _offsets(
        self,
        stream: str,
        partitions: Iterable[int],
        at: OffsetSpec,
        isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
    ) -> dict[int, int]:
        asked = {TopicPartition(stream, number): at for number in partitions}
        for _ in range(_TRIES):
            futures = self.client.list_offsets(asked, request_timeout=_ANSWER_S, isolation_level=isolation)
            told = [answered(future, _ANSWER_S) for future in futures.values()]
            answers = await asyncio.gather(*told, return_exceptions=True)
            if not any(_is_election(answer) for answer in answers):
                break
            await asyncio.sleep(_ELECTION_S)
            # The client doesn't do it by itself: it would ask by the old leader's epoch for ever.
            await self._refresh(stream)
        if silent := [at.partition for at, answer in zip(futures, answers, strict=True) if _is_none(answer)]:
            raise self._silent(stream, silent)
        for error in answers:
            if isinstance(error, KafkaException):
                raise self._unavailable(error) from error
        return {at.partition: (await self._answer(future)).offset for at, future in futures.items()}

    async def groups(self) -> list[str]:
        """The names of all consumer groups."""
        found = await self._answer(self.client.list_consumer_groups(request_timeout=_ANSWER_S))
        for error in found.errors:
            raise self._unavailable(KafkaException(error))
        return [group.group_id for group in found.valid]

    async def commits(self, group: str, stream: str, partitions: Iterable[int]) -> list[TopicPartition]:
        """What the group has committed in the partitions, with the metadata; below 0 where it has nothing."""
        asked = [TopicPartition(stream, number) for number in partitions]
        try:
            commits = partial(self._commits, group, asked)
            return await asyncio.get_running_loop().run_in_executor(self._threads, commits)
        except KafkaException as error:
            raise self._unavailable(error) from error

    def _commits(self, group: str, asked: list[TopicPartition]) -> list[TopicPartition]:
        # By a client of the group, which joins nothing: see `members` for what an admin client would do.
        client = self._clients.outsider(self._faults, group)
        try:
            return client.committed(asked, timeout=_ANSWER_S)
        except KafkaException as error:
            # Why the group's coordinator can't be asked, as without the right to, is told to whoever polls, and to
            # nobody else: until then it looks like a broker that is slow.
            told = client.poll(0)
            if told is not None and (reason := told.error()) is not None:
                raise KafkaException(reason) from error
            raise
        finally:
            closing.end(client.close)

    async def members(self, groups: Collection[str]) -> dict[str, ConsumerGroupDescription]:
        """Who is in each group, and who owns what."""
        if not groups:
            return {}
        # By a client of its own: one that has seen a coordinator go and come asks on in a way that ends the whole
        # process (librdkafka's issue 4605, open).
        client = self._clients.admin(self._faults)
        try:
            asked = client.describe_consumer_groups(list(groups), request_timeout=_ANSWER_S)
            return {group: await self._answer(future) for group, future in asked.items()}
        finally:
            closing.let_end(partial(end, client))

    async def keeps_sessions(self, group: str, answer_s: float = _ANSWER_S) -> bool:
        """Whether the brokers keep settings for the group, as those do that can do KIP-848 (Kafka 4.0).

        A client that is to use it with others says nothing of that: it looks for the group's coordinator for ever.
        Raises `QueueUnavailable`.
        """
        asked = [ConfigResource(ResourceType.GROUP, group)]
        [future] = self.client.describe_configs(asked, request_timeout=answer_s).values()
        try:
            await answered(future, answer_s)
        except KafkaException as error:
            if is_vague(told := cause(error)):
                raise self._unavailable(error) from error
            # They have some, and don't show them to us; who has none says so in one way or another.
            return told.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
        return True

    async def set_of_group(self, group: str, properties: Mapping[str, int]) -> None:
        """Set what the brokers keep for the group (KIP-848), all or nothing. Raises `KafkaException`: they won't."""
        entries = [
            ConfigEntry(name, str(value), incremental_operation=AlterConfigOpType.SET)
            for name, value in properties.items()
        ]
        resource = ConfigResource(ResourceType.GROUP, group, incremental_configs=entries)
        [future] = self.client.incremental_alter_configs([resource], request_timeout=_ANSWER_S).values()
        await answered(future, _ANSWER_S)

    async def close(self) -> None:
        """Let go of the cluster. Idempotent."""
        threads, self._threads = self._threads, Threads(_AT_ONCE, _NAME)
        threads.shutdown()
        await self._asking.close()

    def begin(self) -> AdminClient:
        """Make the client, unless it is there. Raises `QueueError` when the settings can't be used."""
        return self._asking.client

    @property
    def client(self) -> AdminClient:
        """The client, for questions that only one asks."""
        return self.begin()

    async def _answer(self, future: "Future[Any]") -> Any:
        try:
            found = await answered(future, _ANSWER_S)
        except KafkaException as error:
            raise self._unavailable(error) from error
        self._faults.clear()
        return found

    def _silent(self, stream: str, partitions: Iterable[int]) -> QueueUnavailable:
        which = ", ".join(map(str, sorted(partitions)))
        why = self._unavailable(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
        return QueueUnavailable(
            f"who leads partitions {which} of {stream} does not answer ({why}); `forebay doctor` says which brokers "
            "can't be reached from here"
        )

    def _unavailable(self, error: KafkaException) -> QueueUnavailable:
        # What the client complains of is told to whoever polls, and to nobody else.
        self.client.poll(0)
        return QueueUnavailable(self._faults.text(otherwise=cause(error)))


def _topic(found: TopicDescription) -> Topic:
    return Topic(
        id=str(found.topic_id),
        partitions=tuple(one.id for one in found.partitions),
        leaderless=leaderless(found),
    )


def leaderless(found: TopicDescription) -> tuple[int, ...]:
    """The partitions that no broker leads just now."""
    return tuple(one.id for one in found.partitions if one.leader is None or one.leader.id < 0)


def _is_none(answer: object) -> bool:
    # Of a broker that does not answer in time librdkafka makes no error, but an offset that is none. Taken for one, it
    # would be the end of a partition that has nothing.
    return isinstance(answer, ListOffsetsResultInfo) and answer.offset == OFFSET_INVALID


def _is_election(answer: object) -> bool:
    return isinstance(answer, KafkaException) and cause(answer).code() in _ELECTION
