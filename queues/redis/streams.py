"""Which streams there are, and making them."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from redis.exceptions import MovedError

from forebay.queues.errors import QueueError, QueueUnavailable, UnknownStream
from forebay.queues.making import new_streams, told
from forebay.queues.newer import refuse_newer

from . import scripts
from .connection import RedisConnection
from .keys import Keys
from .remedies import remedy

#: Raised with every change of what is kept; a program refuses what is newer than it knows.
VERSION = 1

#: What a script says of a stream that is not the one that it was asked about.
ANOTHER = b"another"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A stream as the server knows it. It never changes: one that is made anew has another id."""

    id: str
    name: str
    partitions: int

    @property
    def keys(self) -> Keys:
        """The names of what is kept of it."""
        return Keys(self.name)


def find(connection: RedisConnection, name: str) -> Stream:
    """The stream of this name. Raises `UnknownStream`."""
    if (found := look_up(connection, name)) is None:
        raise UnknownStream(f"the queue has no stream {name!r}; `forebay topics ensure` makes it")
    return found


def look_up(connection: RedisConnection, name: str) -> Stream | None:
    """The stream of this name, if there is one. Raises `QueueError` where another server must be asked for it."""
    try:
        identity, partitions, version = connection.ask("HMGET", Keys(name).about, "id", "partitions", "version")
    except MovedError as error:
        # To wait for it would be for ever: streams are spread over the nodes of a Cluster.
        raise QueueError(remedy(connection.name, error)) from error
    if identity is None:
        return None
    refuse_newer(f"stream {name}", int(version), VERSION)
    return Stream(id=identity.decode(), name=name, partitions=int(partitions))


def missing(connection: RedisConnection, names: Iterable[str], partitions: int) -> list[str]:
    """What `make` would make. One that has another number of partitions is an error."""
    return [told(name, partitions) for name in _new(connection, names, partitions)]


def make(connection: RedisConnection, names: Iterable[str], partitions: int) -> list[str]:
    """Make what is missing; what another is quicker to make is not told."""
    new = _new(connection, names, partitions)
    return [told(name, partitions) for name in new if _make(connection, name, partitions)]


def _new(connection: RedisConnection, names: Iterable[str], partitions: int) -> list[str]:
    def found(name: str) -> int | None:
        stream = look_up(connection, name)
        return None if stream is None else stream.partitions

    return new_streams(names, partitions, found)


def _make(connection: RedisConnection, name: str, partitions: int) -> bool:
    keys = Keys(name)
    made = (secrets.token_hex(8), partitions, VERSION)
    return bool(connection.run(scripts.MAKE, [keys.about, keys.ends, *map(keys.log, range(partitions))], *made))


def made_anew(connection: RedisConnection, stream: Stream, kind: type[QueueError] = QueueUnavailable) -> QueueError:
    """What is to be said when a script found another stream than this one; to who tries again it is of this kind."""
    if look_up(connection, stream.name) is None:
        return UnknownStream(f"the queue has no stream {stream.name!r} any more; `forebay topics ensure` makes it")
    return kind(f"stream {stream.name} was made anew meanwhile, and is another one: restart this process")
