"""Which streams there are, and making them."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

import orjson

from forebay.queues.errors import QueueError, UnknownStream
from forebay.queues.making import new_streams, told
from forebay.queues.newer import refuse_newer
from forebay.schemas.logger import get_logger

from .connection import MemcachedConnection

log = get_logger(__name__)

#: Raised with every change of what is kept; a program refuses what is newer than it knows.
VERSION = 1


def short(name: str) -> str:
    """A name as a part of a key, which has 250 characters, and no spaces."""
    return sha256(name.encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A stream as the server knows it. It never changes: one that is made anew has another id, and other keys."""

    id: str
    name: str
    partitions: int

    def key(self, *words: str | int) -> str:
        """Where something of it is kept."""
        return ":".join(("forebay", self.id, *map(str, words)))

    def of_group(self, group: str, *words: str | int) -> str:
        """Where something of a group is kept."""
        return self.key(short(group), *words)

    def end(self, partition: int) -> str:
        """The counter of the partition's next offset."""
        return self.key("end", partition)

    def start(self, partition: int) -> str:
        """The first offset that was not deleted; 0 when this is not there."""
        return self.key("start", partition)

    def record(self, partition: int, offset: int) -> str:
        """A record."""
        return self.key(partition, offset)


def find(connection: MemcachedConnection, name: str) -> Stream:
    """The stream of this name. Raises `UnknownStream`."""
    if (found := look_up(connection, name)) is None:
        raise UnknownStream(
            f"the queue has no stream {name!r}: it was never made, or the server has ended or run out of memory "
            "since, and all that was in the stream is gone; `forebay topics ensure` makes it"
        )
    return found


def look_up(connection: MemcachedConnection, name: str) -> Stream | None:
    """The stream of this name, if there is one."""
    key = _about(name)
    found = connection.get([key]).get(key)
    if found is None:
        return None
    about = orjson.loads(found)
    # Those of before there were versions have none.
    refuse_newer(f"stream {name}", about.get("version", VERSION), VERSION)
    return Stream(id=about["id"], name=about["name"], partitions=about["partitions"])


def check(connection: MemcachedConnection, stream: Stream) -> None:
    """Raise `QueueError` when it is another one by now."""
    if find(connection, stream.name) != stream:
        raise QueueError(f"stream {stream.name} was made anew, and what was in it is gone: restart this process")


def lost(connection: MemcachedConnection, stream: Stream, partition: int) -> UnknownStream:
    """The server has evicted what the stream can't do without: nobody knows any more where it ends."""
    connection.drop([_about(stream.name)])
    log.error("stream_lost", stream=stream.name, evicted=_counter(partition))
    return evicted(stream, partition)


def evicted(stream: Stream, partition: int) -> UnknownStream:
    """The same, told by one who changes nothing."""
    told = f"the server has evicted {_counter(partition)} of stream {stream.name}"
    return UnknownStream(f"{told}: all that was in it is gone; raise its -m")


def _counter(partition: int) -> str:
    return f"the counter of partition {partition}"


def missing(connection: MemcachedConnection, names: Iterable[str], partitions: int) -> list[str]:
    """What `make` would make. One that has another number of partitions is an error."""
    return [told(name, partitions) for name in _new(connection, names, partitions)]


def make(connection: MemcachedConnection, names: Iterable[str], partitions: int) -> list[str]:
    """Make what is missing; what another is quicker to make is not told."""
    new = _new(connection, names, partitions)
    return [told(name, partitions) for name in new if _make(connection, name, partitions)]


def _new(connection: MemcachedConnection, names: Iterable[str], partitions: int) -> list[str]:
    def found(name: str) -> int | None:
        stream = look_up(connection, name)
        return None if stream is None else stream.partitions

    return new_streams(names, partitions, found)


def _make(connection: MemcachedConnection, name: str, partitions: int) -> bool:
    made = Stream(id=secrets.token_hex(6), name=name, partitions=partitions)
    # The counters first: whoever finds the stream finds them.
    connection.put({made.end(partition): b"0" for partition in range(partitions)})
    about = {"id": made.id, "name": made.name, "partitions": made.partitions, "version": VERSION}
    return connection.add(_about(name), orjson.dumps(about))


def _about(name: str) -> str:
    return f"forebay:about:{short(name)}"
