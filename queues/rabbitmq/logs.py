"""How our streams are called, how they are made, and what each entry begins with."""

from hashlib import sha256
from secrets import token_bytes
from struct import Struct, error
from typing import Any, NamedTuple

#: No name of a stream or a group has a colon in it.
CATALOG = "forebay:catalog"

#: AMQP's limit of a queue's name.
_NAME_BYTES = 255

_KIND = {"x-queue-type": "stream"}

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


def group_log(stream: str, group: str) -> str:
    """The queue with what the members of a group tell each other."""
    name = f"forebay:{stream}:group:{group}"
    # Two names of 200 characters each are allowed, and don't fit.
    return name if len(name) <= _NAME_BYTES else f"forebay:group:{sha256(name.encode()).hexdigest()}"


def arguments() -> dict[str, Any]:
    """With what a queue is declared. How long records are kept is a policy's affair, which can be changed."""
    return _KIND


def group_arguments(partitions: int) -> dict[str, Any]:
    """The same for a group's queue, in a stream of so many partitions."""
    length = _GROUP_BYTES + partitions * _PARTITION_BYTES
    return {**_KIND, "x-max-length-bytes": length, "x-stream-max-segment-size-bytes": _SEGMENT_BYTES}


def birth() -> bytes:
    """What stands first in each stream: of one that is never empty it can be told where it ends."""
    return _IDENTITY.pack(_BIRTH, b"", 0)


def mark() -> bytes:
    """What is nothing for readers, and unlike every other: it shows where a stream ends in truth."""
    return _IDENTITY.pack(_BIRTH, token_bytes(8), 0)


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
