"""Work in pieces, begun a little in each turn of the event loop, so that others have their turns between."""

import asyncio
from collections import deque


class Pace:
    """Of what all of those who share it begin together. They are let in in the order in which they ask."""

    def __init__(self, least: int, per_s: int) -> None:
        """So many may be begun in a turn, and with the last of them the rest of its piece.

        Where the others' part of a turn takes long, as many more as make up so many in a second of it.
        """
        self._least, self._per_s = least, per_s
        self._most, self._begun = least, 0
        self._began_at = 0.0
        self._line: deque[tuple[asyncio.Future[None], int]] = deque()

    async def begin(self, count: int) -> None:
        """Return when a piece of so many may be begun."""
        if self._begun < self._most and not self._line:
            self._let_in(count)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((turn, count))
        await turn

    def _let_in(self, count: int) -> None:
        if not self._begun:
            loop = asyncio.get_running_loop()
            self._began_at = loop.time()
            loop.call_soon(self._next_turn)
        self._begun += count

    def _next_turn(self) -> None:
        took_s = asyncio.get_running_loop().time() - self._began_at
        self._most, self._begun = max(self._least, int(took_s * self._per_s)), 0
        while self._line and self._begun < self._most:
            turn, count = self._line.popleft()
            # Whoever was cancelled asks for nothing any more.
            if not turn.done():
                self._let_in(count)
                turn.set_result(None)
        if not self._begun:
            # Nobody knows how long turns take by the next time.
            self._most = self._least
