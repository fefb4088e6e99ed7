"""What the server itself does for each request, seen by the application behind it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from gunicorn.config import Config

from forebay.ingest.protocol import PortalProtocol
from forebay.ingest.server_log import ServerLog

from .connections import Connection, Seen, protocol_of, turns

CALL = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na=b"


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
