"""A TCP relay between us and the server, which cuts all connections, and lets nobody in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tests.serving import serving


class Relay:
    """Passes everything on, until it cuts all connections."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._writers: list[asyncio.StreamWriter] = []
        self.cuts = self.connections = 0
        self.is_open = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_open:
            writer.transport.abort()
            return
        theirs, ours = await asyncio.open_connection(self._host, self._port)
        self._writers += [writer, ours]
        self.connections += 1
        try:
            await asyncio.gather(_pass(reader, ours), _pass(theirs, writer))
        finally:
            self.connections -= 1
            ours.transport.abort()

    def cut(self) -> None:
        self.cuts += 1
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while sent := await reader.read(65_536):
            writer.write(sent)
    except ConnectionError:
        pass
    writer.close()


@asynccontextmanager
async def relayed(url: str) -> AsyncIterator[tuple[Relay, str]]:
    """A relay, and the URL that leads through it."""
    port = urlsplit(url).port or 0
    relay = Relay("127.0.0.1", port)
    async with serving(relay.serve) as through:
        yield relay, url.replace(f":{port}/", f":{through}/")
