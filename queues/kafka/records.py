"""Between our records and Kafka's."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from confluent_kafka import Message

Headers = Sequence[tuple[str, bytes]]

_VALUE = itemgetter(1)


class KafkaRecord:
    """A message as a stored record. What only other producers write becomes empty: no key, no value, no header's value.

    No dataclass: to make a frozen one costs as much as the rest of a worker's way from the client to the handler.
    """

    __slots__ = ("_message", "key", "offset", "partition", "stream", "timestamp_ms", "value")

    def __init__(self, message: Message, stream: str, partition: int) -> None:
        # Any: the client's types say of headers that they may be anything that one may give it, too.
        self._message: Any = message
        self.stream, self.partition = stream, partition
        key = message.key()
        self.key = key.decode("utf-8", "backslashreplace") if key else ""
        self.value = message.value() or b""
        self.timestamp_ms = message.timestamp()[1]
        self.offset = message.offset() or 0

    @property
    def headers(self) -> Headers:
        """Made when it is asked for: a record that waits is smaller without them."""
        found: list[tuple[str, bytes]] | None = self._message.headers()
        if not found:
            return ()
        # Taken as the client gives them, without a look at each, when nothing is empty: so are nearly all of ours.
        if all(map(_VALUE, found)):
            return found
        return [(name, value or b"") for name, value in found]
