"""A connection of the ingest without a socket, and applications behind it."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from gunicorn.config import Config

from forebay.ingest.coming import Coming
from forebay.ingest.protocol import PortalProtocol
from forebay.ingest.server_log import ServerLog

#: So often the loop may turn until a request is answered; nothing in these tests waits for anything else.
TURNS = 20


class Connection(asyncio.Transport):
    """A transport that keeps what is written, and says how it stands."""

    is_closed = is_paused = False

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is always room."""

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.is_closed = True


class Seen:
    """An application that notes in which task it runs."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[Any] | None] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.tasks.append(asyncio.current_task())
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


def protocol_of(application: Seen) -> PortalProtocol:
    config = Config()
    worker = SimpleNamespace(
        cfg=config,
        log=ServerLog(config),
        asgi=application,
        loop=asyncio.get_running_loop(),
        connections=set(),
        unfinished=set(),
        patience_s=lambda: 60.0,
        unless_crowded=lambda seconds: seconds,
        nr_conns=0,
        nr=0,
        max_requests=sys.maxsize,
        alive=True,
        coming=Coming(1 << 20),
    )
    return PortalProtocol(worker)


@asynccontextmanager
async def connected(
    application: Seen, *, is_new: bool = False, **worker: Any
) -> AsyncIterator[tuple[PortalProtocol, Connection]]:
    """A connection, whose task waits for a request unless it is new."""
    protocol, connection = protocol_of(application), Connection()
    for name, value in worker.items():
        setattr(protocol.worker, name, value)
    protocol.connection_made(connection)
    if not is_new:
        await turns()
    yield protocol, connection
    protocol.connection_lost(None)
    await turns()


async def turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)
