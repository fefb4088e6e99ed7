"""The note of a commit, in the metadata that Kafka keeps beside an offset: text of 4 KB at most."""

import base64
import binascii

from confluent_kafka import TopicPartition

from forebay.queues.errors import Unsupported
from forebay.schemas.logger import get_logger

log = get_logger(__name__)

#: Says that the metadata is ours, and how it is written.
_PREFIX = "fb1:"

#: The brokers' default for offset.metadata.max.bytes is 4096, and the client sends a byte more than it is given.
_METADATA_BYTES = 4095

#: The longest note: base64 makes four bytes of three.
NOTE_BYTES = (_METADATA_BYTES - len(_PREFIX)) // 4 * 3


def encode(note: bytes) -> str:
    """The metadata for a note; empty for none. Raises `Unsupported` when the note is too long."""
    if len(note) > NOTE_BYTES:
        raise Unsupported(f"a note of {len(note)} bytes; Kafka takes {NOTE_BYTES}, as its promises say")
    return _PREFIX + base64.b64encode(note).decode("ascii") if note else ""


def of(commit: TopicPartition) -> bytes:
    """The note of a commit that the group has made; what we didn't write is no note.

    librdkafka reads the metadata of other clients beyond their end (its issue 4649, open): what it found there may be
    no text at all, and is nobody's to see.
    """
    try:
        metadata = commit.metadata
        if not metadata:
            return b""
        if metadata.startswith(_PREFIX):
            return base64.b64decode(metadata.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        pass
    log.warning(
        "the metadata of a commit was not written by Forebay, and is ignored",
        topic=commit.topic,
        partition=commit.partition,
        offset=commit.offset,
    )
    return b""
