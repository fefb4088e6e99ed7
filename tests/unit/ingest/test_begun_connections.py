"""Calls without a task, as their connection sees them: an application begins them, and is heard later."""

import asyncio
from operator import itemgetter
from typing import Any

import pytest

from forebay.ingest.request import REQUEST, PortalRequest, Told

from .connections import Seen, connected, turns

CALL = b"POST /kept HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na=b"
KEEP_ALIVE_S = 2.0


class Beginning(Seen):
    """An application that begins the calls of one path, and reads those that come to it in the usual way."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[tuple[Any, bytes, Told]] = []
        self.read: list[bytes] = []
        self.failed: list[PortalRequest] = []

    def begin(self, scope: Any, body: bytes, told: Told) -> bool:
        if scope["path"] == "/kept":
            self.begun.append((scope, body, told))
        return bool(scope["path"] == "/kept")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if REQUEST in scope:
            self.failed.append(scope[REQUEST])
        self.read.append((await receive())["body"])
        await super().__call__(scope, receive, send)


async def nothing() -> dict[str, Any]:
    """For requests whose body nobody reads."""
    return {}


class Timers:
    """A loop whose clock is turned by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.due: list[tuple[float, Any, asyncio.Handle]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio.get_running_loop(), name)

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Any, *values: Any) -> asyncio.Handle:
        handle = asyncio.Handle(call, values, asyncio.get_running_loop())
        self.due.append((self.now + seconds, call, handle))
        return handle

    def pass_by(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [one for one in self.due if one[0] <= until]:
            first = min(due, key=itemgetter(0))
            self.due.remove(first)
            self.now, call, handle = first
            if not handle.cancelled():
                call()
        self.now = until


async def test_a_begun_call_is_answered_once_it_is_told_and_so_is_the_next() -> None:
    application = Beginning()
    async with connected(application) as (protocol, connection):
        for number in (b"1", b"2"):
            protocol.data_received(CALL)
            await turns()
            assert len(connection.written) == int(number) - 1
            scope, body, told = application.begun[-1]
            assert told((b"id" + number, b"kept")) is True

        assert (scope["query_string"], scope["client"], body) == (b"", ("127.0.0.1", 1), b"a=b")
        assert [answer.endswith(b"\r\n\r\nkept") for answer in connection.written] == [True, True]
        assert b"x-request-id: id2\r\n" in connection.written[1]
        assert (application.tasks, protocol.worker.nr) == ([], 2)

        # What is not begun comes to the application on the same connection.
        protocol.data_received(CALL.replace(b"/kept", b"/else"))
        await turns()
        assert application.read == [b"a=b"]
    assert len(connection.written) == 3


async def test_a_call_that_comes_with_its_connection_is_begun_before_there_is_a_task() -> None:
    application = Beginning()
    async with connected(application, is_new=True) as (protocol, connection):
        protocol.data_received(CALL)
        [(_, _, told)] = application.begun
        await turns()
        told((b"id", b"kept"))
        protocol.data_received(CALL.replace(b"/kept", b"/else"))
        await turns()

        assert (len(connection.written), application.read) == (2, [b"a=b"])


@pytest.mark.parametrize("is_new", [False, True])
async def test_what_went_wrong_with_a_request_is_answered_by_the_application(is_new: bool) -> None:
    application = Beginning()
    async with connected(application, is_new=is_new) as (protocol, connection):
        protocol.data_received(CALL)
        [(scope, _, told)] = application.begun

        assert told(failed := PortalRequest(scope, nothing, {})) is True
        await turns()

        assert (application.failed, len(connection.written)) == ([failed], 1)


@pytest.mark.parametrize("is_kept", [True, False])
async def test_one_who_has_left_is_told_nothing(is_kept: bool) -> None:
    application = Beginning()
    async with connected(application) as (protocol, connection):
        protocol.data_received(CALL)
        protocol.connection_lost(None)
        [(scope, _, told)] = application.begun

        assert told((b"id", b"kept") if is_kept else PortalRequest(scope, nothing, {})) is False
        await turns()

        assert (application.failed, connection.written) == ([], [])


async def test_calls_that_come_at_once_are_begun_one_after_the_other() -> None:
    application = Beginning()
    async with connected(application) as (protocol, connection):
        protocol.data_received(CALL * 2 + CALL[:9])
        protocol.data_received(CALL[9:])
        for number in range(3):
            await turns()
            assert len(application.begun) == number + 1
            application.begun[-1][2]((b"id", b"%d" % number))

    assert [answer[-1:] for answer in connection.written] == [b"0", b"1", b"2"]


async def test_nothing_is_read_before_what_came_along_is_begun() -> None:
    application = Beginning()
    async with connected(application) as (protocol, connection):
        protocol.data_received(CALL + CALL[:50])
        paused = [connection.is_paused]
        application.begun[0][2]((b"id", b"1"))
        paused.append(connection.is_paused)
        await turns()
        paused.append(connection.is_paused)

        assert paused == [False, True, False]
        protocol.data_received(CALL[50:])
        assert len(application.begun) == 2


async def test_many_calls_that_come_along_are_all_begun() -> None:
    application, calls = Beginning(), CALL * 2000
    async with connected(application) as (protocol, connection):
        protocol.data_received(calls[:60_000])
        protocol.data_received(calls[60_000:])
        while len(connection.written) < 2000:
            application.begun.pop()[2]((b"id", b"kept"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        assert (application.begun, connection.is_closed, connection.is_paused) == ([], False, False)


async def test_a_call_that_comes_in_pieces_has_a_task() -> None:
    application = Beginning()
    async with connected(application) as (protocol, connection):
        protocol.data_received(CALL[:-1])
        await turns()
        protocol.data_received(CALL[-1:])
        await turns()

        assert (application.begun, len(application.read), len(connection.written)) == ([], 1, 1)


async def test_a_connection_is_closed_for_silence_after_its_last_answer_and_not_before() -> None:
    application, timers = Beginning(), Timers()
    async with connected(application, loop=timers) as (protocol, connection):
        for _ in range(4):
            protocol.data_received(CALL)
            # A queue may take long, too: a call that is under way is no silence.
            timers.pass_by(1.5 * KEEP_ALIVE_S)
            application.begun[-1][2]((b"id", b"kept"))
            timers.pass_by(0.75 * KEEP_ALIVE_S)

        assert (len(connection.written), connection.is_closed) == (4, False)
        timers.pass_by(0.3 * KEEP_ALIVE_S)
        assert connection.is_closed


async def test_the_rest_of_a_call_has_its_time_and_the_connection_lives_on_behind_it() -> None:
    application, timers = Beginning(), Timers()
    async with connected(application, loop=timers, patience_s=lambda: 10.0) as (protocol, connection):
        protocol.data_received(CALL)
        application.begun[-1][2]((b"id", b"kept"))
        protocol.data_received(CALL[:20])
        timers.pass_by(1.1 * KEEP_ALIVE_S)
        timers.pass_by(9.0)
        protocol.data_received(CALL[20:])
        # While the queue has it, its patience is over.
        timers.pass_by(5.0)
        application.begun[-1][2]((b"id", b"kept"))
        protocol.data_received(CALL[:20])
        timers.pass_by(1.0)
        assert (len(connection.written), connection.is_closed) == (2, False)
        timers.pass_by(1.1)
        assert not connection.is_closed
        timers.pass_by(10.0)
        assert connection.is_closed


async def test_at_a_stop_a_begun_call_is_answered_and_told_that_the_connection_ends() -> None:
    application = Beginning()
    async with connected(application) as (protocol, connection):
        protocol.data_received(CALL)
        protocol.worker.alive = False
        protocol.close_if_idle()
        assert not connection.is_closed

        application.begun[-1][2]((b"id", b"kept"))

        assert b"Connection: close\r\n" in connection.written[0]
        assert connection.is_closed
