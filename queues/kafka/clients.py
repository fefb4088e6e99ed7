"""Makes librdkafka's clients. Making one connects to nothing yet, but starts its threads: do it after a fork."""

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from forebay.queues.errors import BadQueueSettings, QueueError
from forebay.queues.settings import QueueSettings

from .credentials import Credentials
from .faults import Faults, reason
from .named_files import named_files, unreadable
from .properties import (
    Properties,
    everywhere,
    for_admin,
    for_member,
    for_outsider,
    for_producer,
    is_of_settings,
    of_the_classic_protocol,
    of_the_new_protocol,
    token_fault,
    unconnected,
    with_password,
    without_preface,
)
from .throttling import Throttling

_Client = TypeVar("_Client")

#: console/terminal/logs.py takes all of it: how much the client says is its own property `log_level`.
_LOG = "forebay.queues.kafka.client"

#: The client wants the name of a group also where it is in none.
_INSPECTOR = "forebay-inspector"

#: librdkafka's default for queue.buffering.max.messages.
_MAX_WAITING = 100_000
_KB = 1024

#: librdkafka's default for max.poll.interval.ms.
_MAX_POLL_MS = 300_000
_MS = 1000
_TO_SPARE = 0.9


class Clients:
    """The clients of one cluster, as the settings want them."""

    #: A producer is given nothing for so long. Given a record before it has found the brokers it gets its id only half
    #: a second later, when librdkafka looks again.
    connecting_s = 0.05

    def __init__(self, settings: QueueSettings) -> None:
        self._shared = everywhere(settings)
        # What librdkafka does once in a process, such as setting up OpenSSL, is done before a fork: a worker that takes
        # a dead one's place starts 2 ms sooner. With a client that knows no broker end its threads.
        with suppress(KafkaException):
            Producer({"log_level": 0})
        self._instance = settings.group_instance_id
        self._throttling = Throttling()

    @property
    def properties(self) -> Properties:
        """What every client is made with, secrets included."""
        return dict(self._shared)

    @property
    def asked_protocol(self) -> str | None:
        """The group protocol that the setting `kafka` insists on: `consumer`, `classic`, or neither."""
        asked = self._shared.get("group.protocol")
        # librdkafka takes it in any case.
        return None if asked is None else str(asked).lower()

    @property
    def max_poll_s(self) -> float:
        """How long a rebalance may wait for us, with a tenth to spare."""
        return int(self._shared.get("max.poll.interval.ms", _MAX_POLL_MS)) / _MS * _TO_SPARE

    @property
    def room(self) -> tuple[int, int]:
        """How many records may wait in a producer, and of how many bytes."""
        properties = for_producer(self._shared)
        # With 0 librdkafka has no limit.
        records = int(properties.get("queue.buffering.max.messages", _MAX_WAITING)) or sys.maxsize
        return records, int(properties["queue.buffering.max.kbytes"]) * _KB

    @property
    def held_back(self) -> KafkaError | None:
        """What was told last of a quota by which the brokers hold any of them back."""
        return self._throttling.last

    def check(self) -> None:
        """As in `ChecksSettings`."""
        try:
            self._made(AdminClient, unconnected(self._shared), Faults())
        except QueueError as error:
            if any(named_files(self._shared)) or not is_of_settings(error.__cause__):
                # A file may come yet, or be just replaced, and threads be short: who is started again may be let in.
                raise
            raise BadQueueSettings(str(error)) from error
        if fault := token_fault(self._shared):
            raise BadQueueSettings(f"the setting kafka can't be used: {fault}")

    def producer(self, faults: Faults, on_statistics: Callable[[str], None], *, singly: bool = False) -> Producer:
        """A producer that tells of its troubles; `singly` it sends each record by itself."""
        return self._made(Producer, for_producer(self._shared, singly=singly), faults, stats_cb=on_statistics)

    def member(
        self,
        group: str,
        *,
        session_s: float,
        protocol: str,
        faults: Faults,
        on_commit: Callable[..., None],
        on_statistics: Callable[[str], None],
    ) -> Consumer:
        """A consumer that can join the group by the protocol."""
        properties = for_member(self._shared, group=group, instance=self._instance)
        if protocol == "consumer":
            properties = of_the_new_protocol(properties)
        else:
            properties = of_the_classic_protocol(properties, session_s)
        return self._made(Consumer, properties, faults, on_commit=on_commit, stats_cb=on_statistics)

    def outsider(self, faults: Faults, group: str = _INSPECTOR, *, browses: bool = False) -> Consumer:
        """A consumer that joins no group, and can ask what this one has committed; `browses` as in the properties."""
        return self._made(Consumer, for_outsider(self._shared, group, browses=browses), faults)

    def admin(self, faults: Faults) -> AdminClient:
        """A client for questions about the cluster, and for making topics."""
        return self._made(AdminClient, for_admin(self._shared), faults)

    def _made(
        self,
        client: Callable[[Any], _Client],
        properties: Properties,
        faults: Faults,
        **callbacks: Callable[..., None],
    ) -> _Client:
        faults.are_renewed = Credentials(properties).are_renewed
        callbacks |= {"error_cb": faults.note, "throttle_cb": partial(self._throttling.note, faults)}
        try:
            # What librdkafka says goes into our log, and not past it to standard error.
            return client({**with_password(properties), **callbacks, "logger": logging.getLogger(_LOG)})
        except (KafkaException, TypeError, ValueError, OSError) as error:
            files = "; ".join(f"{name}: {why}" for name, why in unreadable(properties))
            raise QueueError(f"the setting kafka can't be used: {files or without_preface(reason(error))}") from error
