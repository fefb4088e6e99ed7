"""Looking into a stream without following it."""

import asyncio
from contextlib import closing

from forebay.queues.errors import QueueUnavailable

from .connection import Connection

#: Entries of one look at most. What is larger makes a node read for long before it sends anything.
MOST = 1000

#: Seconds until a stream in which something stands is called unavailable.
_PATIENCE_S = 10.0

Entries = list[tuple[int, bytes]]


async def look(connection: Connection, queue: str, offset: int | str, count: int) -> Entries:
    """Entries from the offset on, which must be there, and then all that are there up to the count (or some more).

    Raises `QueueUnavailable`, `NotThere`.
    """
    found: Entries = []
    arrived = asyncio.Event()

    def deliver(delivery: int, at: int, body: bytes) -> None:
        if isinstance(offset, str) or at >= offset:
            found.append((at, body))
            arrived.set()

    with closing(await connection.channel()) as channel:
        try:
            await channel.prefetch(min(count, MOST))
            await channel.consume(queue, offset, deliver)
            async with asyncio.timeout(_PATIENCE_S):
                await arrived.wait()
                # What goes before an answer has arrived before it.
                await channel.prefetch(1)
        except TimeoutError as error:
            raise QueueUnavailable(
                f"{queue} gave nothing for {_PATIENCE_S:.0f} s, although something stands there"
            ) from error
    return found


async def end_of(connection: Connection, queue: str) -> int:
    """The offset behind the last entry."""
    return (await last_of(connection, queue))[-1][0] + 1


async def last_of(connection: Connection, queue: str) -> Entries:
    """The last entries: those that came at once."""
    found = await look(connection, queue, "last", MOST)
    while len(found) >= MOST:
        # The last chunk and what came behind it meanwhile: more than one look takes.
        found = await look(connection, queue, found[-1][0], MOST)
    return found


async def between(connection: Connection, queue: str, begin: int, end: int) -> Entries:
    """All entries from one offset to before another, at which or behind which something stands."""
    found: Entries = []
    while begin < end:
        found += await look(connection, queue, begin, min(MOST, end - begin))
        begin = found[-1][0] + 1
    return [one for one in found if one[0] < end]
