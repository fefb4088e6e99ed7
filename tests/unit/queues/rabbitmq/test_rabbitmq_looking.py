"""Whether a stream is shorter than it was, or only the copy of it that is read."""

from typing import cast

import pytest

from forebay.queues.rabbitmq import looking
from forebay.queues.rabbitmq.connection import Connection
from forebay.queues.rabbitmq.looking import Entries, is_shorter


class Copy:
    """A copy of a stream, which has `behind` more entries that are on their way to it."""

    def __init__(self, end: int, behind: int) -> None:
        self.entries: Entries = [(offset, b"") for offset in range(end + behind)]

    async def put(self, queue: str, body: bytes) -> None:
        self.entries.append((len(self.entries), body))

    async def look(self, connection: Connection, queue: str, offset: int, count: int) -> Entries:
        # Not all of it comes at once.
        return self.entries[offset : offset + 2]


@pytest.mark.parametrize(("end", "behind", "shorter"), [(4, 0, True), (4, 1, True), (4, 10, False)])
async def test_a_copy_that_is_behind_is_told_from_a_stream_that_is_shorter(
    end: int, behind: int, shorter: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, connection = Copy(end, behind), cast(Connection, None)
    monkeypatch.setattr(looking, "look", copy.look)

    assert await is_shorter(connection, "queue", 9, end, copy.put) is shorter
