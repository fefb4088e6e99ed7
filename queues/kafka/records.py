"""Between our records and Kafka's."""

from collections.abc import Sequence
from operator import itemgetter, methodcaller
from typing import Any

from confluent_kafka import Message

from forebay.schemas.logger import get_logger

log = get_logger(__name__)

Headers = Sequence[tuple[str, bytes]]

_VALUE = itemgetter(1)

#: Called like this, an error that the client leaves behind is raised. Python itself comes to call a method by a shorter
#: way after some calls, and looks for none.
_HEADERS_OF = methodcaller("headers")


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
        if self._message is None:
            return ()
        try:
            found: list[tuple[str, bytes]] | None = _HEADERS_OF(self._message)
        except SystemError:
            # A name is no UTF-8, as others may write one. The client has kept a list with holes, and gives that to
            # whoever asks a second time: what is in a hole ends the whole process when it is touched.
            self._message = None
            self._tell_without_headers()
            return ()
        if not found:
            return ()
        # Taken as the client gives them, without a look at each, when nothing is empty: so are nearly all of ours.
        if all(map(_VALUE, found)):
            return found
        return [(name, value or b"") for name, value in found]

    def _tell_without_headers(self) -> None:
        log.warning(
            "a record has a header whose name is no text, and is taken without its headers",
            topic=self.stream,
            partition=self.partition,
            offset=self.offset,
        )
