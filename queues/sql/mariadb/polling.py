"""Waiting for new records where a server tells of none: looking again and again, seldom on an idle stream."""

import time
from collections.abc import Callable, Collection

from sqlalchemy import Connection

from ...groups.bell import Bell
from ..database import Place

#: Seconds until the first look after something came: half of it is what a record waits on a busy stream.
_SHORTEST_S = 0.005

#: The longest pause, which is reached after some 0.3 s without a record; a look costs the server some 0.1 ms.
_LONGEST_S = 0.1


class Polling:
    """A watch over one stream, on the reader's own connection. `seen` is what its last look saw there.

    `check` raises where nothing comes any more, though one may go on looking.
    """

    def __init__(
        self,
        stream: int,
        seen: Callable[[Connection], dict[Place, int]],
        look: Callable[[Connection, list[Place]], dict[Place, int]],
        check: Callable[[Connection], None],
    ) -> None:
        self._stream, self._seen, self._look, self._check = stream, seen, look, check
        self._pause_s = _SHORTEST_S

    def begin(self, connection: Connection) -> None:
        """As in the protocol: the look that follows leaves what it saw with the connection."""
        self._check(connection)
        self._connection = connection

    def wait(self, partitions: Collection[int], bell: Bell, timeout_s: float) -> None:
        """As in the protocol."""
        until = time.monotonic() + timeout_s
        places = [Place(self._stream, partition) for partition in partitions]
        known = self._seen(self._connection)
        seen = {place: known[place] for place in places if place in known}
        while (left := until - time.monotonic()) > 0:
            if bell.wait(min(left, self._pause_s)):
                return
            if self._look(self._connection, places) != seen:
                self._pause_s = _SHORTEST_S
                return
            self._pause_s = min(_LONGEST_S, 2 * self._pause_s)
