"""The whole diagnosis, in the order in which one thing needs the other."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress

from confluent_kafka import KafkaError

from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.findings import Finding, Needs
from forebay.queues.kafka.admin import Admin
from forebay.queues.kafka.clients import Clients
from forebay.queues.kafka.faults import is_definite, is_empty, remedy
from forebay.queues.kafka.properties import uses_sasl, uses_tls
from forebay.queues.kafka.topics import config_for, config_for_facts, copies_for, planned
from forebay.queues.presence import presence

from . import files
from .places import places
from .ports import Address, Trouble, addresses, bad_certificate, mechanisms, speaks_tls, unreachable
from .questions import Known, Questions
from .quotas import held_back
from .rights import Rights
from .topics import kept, too_few, weaknesses

#: So long we wait for a login, looking for the reason in between: a client that is refused only tries again.
_LOGIN_S = (0.5, 1.0, 2.5)

_SILENCE = Trouble(
    detail=f"takes the connection, and does not let us in within {sum(_LOGIN_S):g} s",
    remedy="look after the broker, and check that this port is a Kafka's (queue_url)",
)

#: What librdkafka says of the state that a connection was in helps nobody here.
_ASIDE = re.compile(r" \(after \d+ms in state \w+\)")


class Diagnosis:
    """Looks at the setting `kafka`, the addresses, the login, the addresses that brokers advertise, topics, group."""

    def __init__(self, clients: Clients, admin: Admin) -> None:
        self._clients, self._properties, self._admin = clients, clients.properties, admin
        self._servers = str(self._properties["bootstrap.servers"])

    async def findings(self, needs: Needs) -> AsyncIterator[Finding]:
        """Everything that was found. What can't be looked at, since something before it fails, is left out."""
        found = list(files.examined(self._properties))
        for finding in found:
            yield finding
        if any(finding.state == "fail" for finding in found):
            return
        try:
            self._admin.begin()
        except QueueError as error:
            yield Finding(check="kafka", state="fail", detail=str(error))
            return
        reached: list[Address] = []
        async for finding in self._addresses(reached):
            yield finding
        if not reached:
            return
        nodes = await self._login(reached[0])
        if isinstance(nodes, Trouble):
            yield Finding(check=f"broker {reached[0]}", state="fail", detail=nodes.detail, remedy=nodes.remedy)
            return
        async for finding in self._advertised(nodes, reached):
            yield finding
            if finding.state == "fail":
                return
        async for finding in self._needs(needs, len(nodes)):
            yield finding

    async def _addresses(self, reached: list[Address]) -> AsyncIterator[Finding]:
        """The troubles of the addresses in `queue_url`; one that works is enough to begin with."""
        named = addresses(self._servers)
        troubles = await asyncio.gather(*map(unreachable, named))
        reached += [address for address, trouble in zip(named, troubles, strict=True) if trouble is None]
        for address, trouble in zip(named, troubles, strict=True):
            if trouble is not None:
                yield Finding(
                    check=f"broker {address}",
                    state="warn" if reached else "fail",
                    detail=trouble.detail,
                    remedy=f"{trouble.remedy} (queue_url)",
                )

    async def _login(self, address: Address) -> dict[int, str] | Trouble:
        """Where the brokers are, by number; or why this one, which can be reached, does not let us in."""
        for number, seconds in enumerate(_LOGIN_S):
            with suppress(QueueUnavailable):
                return await self._admin.nodes(seconds)
            complaint = self._admin.complaint
            if complaint is not None and is_definite(complaint):
                return _told(complaint)
            if number == 0 and (trouble := await self._mismatch(address)) is not None:
                return trouble
        return _SILENCE if complaint is None or is_empty(complaint) else _told(complaint)

    async def _mismatch(self, address: Address) -> Trouble | None:
        """What the port shows us, and librdkafka does not tell."""
        tls = uses_tls(self._properties)
        if tls:
            trouble = await bad_certificate(address, self._properties)
        else:
            trouble = await self._only_tls(address)
        if trouble is None and not uses_sasl(self._properties):
            trouble = _wants_login(await mechanisms(address, tls=tls), tls=tls)
        return trouble

    async def _only_tls(self, address: Address) -> Trouble | None:
        if not await speaks_tls(address):
            return None
        wanted = "SASL_SSL" if await mechanisms(address, tls=True) else "SSL"
        to_do = f"set security.protocol in the setting kafka to {wanted}, or use another port"
        return Trouble(detail="this port speaks TLS only", remedy=to_do)

    async def _advertised(self, nodes: Mapping[int, str], reached: list[Address]) -> AsyncIterator[Finding]:
        """The troubles of the addresses that the brokers give to their clients: all work is done there."""
        told = {number: addresses(text)[0] for number, text in nodes.items()}
        others = {number: address for number, address in told.items() if address not in reached}
        troubles = await asyncio.gather(*map(unreachable, others.values()))
        for (number, address), trouble in zip(others.items(), troubles, strict=True):
            if trouble is not None:
                yield Finding(
                    check=f"broker {number}",
                    state="fail",
                    detail=f"tells its clients to come to {address}; from here: {trouble.detail}",
                    remedy="set advertised.listeners of the brokers to addresses that are reached from here",
                )
        yield Finding(check="brokers", state="ok", detail=", ".join(f"{one} at {at}" for one, at in told.items()))

    async def _needs(self, needs: Needs, brokers: int) -> AsyncIterator[Finding]:
        for finding in too_few(brokers):
            yield finding
        questions, rights = Questions(self._admin), Rights(self._properties)
        topics = await questions.topics(needs.streams)
        async for finding in self._streams(topics, needs, brokers, questions, rights):
            yield finding
        if needs.group is not None:
            group = await questions.group(needs.group)
            if isinstance(group, KafkaError):
                group = self._reason(group)
            for finding in rights.of_group(needs.group, group):
                yield finding
        if isinstance(events := topics[needs.events], Known):
            async for finding in places(self._admin, events, needs, self._servers):
                yield finding
        async for finding in held_back(self._clients, needs):
            yield finding

    async def _streams(
        self,
        topics: Mapping[str, Known | KafkaError | None],
        needs: Needs,
        brokers: int,
        questions: Questions,
        rights: Rights,
    ) -> AsyncIterator[Finding]:
        missing: list[str] = []
        is_hidden = False
        for name, topic in topics.items():
            if isinstance(topic, Known):
                for finding in self._topic(name, topic, needs, brokers, rights):
                    yield finding
            elif topic is None:
                missing.append(planned(name, needs.partitions_of(name), copies_for(brokers)))
                async for finding in self._absent(name, needs, brokers, questions, rights):
                    yield finding
            else:
                is_hidden = True
                yield _hidden(name, self._reason(topic), needs, rights)
        if not is_hidden:
            yield presence(missing)

    def _reason(self, error: KafkaError) -> KafkaError:
        """What the client complains of meanwhile, where the error only says that nobody answers."""
        return (self._admin.complaint or error) if is_empty(error) else error

    def _topic(self, name: str, topic: Known, needs: Needs, brokers: int, rights: Rights) -> Iterator[Finding]:
        # Without any right we would not see it: brokers that tell none are too old to.
        if topic.rights:
            yield from rights.of_topic(name, needs.streams[name], topic.rights)
        yield from weaknesses(name, topic, needs, brokers, self._servers)
        if name == needs.events:
            yield from kept(name, topic)

    async def _absent(
        self, name: str, needs: Needs, brokers: int, questions: Questions, rights: Rights
    ) -> AsyncIterator[Finding]:
        copies = copies_for(brokers)
        config = config_for(copies, takes_events=name == needs.events)
        if name == needs.compacted:
            config = config_for_facts(copies)
        if (error := await questions.making(name, needs.partitions_of(name), copies, config)) is not None:
            for finding in rights.of_making(name, error):
                yield finding


def _wants_login(offered: list[str], *, tls: bool) -> Trouble | None:
    if not offered:
        return None
    wanted = "SASL_SSL" if tls else "SASL_PLAINTEXT"
    return Trouble(
        detail=f"this port wants a login ({', '.join(offered)})",
        remedy=f"set security.protocol in the setting kafka to {wanted}, and sasl.mechanism to one of these",
    )


def _told(complaint: KafkaError) -> Trouble:
    return Trouble(detail=_ASIDE.sub("", complaint.str()), remedy=remedy(complaint))


def _hidden(name: str, error: KafkaError, needs: Needs, rights: Rights) -> Finding:
    if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        return rights.of_hidden_topic(name, needs.streams[name])
    return Finding(check=f"topic {name}", state="fail", detail=_told(error).detail, remedy=remedy(error))
