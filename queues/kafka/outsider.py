"""A client that reads outside of any group, and keeps its place: to read on costs no new request."""

from contextlib import suppress

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from forebay.queues.errors import QueueUnavailable

from . import closing
from .clients import Clients
from .faults import Faults

#: For the answer about a topic.
_KNOWN_WITHIN_S = 1.0


class Outsider:
    """One client after the other. Used in one thread only: librdkafka's takes no more."""

    def __init__(self, clients: Clients, *, browses: bool = False) -> None:
        """One that `browses` reads up to an end that it knows, and then at another place."""
        self._clients, self._browses = clients, browses
        self._faults = Faults()
        self._client: Consumer | None = None
        self._place: tuple[str, int, int] | None = None
        self._stream: str | None = None

    def at(self, stream: str, partition: int, offset: int) -> Consumer:
        """The client, which reads from there on. Say how far it has `reached`, or the next read goes there anew."""
        if self._client is None:
            self._client = self._clients.outsider(self._faults, browses=self._browses)
        if self._place != (stream, partition, offset):
            self._know(self._client, stream)
            self._client.assign([TopicPartition(stream, partition, offset)])
        self._place = None
        return self._client

    def _know(self, client: Consumer, stream: str) -> None:
        # It looks for the leaders of topics that are new to it once a second (librdkafka 2.16), and at once when asked.
        # Of its first topic it learns as it connects.
        if self._stream not in (None, stream):
            # What it is not told now is found out as it reads.
            with suppress(KafkaException):
                client.list_topics(stream, timeout=_KNOWN_WITHIN_S)
        self._stream = stream

    def reached(self, stream: str, partition: int, offset: int) -> None:
        """It was read up to there."""
        self._place = stream, partition, offset
        self._faults.clear()

    def rest(self) -> None:
        """There is nothing more to be read at its place: it asks for nothing until the next one."""
        if self._client is not None:
            self._client.unassign()
        self._faults.clear()

    def unavailable(self, error: KafkaError) -> QueueUnavailable:
        """The error for a client that got no answer. The next place is read by a fresh one.

        It may be one that can't go on (see `Statistics`).
        """
        self.close()
        return QueueUnavailable(self._faults.text(otherwise=error))

    def close(self) -> None:
        """Let go of the cluster. Idempotent; it takes a second at most, whatever hangs."""
        if self._client is not None:
            client, self._client, self._place, self._stream = self._client, None, None, None
            closing.end(client.close)


def is_about_the_group(message: Message) -> bool:
    """The client looks for the coordinator of a group that it will never join, and may not be allowed to."""
    error = message.error()
    return error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
