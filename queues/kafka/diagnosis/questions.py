"""Questions that only a diagnosis asks. None of them changes anything."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they are public, but in no __all__
    NewTopic,
    TopicDescription,
)

from forebay.queues.errors import QueueUnavailable
from forebay.queues.kafka.admin import Admin, leaderless
from forebay.queues.kafka.answers import answered
from forebay.queues.kafka.faults import cause, is_unknown_stream

#: A broker that needs longer is in trouble; somebody waits for the answer.
_ANSWER_S = 4.0

#: A broker that has just become the groups' coordinator reads what it has of them: how often to ask, and how long to
#: wait in between.
_TRIES = 20
_BETWEEN_S = 0.1
_LOADING = frozenset(
    {KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A topic as the brokers describe it to us: what we may do with it, and its settings where we may see them."""

    partitions: int
    copies: int
    leaderless: tuple[int, ...]
    #: Partitions of which copies are behind or away → how many are not.
    behind: Mapping[int, int]
    rights: frozenset[Enum]
    config: dict[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownGroup:
    """A group as the brokers describe it to us: what we may do with it, and the name and host of each client in it."""

    rights: frozenset[Enum]
    #: The brokers keep its session, as they do for KIP-848, and not its members.
    keeps_session: bool
    clients: tuple[tuple[str, str], ...]


class Questions:
    """Asked with little patience."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    async def topics(self, names: Collection[str]) -> dict[str, Known | KafkaError | None]:
        """Each topic; None where there is none, the brokers' error where they don't tell us."""
        asked = self._admin.client.describe_topics(
            TopicCollection(list(names)), include_authorized_operations=True, request_timeout=_ANSWER_S
        )
        found = {name: await _settled(future) for name, future in asked.items()}
        return {name: await self._known(name, one) for name, one in found.items()}

    async def _known(self, name: str, found: TopicDescription | KafkaError) -> Known | KafkaError | None:
        if isinstance(found, KafkaError):
            return None if is_unknown_stream(found) else found
        return Known(
            partitions=len(found.partitions),
            copies=min(len(one.replicas) for one in found.partitions),
            leaderless=leaderless(found),
            behind={one.id: len(one.isr) for one in found.partitions if len(one.isr) < len(one.replicas)},
            rights=_rights(found.authorized_operations),
            config=await self._admin.config(name, _ANSWER_S),
        )

    async def making(self, name: str, partitions: int, copies: int, config: dict[str, str]) -> KafkaError | None:
        """What the brokers would say if the topic were to be made now."""
        try:
            await self._admin.make(NewTopic(name, partitions, copies, config=config), _ANSWER_S, only_check=True)
        except KafkaException as error:
            return cause(error)
        return None

    async def group(self, name: str) -> KnownGroup | KafkaError:
        """The group, whether it is there or not."""
        for _ in range(_TRIES):
            asked = self._admin.client.describe_consumer_groups(
                [name], include_authorized_operations=True, request_timeout=_ANSWER_S
            )
            found = await _settled(asked[name])
            if not isinstance(found, KafkaError) or found.code() not in _LOADING:
                break
            await asyncio.sleep(_BETWEEN_S)
        if isinstance(found, KafkaError):
            return found
        return KnownGroup(
            rights=_rights(found.authorized_operations),
            keeps_session=await self._keeps_session(name),
            clients=tuple((one.client_id, one.host.strip("/")) for one in found.members),
        )

    async def _keeps_session(self, group: str) -> bool:
        try:
            return await self._admin.keeps_sessions(group, _ANSWER_S)
        except QueueUnavailable:
            # They told us of the group just now, and will tell whoever joins it.
            return True


def _rights(told: Sequence[Enum] | None) -> frozenset[Enum]:
    return frozenset(told or ())


async def _settled(future: "Future[Any]") -> Any:
    """The answer, or the brokers' error."""
    try:
        return await answered(future, _ANSWER_S)
    except KafkaException as error:
        return cause(error)
