"""How our queues are called, how they are made, and what each entry begins with."""

from hashlib import sha256
from struct import Struct, error
from typing import Any, NamedTuple

#: No name of a stream or a group has a colon in it.
CATALOG = "forebay:catalog"

#: AMQP's limit of a queue's name.
_NAME_BYTES = 255

#: Where an intake's entries go that can't be forwarded, of all intakes.
DEAD_LETTERS = "forebay:dead-letters"

_KIND = {"x-queue-type": "stream"}

#: Each handover of an intake counts as a delivery of all that is held then, and may come four times a second while a
#: node is in trouble; each look at the dead letters counts as one. The limit is none in effect, and written since
#: RabbitMQ 4 has one of 20, behind which a message is thrown away.
_DELIVERIES = 1_000_000_000

_QUORUM = {"x-queue-type": "quorum", "x-delivery-limit": _DELIVERIES}

_INTAKE = {
    **_QUORUM,
    "x-single-active-consumer": True,
    # The default exchange, which leads to the queue of that name.
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": DEAD_LETTERS,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}

#: What a group agrees on is short, and a reader of it begins at its beginning.
_GROUP_BYTES, _SEGMENT_BYTES = 4 * 1024 * 1024, 500_000

#: And so much more for each partition: ten states with the longest notes of all fit in there.
_PARTITION_BYTES = 65_536

#: Who has written an entry, and its number there.
_IDENTITY = Struct(">c8sQ")

_BIRTH, _ENTRY = b"\x00", b"\x01"


class Identity(NamedTuple):
    """Which writer has written an entry, and as which of its entries: so it is known again when it is read back."""

    writer: bytes
    number: int


def partition_log(stream: str, partition: int) -> str:
    """The queue with a partition's records."""
    return f"forebay:{stream}:{partition}"


def intake(log: str) -> str:
    """The queue through which a partition's records go into its log."""
    return f"{log}:intake"


def group_log(stream: str, group: str) -> str:
    """The queue with what the members of a group tell each other."""
    name = f"forebay:{stream}:group:{group}"
    # Two names of 200 characters each are allowed, and don't fit.
    return name if len(name) <= _NAME_BYTES else f"forebay:group:{sha256(name.encode()).hexdigest()}"


def arguments() -> dict[str, Any]:
    """With what a stream is declared. How long records are kept is a policy's affair, which can be changed."""
    return _KIND


def intake_arguments() -> dict[str, Any]:
    """The same for an intake."""
    return _INTAKE


def dead_letter_arguments() -> dict[str, Any]:
    """The same for the queue of what can't be forwarded."""
    return _QUORUM


def group_arguments(partitions: int) -> dict[str, Any]:
    """The same for a group's queue, in a stream of so many partitions."""
    length = _GROUP_BYTES + partitions * _PARTITION_BYTES
    return {**_KIND, "x-max-length-bytes": length, "x-stream-max-segment-size-bytes": _SEGMENT_BYTES}


def birth() -> bytes:
    """What stands first in each stream: of one that is never empty it can be told where it ends."""
    return _IDENTITY.pack(_BIRTH, b"", 0)


def is_early(body: bytes) -> bool:
    """Whether it was written straight into its stream, as all of a partition was before there were intakes."""
    return body[:1] in (_BIRTH, _ENTRY)


def entry(writer: bytes, number: int, payload: bytes) -> bytes:
    """The body of an entry."""
    return _IDENTITY.pack(_ENTRY, writer, number) + payload


def identity(body: bytes) -> Identity | None:
    """Who has written it; None when it is no entry of ours."""
    try:
        kind, writer, number = _IDENTITY.unpack_from(body)
    except error:
        return None
    return Identity(writer, number) if kind == _ENTRY else None


def payload(body: bytes) -> bytes | None:
    """What was written; None when it is no entry of ours."""
    return body[_IDENTITY.size :] if identity(body) else None
