"""The topics of our streams: which are missing, and whether they are as they should be."""

import asyncio
from collections.abc import Iterable
from functools import partial

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # it is public, but in no __all__

from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.schemas import names
from forebay.schemas.logger import get_logger

from .admin import Admin, Topic
from .faults import cause, of_change, unknown_stream
from .layout import COPIES, config_for, config_for_facts, copies_for, planned
from .placement import Placement

log = get_logger(__name__)

#: What was just made isn't known everywhere at once, and hundreds of partitions take many seconds: how long to look for
#: them, and how long to wait in between.
_KNOWN_S = 60.0
_BETWEEN_S = 0.05

#: How long a question about one topic may take.
_ANSWER_S = 10.0

#: The same for its settings, without which one goes on.
_SETTINGS_S = 4.0

#: As `retention.ms`.
_FOREVER = -1

#: What passes by itself: so many brokers were there a moment ago, and one of them is away.
_PASSING = (KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError.INVALID_REPLICATION_FACTOR)


class AnotherNumber(QueueError):
    """A topic has another number of partitions than the setting `partitions` says: set that to the topic's."""


class Topics:
    """Makes topics; `topic` is the one that takes the events, and keeps them as long as the cluster likes."""

    def __init__(self, admin: Admin, topic: str) -> None:
        self._admin, self._topic = admin, topic
        self.placement = Placement()
        #: Under way, by topic and patience.
        self._asked: dict[tuple[str, float], asyncio.Task[Topic]] = {}

    async def missing(self, streams: Iterable[str], partitions: int) -> list[str]:
        """As in the contract. What is there is placed by that number from then on."""
        streams = list(streams)
        absent = await self._absent(streams, partitions)
        self.placement.take([stream for stream in streams if stream not in absent], partitions)
        copies = copies_for(await self._admin.brokers()) if absent else 0
        return [planned(name, partitions, copies) for name in absent]

    async def ensure(self, streams: Iterable[str], partitions: int) -> list[str]:
        """As in the contract."""
        streams = list(streams)
        known = self.placement
        known.is_asking = not known.counts.keys() >= set(streams)
        try:
            absent = await self._absent(streams, partitions)
            known.take([stream for stream in streams if stream not in absent], partitions)
            made = await self._make_all(absent, partitions) if absent else []
        except BaseException as error:
            known.refuse(streams, str(error) or repr(error), also_known=isinstance(error, AnotherNumber))
            raise
        finally:
            known.is_asking = False
        known.take(streams, partitions)
        return made

    async def look_for(self, stream: str) -> None:
        """Let the stream be sent to again if it is back, with as many partitions as before."""
        known = self.placement
        try:
            absent = await self._absent([*known.counts], known.counts[stream])
        except AnotherNumber as error:
            known.missed[stream] = QueueUnavailable(f"made anew, {error}, and start again")
        except QueueError:
            # Nothing new is known.
            return
        else:
            if stream in absent:
                known.missed[stream] = unknown_stream(stream)
            else:
                known.missed.pop(stream, None)

    async def _make_all(self, absent: list[str], partitions: int) -> list[str]:
        copies = copies_for(await self._admin.brokers())
        made = [name for name in absent if await self._make(name, partitions, copies, self._config(name, copies))]
        await self._appear(absent, partitions)
        if copies < COPIES and made:
            log.warning("a single copy of each event: a lost disk loses events", topics=made)
        return [planned(name, partitions, copies) for name in made]

    async def ensure_compacted(self, name: str, *, only_plan: bool) -> list[str]:
        """Make (or only tell of) the topic of which the last record of each key stays."""
        found = (await self._admin.topics([name]))[name]
        if found is not None:
            _check_single(name, found)
            return []
        copies = copies_for(await self._admin.brokers())
        if only_plan:
            return [planned(name, 1, copies)]
        made = await self._make(name, 1, copies, config_for_facts(copies))
        await self._appear([name], 1)
        return [planned(name, 1, copies)] if made else []

    async def partitions(self, stream: str) -> list[int]:
        """The numbers of the stream's partitions. Raises `UnknownStream`."""
        return list((await self.found(stream)).partitions)

    async def placed(self, stream: str) -> int:
        """By how many partitions the stream's records are placed. Raises `UnknownStream`.

        All of ours have as many as the one that has the fewest: what somebody has added to another is not used.
        """
        has = len((await self.found(stream)).partitions)
        if stream in self.placement.counts:
            return self.placement.counts[stream]
        ours = names.streams(self._topic)
        found = await asyncio.gather(*map(self.found, ours), return_exceptions=True) if stream in ours else []
        return min([len(one.partitions) for one in found if isinstance(one, Topic)], default=has)

    async def id(self, stream: str, answer_s: float = _ANSWER_S) -> str:
        """What tells the topic from a later one of the same name. Raises `UnknownStream`."""
        return (await self.found(stream, answer_s)).id

    async def found(self, stream: str, answer_s: float = _ANSWER_S) -> Topic:
        """The stream's topic, as it is now. Raises `UnknownStream`.

        Who asks while somebody else does, as patiently, waits for the same answer: a worker that gets hundreds of
        partitions asks of each.
        """
        about = stream, answer_s
        asked = self._asked.get(about)
        if asked is None:
            asked = self._asked[about] = asyncio.create_task(self._find(stream, answer_s))
            asked.add_done_callback(partial(self._is_answered, about))
        # Who goes takes it from nobody.
        await asyncio.wait([asked])
        return asked.result()

    def _is_answered(self, about: tuple[str, float], asked: "asyncio.Task[Topic]") -> None:
        del self._asked[about]
        if not asked.cancelled():
            # Where nobody waits any more, nobody is to be told of an error.
            asked.exception()

    async def _find(self, stream: str, answer_s: float) -> Topic:
        found = (await self._admin.topics([stream], answer_s))[stream]
        if found is None:
            raise unknown_stream(stream)
        return found

    async def check(self, answer_s: float) -> None:
        """Raise `QueueUnavailable` unless the brokers answer, and can take events. (No topic yet is no trouble.)"""
        found = (await self._admin.topics([self._topic], answer_s))[self._topic]
        if (why := self.placement.missed.get(self._topic) or self.placement.refused.get(self._topic)) is not None:
            raise QueueUnavailable(str(why))
        if found is not None and found.leaderless:
            which = ", ".join(map(str, found.leaderless))
            raise QueueUnavailable(f"partitions {which} of {self._topic} have no leader: look after the brokers")

    async def keeps_ms(self, stream: str) -> int | None:
        """As in `TakesByAge`."""
        config = await self._admin.config(stream, _SETTINGS_S) or {}
        is_taken = "delete" in config.get("cleanup.policy", "")
        kept_ms = int(config.get("retention.ms", _FOREVER))
        return kept_ms if is_taken and kept_ms != _FOREVER else None

    async def _absent(self, streams: Iterable[str], partitions: int) -> list[str]:
        found = await self._admin.topics(list(streams))
        _check_partitions(found, partitions)
        return [name for name, topic in found.items() if topic is None]

    async def _appear(self, streams: list[str], partitions: int) -> None:
        """Return when the brokers know them; another process may have made one, by settings of its own."""
        try:
            async with asyncio.timeout(_KNOWN_S):
                while not await self._are_known(streams, partitions):
                    await asyncio.sleep(_BETWEEN_S)
        except TimeoutError:
            which = ", ".join(streams)
            raise QueueUnavailable(f"topics {which} were made, but not all brokers know them yet") from None

    async def _are_known(self, streams: list[str], partitions: int) -> bool:
        """Whether all who lead one of their partitions know it: a broker learns by and by what the controller made."""
        if await self._absent(streams, partitions):
            return False
        try:
            for name in streams:
                await self._admin.ends(name, range(partitions))
        except QueueUnavailable:
            return False
        return True

    def _config(self, name: str, copies: int) -> dict[str, str]:
        return config_for(copies, takes_events=name == self._topic)

    async def _make(self, name: str, partitions: int, copies: int, config: dict[str, str]) -> bool:
        try:
            await self._admin.make(NewTopic(name, partitions, copies, config=config))
        except KafkaException as error:
            return _already_there(name, error)
        return True


def _check_partitions(found: dict[str, Topic | None], partitions: int) -> None:
    numbers = {name: len(topic.partitions) for name, topic in found.items() if topic is not None}
    if min(numbers.values(), default=0) == partitions < max(numbers.values(), default=0):
        # A growth of ours that is complete gives all as many. What somebody has added to one is left empty.
        more = {name: number for name, number in numbers.items() if number > partitions}
        log.error("partitions were added to a topic, and are not used: look at forebay doctor", topics=more)
        return
    for name, topic in found.items():
        has = len(topic.partitions) if topic is not None else partitions
        if has != partitions:
            raise AnotherNumber(
                f"topic {name} has {has} partitions, not {partitions}; another number would move portals to other "
                f"partitions and break their order: set partitions to {has}"
            )


def _check_single(name: str, topic: Topic) -> None:
    if len(topic.partitions) > 1:
        raise QueueError(
            f"topic {name} has {len(topic.partitions)} partitions, and facts about portals need one order: stop "
            "everything, delete the topic, and let `forebay topics ensure` make it; portals install again"
        )


def _already_there(name: str, error: KafkaException) -> bool:
    """False when another process was faster; an error for everything else."""
    found = cause(error)
    if found.code() == KafkaError.TOPIC_ALREADY_EXISTS:
        return False
    if found.retriable() or found.code() in _PASSING:
        raise QueueUnavailable(f"topic {name} could not be made. {of_change(found)}") from error
    raise QueueError(f"topic {name} could not be made. {of_change(found)}") from error
