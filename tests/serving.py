"""Servers that tests write themselves: relays, and others that answer as a test wants."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

#: Turns of the loop: it is accepted, it is connected, and whoever serves it begins.
_BEGINS = 3


@asynccontextmanager
async def serving(serve: Serve, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve each connection on a port of ours, which it gives. At the end all are broken, and `serve` is cancelled.

    asyncio's own `close()` forgets those that it has just accepted, and closes them never.
    """
    writers: list[asyncio.StreamWriter] = []
    tasks: list[asyncio.Task[None] | None] = []

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        tasks.append(asyncio.current_task())
        with suppress(asyncio.CancelledError):
            await serve(reader, writer)

    server = await asyncio.start_server(one, "127.0.0.1", port, ssl=tls)
    [listening] = server.sockets
    try:
        yield listening.getsockname()[1]
    finally:
        asyncio.get_running_loop().remove_reader(listening.fileno())
        for _ in range(_BEGINS):
            await asyncio.sleep(0)
        server.close()
        for writer in writers:
            writer.transport.abort()
        begun = [task for task in tasks if task is not None]
        for task in begun:
            task.cancel()
        await asyncio.gather(*begun)
