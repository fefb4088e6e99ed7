"""Reads one partition at a time, from any offset. Used in one thread only."""

from confluent_kafka import Consumer, KafkaError, Message

from forebay.queues.contract import StoredRecord

from .clients import Clients
from .faults import of_request
from .outsider import Outsider, is_about_the_group
from .records import KafkaRecord

#: One wait for records; a broker that gives none for so long is in trouble.
_WAIT_S = 10.0

#: Bytes of values that one read takes into memory at most, and what the client had at hand with the last of them.
_READ_BYTES = 8 * 1024 * 1024


class Reader:
    """Of one inspector."""

    def __init__(self, clients: Clients) -> None:
        self._outsider = Outsider(clients, browses=True)

    def read(self, stream: str, partition: int, offset: int, end: int, max_records: int) -> list[StoredRecord]:
        """Records from the offset on, at most up to the end, which the caller knows to exist."""
        client = self._outsider.at(stream, partition, offset)
        found: list[StoredRecord] = []
        offset -= 1
        room = _READ_BYTES
        while offset < end - 1 and len(found) < max_records and room > 0:
            held = len(found)
            for message in self._next(client, max_records - len(found)):
                offset = self._take(message, stream, partition, found)
            room -= sum(len(record.value) for record in found[held:])
        if offset < end - 1:
            self._outsider.reached(stream, partition, offset + 1)
        else:
            self._outsider.rest()
        return found

    def _next(self, client: Consumer, count: int) -> list[Message]:
        # Not `consume` alone: it waits until the whole number has come.
        first = client.poll(_WAIT_S)
        if first is None:
            silence = KafkaError(KafkaError._TIMED_OUT, f"no record came within {_WAIT_S:.0f} s")
            raise self._outsider.unavailable(silence)
        found = [first, *client.consume(count - 1, 0)] if count > 1 else [first]
        return [message for message in found if not is_about_the_group(message)]

    def _take(self, message: Message, stream: str, partition: int, found: list[StoredRecord]) -> int:
        """Add the message's record, if it is one; the last offset that lies behind us then."""
        error = message.error()
        if error is None:
            found.append(KafkaRecord(message, stream, partition))
            return found[-1].offset
        if error.code() != KafkaError._PARTITION_EOF:
            raise of_request(error, stream)
        # Behind the last record there may be markers of transactions. (It may also be the end of an earlier read.)
        return (message.offset() or 0) - 1

    def close(self) -> None:
        """Let go of the cluster. Idempotent; it takes a second at most, whatever hangs."""
        self._outsider.close()
