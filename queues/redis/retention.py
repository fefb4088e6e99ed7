"""Deleting what nobody needs and nobody may want back any more."""

from collections.abc import Mapping
from functools import partial

from ..groups.retention import has_more
from . import scripts
from .connection import RedisConnection
from .streams import ANOTHER, Stream, made_anew

#: Entries that one step deletes at most: everybody else waits meanwhile.
AT_ONCE = 500


def trim(connection: RedisConnection, stream: Stream, before: Mapping[int, int], keep_ms: int) -> bool:
    """Delete what stands in partitions before these offsets and is older than so much. Whether some is left of that."""
    keys = stream.keys

    def step(number: int, end: int) -> bool:
        names = [keys.about, keys.groups, keys.offsets, keys.starts, keys.log(number)]
        word, *swept = connection.run(scripts.TRIM, names, stream.id, number, keep_ms, AT_ONCE, end)
        if word == ANOTHER:
            raise made_anew(connection, stream)
        return bool(swept[0])

    return has_more(partial(step, number, end) for number, end in before.items())
