"""What will be asked of a cluster that lets us in: its topics, the group, and where that stands."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress

from confluent_kafka import KafkaError

from forebay.queues.errors import QueueUnavailable
from forebay.queues.findings import Finding, Needs
from forebay.queues.kafka.admin import Admin
from forebay.queues.kafka.clients import Clients
from forebay.queues.kafka.faults import is_empty
from forebay.queues.kafka.layout import config_for, config_for_facts, copies_for, planned
from forebay.queues.presence import presence

from .places import places
from .ports import told
from .questions import Known, Questions
from .quotas import held_back
from .rights import Rights
from .topics import kept, too_few, weaknesses


class Needed:
    """Looks for what is needed in a cluster of which so many brokers are there."""

    def __init__(self, clients: Clients, admin: Admin, needs: Needs, brokers: int) -> None:
        self._clients, self._admin, self._needs, self._brokers = clients, admin, needs, brokers
        self._servers = str(clients.properties["bootstrap.servers"])
        self._questions, self._rights = Questions(admin), Rights(clients.properties)

    async def findings(self) -> AsyncIterator[Finding]:
        """One thing after the other."""
        with suppress(QueueUnavailable):
            # With those that are away, or have not come yet.
            self._brokers = await self._admin.brokers()
        for finding in too_few(self._brokers):
            yield finding
        topics = await self._questions.topics(self._needs.streams)
        async for finding in self._streams(topics):
            yield finding
        if self._needs.group is not None:
            found = await self._questions.group(self._needs.group)
            group = self._reason(found) if isinstance(found, KafkaError) else found
            for finding in self._rights.of_group(self._needs.group, group, self._clients.asked_protocol):
                yield finding
        if isinstance(events := topics[self._needs.events], Known):
            async for finding in places(self._admin, events, self._needs, self._servers):
                yield finding
        async for finding in held_back(self._clients, self._needs):
            yield finding

    async def _streams(self, topics: Mapping[str, Known | KafkaError | None]) -> AsyncIterator[Finding]:
        missing: list[str] = []
        is_hidden = False
        for name, topic in topics.items():
            if isinstance(topic, Known):
                for finding in self._topic(name, topic):
                    yield finding
            elif topic is None:
                missing.append(planned(name, self._needs.partitions_of(name), copies_for(self._brokers)))
                for finding in await self._absent(name):
                    yield finding
            else:
                is_hidden = True
                yield self._hidden(name, self._reason(topic))
        if not is_hidden:
            yield presence(missing)

    def _reason(self, error: KafkaError) -> KafkaError:
        """What the client complains of meanwhile, where the error only says that nobody answers."""
        return (self._admin.complaint or error) if is_empty(error) else error

    def _topic(self, name: str, topic: Known) -> Iterator[Finding]:
        # Without any right we would not see it: brokers that tell none are too old to.
        if topic.rights:
            yield from self._rights.of_topic(name, self._needs.streams[name], topic.rights)
        yield from weaknesses(name, topic, self._needs, self._brokers, self._servers)
        if name == self._needs.events:
            yield from kept(name, topic)

    async def _absent(self, name: str) -> list[Finding]:
        copies = copies_for(self._brokers)
        if name == self._needs.compacted:
            config = config_for_facts(copies)
        else:
            config = config_for(copies, takes_events=name == self._needs.events)
        error = await self._questions.making(name, self._needs.partitions_of(name), copies, config)
        return [] if error is None else list(self._rights.of_making(name, error))

    def _hidden(self, name: str, error: KafkaError) -> Finding:
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return self._rights.of_hidden_topic(name, self._needs.streams[name])
        trouble = told(error)
        return Finding(check=f"topic {name}", state="fail", detail=trouble.detail, remedy=trouble.remedy)
