"""What the server itself does for each request, seen by the application behind it."""

import asyncio
import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config

from forebay.ingest.protocol import PortalProtocol
from forebay.ingest.server import ServerLog

CALL = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na=b"

#: So often the loop may turn until a request is answered; nothing in these tests waits for anything else.
TURNS = 20


class Connection(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written: list[bytes] = []

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is always room."""

    def close(self) -> None:
        """Nothing to close."""


class Seen:
    """An application that notes in which task it runs."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[Any] | None] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.tasks.append(asyncio.current_task())
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


class Keeping(Seen):
    """One that takes the calls of one path past its usual way."""

    def __init__(self) -> None:
        super().__init__()
        self.scopes: list[Any] = []

    async def taken(self, scope: Any, receive: Any) -> tuple[bytes, bytes] | None:
        self.scopes.append(scope)
        return (b"mine", (await receive())["body"]) if scope["path"] == "/kept" else None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        await super().__call__(scope, receive, send)


@pytest.fixture
async def application() -> Seen:
    return Seen()


@pytest.fixture
async def protocol(application: Seen) -> AsyncIterator[PortalProtocol]:
    protocol = protocol_of(application)
    yield protocol
    protocol.connection_lost(None)


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
        nr_conns=0,
        nr=0,
        max_requests=sys.maxsize,
        alive=True,
    )
    return PortalProtocol(worker)


async def test_requests_are_answered_in_the_task_of_their_connection(
    application: Seen, protocol: PortalProtocol
) -> None:
    connection = Connection()
    protocol.connection_made(connection)

    for _ in range(2):
        protocol.data_received(CALL)
        await turns()

    assert application.tasks == [protocol._task, protocol._task]
    assert [answer.partition(b"\r\n")[0] for answer in connection.written] == [b"HTTP/1.1 200 OK"] * 2


async def test_what_an_application_takes_at_once_is_answered_in_one_piece_and_all_else_comes_to_it_as_ever() -> None:
    application, connection = Keeping(), Connection()
    protocol = protocol_of(application)
    protocol.connection_made(connection)

    for path in (b"/", b"/kept", b"/"):
        protocol.data_received(CALL.replace(b" / ", b" %b " % path))
        await turns()
    protocol.connection_lost(None)

    assert len(connection.written) == len(application.tasks) + 1 == 3
    assert connection.written[1].startswith(b"HTTP/1.1 200 OK\r\n")
    assert connection.written[1].endswith(b"\r\n\r\na=b")
    first, again, kept, third, once_more = application.scopes
    assert (first is again, third is once_more) == (True, True)
    assert (kept["path"], third["path"]) == ("/kept", "/")


async def test_a_request_that_comes_with_the_one_before_it_is_answered_behind_it(
    application: Seen, protocol: PortalProtocol
) -> None:
    connection = Connection()
    protocol.connection_made(connection)

    protocol.data_received(CALL + CALL[:20])
    protocol.data_received(CALL[20:])
    await turns()

    assert len(connection.written) == 2


async def test_many_requests_that_come_at_once_leave_the_loop_to_others_in_between(
    application: Seen, protocol: PortalProtocol
) -> None:
    protocol.connection_made(Connection())

    protocol.data_received(CALL * 20)
    for _ in range(5):
        await asyncio.sleep(0)

    assert 0 < len(application.tasks) <= 5


def test_whether_there_is_an_access_log_is_known_without_looking_through_the_settings() -> None:
    log = ServerLog(Config())
    del log.cfg

    assert log.access_log_enabled is False


async def turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)
