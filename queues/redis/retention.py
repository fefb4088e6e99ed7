"""Deleting what nobody needs and nobody may want back any more."""

from collections.abc import Mapping

from . import scripts
from .connection import RedisConnection
from .streams import ANOTHER, Stream, made_anew

#: Entries that one step deletes at most: everybody else waits meanwhile.
AT_ONCE = 500


def trim(connection: RedisConnection, stream: Stream, before: Mapping[int, int], keep_ms: int) -> None:
    """Delete what stands in partitions before these offsets and is older than so much."""
    keys = stream.keys
    for number, end in before.items():
        names = [keys.about, keys.groups, keys.offsets, keys.starts, keys.log(number)]
        is_some_left = True
        while is_some_left:
            word, is_some_left = connection.run(scripts.TRIM, names, stream.id, number, keep_ms, AT_ONCE, end)
            if word == ANOTHER:
                raise made_anew(connection, stream)
