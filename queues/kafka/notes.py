"""The note of a commit, in the metadata that Kafka keeps beside an offset: text of 4 KB at most."""

import base64
import binascii
from hashlib import blake2b

from confluent_kafka import TopicPartition

from forebay.queues.errors import Unsupported
from forebay.schemas.logger import get_logger

log = get_logger(__name__)

#: Says that the metadata is ours, and how it is written.
_PREFIX = "fb1:"

#: Behind a note, before what tells its topic from others. (Versions that don't know of it read the note without.)
_OF = b"\0of"
_TOPIC_BYTES = 8

#: The brokers' default for offset.metadata.max.bytes is 4096, and the client sends a byte more than it is given.
_METADATA_BYTES = 4095

#: The longest note: base64 makes four bytes of three.
NOTE_BYTES = (_METADATA_BYTES - len(_PREFIX)) // 4 * 3 - len(_OF) - _TOPIC_BYTES


class Notes:
    """Of commits in one topic. What was noted of another is none of them, though it came with their offsets.

    So it comes where a tool that copies topics into another cluster copies the commits too, as MirrorMaker 2 does: an
    offset is translated then, and what stands beside it is not. By the note of the other topic, whose offsets are
    others, events would be skipped.
    """

    def __init__(self, topic_id: str) -> None:
        self._topic = blake2b(topic_id.encode(), digest_size=_TOPIC_BYTES).digest()

    def encode(self, note: bytes) -> str:
        """The metadata for a note; empty for none. Raises `Unsupported` when the note is too long."""
        if len(note) > NOTE_BYTES:
            raise Unsupported(f"a note of {len(note)} bytes; Kafka takes {NOTE_BYTES}, as its promises say")
        return _PREFIX + base64.b64encode(note + _OF + self._topic).decode("ascii") if note else ""

    def of(self, commit: TopicPartition) -> bytes:
        """The note of a commit that the group has made; what we didn't write of this topic is no note.

        librdkafka reads the metadata of other clients beyond their end (its issue 4649, open): what it found there may
        be no text at all, and is nobody's to see.
        """
        try:
            metadata = commit.metadata
            if not metadata:
                return b""
            if metadata.startswith(_PREFIX):
                return self._ours(commit, base64.b64decode(metadata.removeprefix(_PREFIX), validate=True))
        except (binascii.Error, ValueError):
            pass
        _tell("the metadata of a commit was not written by Forebay, and is ignored", commit)
        return b""

    def _ours(self, commit: TopicPartition, found: bytes) -> bytes:
        said, topic = found[:-_TOPIC_BYTES], found[-_TOPIC_BYTES:]
        if not said.endswith(_OF):
            # An earlier version's.
            return found
        if topic != self._topic:
            _tell("the note of a commit is of another topic, as a copied group has it, and is ignored", commit)
            return b""
        return said.removesuffix(_OF)


def _tell(text: str, commit: TopicPartition) -> None:
    log.warning(text, topic=commit.topic, partition=commit.partition, offset=commit.offset)
