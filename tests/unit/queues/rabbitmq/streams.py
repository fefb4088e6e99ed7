"""A partition's stream in memory, in place of looks at a real one."""

from typing import Any

import pytest

from forebay.queues.rabbitmq import finding, looking, sequencer
from forebay.queues.rabbitmq.looking import Entries


class Stream:
    """Its entries, and how many of them come with the last chunk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, chunk: int = 3) -> None:
        self.bodies: list[bytes] = []
        self.chunk = chunk
        #: The first that is kept.
        self.first = 0
        for module in (finding, looking):
            monkeypatch.setattr(module, "look", self._look)
        monkeypatch.setattr(finding, "last_of", self._last)
        monkeypatch.setattr(sequencer, "tail", self._tail)

    def add(self, *bodies: bytes) -> None:
        self.bodies += bodies

    async def _look(self, connection: Any, queue: str, offset: int | str, count: int) -> Entries:
        start = {"first": 0, "last": max(0, len(self.bodies) - self.chunk)}.get(str(offset), offset)
        assert isinstance(start, int)
        start = max(start, self.first)
        return list(enumerate(self.bodies))[start : start + count]

    async def _last(self, connection: Any, queue: str) -> Entries:
        return list(enumerate(self.bodies))[max(self.first, len(self.bodies) - self.chunk) :]

    async def _tail(self, connection: Any, log: str, until: bytes | None = None) -> Entries:
        return await finding.tail(connection, log, until)
