"""Between our records and Kafka's."""

from operator import itemgetter
from typing import cast

from confluent_kafka import Message

from forebay.queues.contract import StoredRecord

Headers = tuple[tuple[str, bytes], ...]

_VALUE = itemgetter(1)


def stored(message: Message, stream: str) -> StoredRecord:
    """The record of a message. What only other producers write becomes empty: no key, no value, headers without one."""
    key = message.key()
    return StoredRecord(
        key=key.decode("utf-8", "backslashreplace") if key else "",
        value=message.value() or b"",
        timestamp_ms=message.timestamp()[1],
        headers=_headers(message),
        stream=stream,
        partition=message.partition() or 0,
        offset=message.offset() or 0,
    )


def _headers(message: Message) -> Headers:
    found = cast(list[tuple[str, bytes | None]] | None, message.headers())
    if not found:
        return ()
    # Taken as the client gives them, without a look at each, when nothing is empty: so are nearly all of ours.
    if all(map(_VALUE, found)):
        return tuple(cast(list[tuple[str, bytes]], found))
    return tuple((name, value or b"") for name, value in found)
