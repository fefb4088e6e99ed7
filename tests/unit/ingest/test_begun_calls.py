"""Calls that are answered without a task: what the connection does, and what the application does for it."""

import asyncio
import sqlite3
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from falcon.testing import ASGIConductor

from forebay.ingest.app import create_app
from forebay.ingest.begun import Begun, BegunCall
from forebay.ingest.ports import by_port
from forebay.ingest.protocol import PortalProtocol
from forebay.ingest.request import REQUEST, PortalRequest, Told
from forebay.ingest.settings import IngestSettings
from forebay.ingest.spool.counts import Counts
from forebay.ingest.spool.spool import Spool
from forebay.queues.contract import Delivery, Record
from forebay.queues.errors import QueueUnavailable, RecordRefused
from forebay.queues.memory import MemoryProducer, MemoryQueue
from forebay.schemas.codec import codec
from tests.spool.stores import FailingFile

from .beginning import Began
from .conftest import EVENT, TOKEN, running, until_open
from .test_worker import Connection, Seen, protocol_of, turns

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
        self.now += seconds
        for at, call, handle in list(self.due):
            if at <= self.now:
                self.due.remove((at, call, handle))
                if not handle.cancelled():
                    call()


class Closing(Connection):
    """A transport that says when it is closed."""

    is_closed = is_paused = False

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def close(self) -> None:
        self.is_closed = True

    def can_write_eof(self) -> bool:
        return False


@asynccontextmanager
async def connected(
    application: Seen, *, is_new: bool = False, **worker: Any
) -> AsyncIterator[tuple[PortalProtocol, Closing]]:
    """A connection, whose task waits for a request unless it is new."""
    protocol, connection = protocol_of(application), Closing()
    for name, value in worker.items():
        setattr(protocol.worker, name, value)
    protocol.connection_made(connection)
    if not is_new:
        await turns()
    yield protocol, connection
    protocol.connection_lost(None)
    await turns()


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


class Fussy(MemoryProducer):
    """Fails as it is told, but for the quarantine."""

    fault: Exception | None = None

    def submit(self, stream: str, record: Record, delivery: Delivery) -> None:
        if self.fault is not None and not stream.endswith(".quarantine"):
            raise self.fault
        super().submit(stream, record, delivery)


class FussyQueue(MemoryQueue):
    """Has such producers."""

    def producer(self) -> MemoryProducer:
        return Fussy(self)


async def test_the_event_of_a_begun_call_stands_in_the_queue_as_any_other(spool: Spool) -> None:
    async with running(spool=spool) as ingest:
        await ingest.post(x_request_id="first")
        began = Began(ingest)

        assert began.call(x_request_id="second")
        await turns()

        first, second = (codec().decode(record.value) for record in ingest.records())
        assert (first.name, first.portal, first.fields) == (second.name, second.portal, second.fields)
        assert began.heard == [(b"second", b'{"status":"accepted","id":"%b"}' % second.id.encode())]
        shown = ingest.metrics.exposition().decode()
    assert 'forebay_ingest_requests_total{endpoint="/bitrix24",outcome="accepted"} 2.0' in shown
    assert "forebay_queue_ack_seconds_count 2.0" in shown


@pytest.mark.parametrize(
    "call",
    [
        {"body": EVENT.replace(TOKEN, "x" * 32)},
        {"body": ""},
        {"body": "a" * 3000},
        {"body": f"PLACEMENT=x&{EVENT.partition('&')[2]}"},
        {"path": "/nowhere"},
        {"path": "/bitrix24x"},
        {"path": "http://x/bitrix24"},
        {"content_type": "application/json"},
        {"content_encoding": "gzip"},
        {"body": EVENT.replace("[FIELDS]", "[a]" * 40)},
    ],
)
async def test_a_call_that_is_refused_or_unusual_is_not_begun(call: dict[str, str], spool: Spool) -> None:
    async with running(spool=spool, max_body_bytes=2000) as ingest:
        began = Began(ingest)

        assert not began.call(**call)
        await turns()

        assert (began.heard, ingest.records(), ingest.records(".quarantine")) == ([], [], [])


async def test_what_stands_behind_the_endpoint_is_read_as_ever(spool: Spool) -> None:
    secret = "a-secret-that-stands-in-the-path"
    by_token = {"tokens": {"*": TOKEN}, "auth": "tokens"}
    endpoints = [{"path": "/", **by_token}, {"path": "/in", "secret": secret, "auth": "url-secret"}]
    endpoints.append({"path": "/in/b", **by_token})
    async with running(spool=spool, auth=(), tokens={}, endpoints=endpoints) as ingest:
        began = Began(ingest)
        for path in ("/", "/in/b", "/in/b/own/place", f"/in/{secret}/shop", "/in/b/"):
            assert began.call(EVENT, path)
        for path in ("/own", "/metrics", "/in", f"/in/{secret[1:]}/b"):
            assert not began.call(EVENT, path)
        await turns()

        events = [codec().decode(record.value) for record in ingest.records()]
        assert [(event.subscription.endpoint, event.path) for event in events] == [
            ("/", ""),
            ("/in/b", ""),
            ("/in/b", "own/place"),
            ("/in", "shop"),
            ("/in/b", ""),
        ]


async def test_a_call_that_would_pass_its_portals_backlog_is_not_begun(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Counts, "holds", lambda counts, key: key == "a.bitrix24.ru")
    async with running(spool=spool) as ingest:
        began = Began(ingest)

        assert not began.call()
        assert began.call(EVENT.replace("A.Bitrix24.ru", "b.bitrix24.ru"))


async def test_what_the_queue_does_not_take_goes_into_the_spool(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(FussyQueue(), spool=spool) as ingest:
        monkeypatch.setattr(Fussy, "fault", QueueUnavailable("it is away"))
        began = Began(ingest)

        assert began.call()
        while not began.heard:
            await asyncio.sleep(0.001)

        assert began.heard[0] is not None
        assert (ingest.records(), spool.counts.records) == ([], 1)
        assert not began.call()


@pytest.mark.parametrize("has_left", [False, True])
async def test_what_the_queue_refuses_for_good_is_kept_in_quarantine_also_when_the_caller_has_left(
    has_left: bool, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(FussyQueue(), spool=spool) as ingest:
        monkeypatch.setattr(Fussy, "fault", RecordRefused("it is larger than 1000 bytes"))
        began = Began(ingest, has_left=has_left)

        assert began.call(x_request_id="mine")
        while not began.heard:
            await asyncio.sleep(0.001)

        [heard] = began.heard
        assert isinstance(heard, tuple) and heard[1].startswith(b'{"status":"quarantined"')
        assert len(ingest.records(".quarantine")) == 1
        shown = ingest.metrics.exposition().decode()
    assert 'outcome="quarantined"} 1.0' in shown
    # Of the event, and of what is kept of it.
    assert "forebay_queue_ack_seconds_count 2.0" in shown


@pytest.mark.parametrize("has_left", [False, True])
async def test_what_is_kept_nowhere_is_noted_as_a_gap_at_once(
    has_left: bool, spool: Spool, disk: type[FailingFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(FussyQueue(), spool=spool) as ingest:
        monkeypatch.setattr(Fussy, "fault", QueueUnavailable("it is away"))
        disk.fails = "insert", sqlite3.SQLITE_IOERR
        began = Began(ingest, has_left=has_left)

        assert began.call()
        while not began.heard:
            await asyncio.sleep(0.001)

        [heard] = began.heard
        assert isinstance(heard, PortalRequest) and isinstance(heard.error, QueueUnavailable)
        shown = ingest.metrics.exposition().decode()
        assert "forebay_ingest_gaps_waiting 1.0" in shown
        assert f'outcome="refused_full"}} {float(has_left)}' in shown
        assert "forebay_queue_ack_seconds_count 1.0" in shown


async def test_a_begun_call_that_is_kept_nowhere_gets_503_and_the_next_one_too(
    spool: Spool, disk: type[FailingFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(FussyQueue(), spool=spool) as ingest:
        monkeypatch.setattr(Fussy, "fault", QueueUnavailable("it is away"))
        disk.fails = "insert", sqlite3.SQLITE_IOERR
        async with connected(ingest.conductor.app) as (protocol, connection):  # type: ignore[arg-type]
            for number in range(2):
                head = b"POST /bitrix24 HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\nContent-Length: %d\r\n\r\n"
                protocol.data_received(head % len(EVENT) + EVENT.encode())
                while not b"".join(connection.written).count(b"request_id") > number:
                    await asyncio.sleep(0.001)

            answers = b"".join(connection.written)
        assert answers.count(b"HTTP/1.1 503 ") == answers.lower().count(b"retry-after: ") == 2
        assert answers.count(b'"request_id":"mine"') == 2
        assert 'outcome="refused_full"} 2.0' in ingest.metrics.exposition().decode()


async def test_what_the_queue_still_holds_of_an_answered_call_holds_no_connection() -> None:
    connection = Closing()
    nobody: Any = None
    call = BegunCall(nobody, nobody, nobody, nobody, connection.write, 0.0)  # type: ignore[arg-type]
    lives, answer = weakref.ref(connection), Begun(call, lambda call, outcome: None)
    del connection, call
    assert lives() and not answer.done()

    answer.set_result(True)

    assert answer.done() and not lives()


async def test_calls_are_begun_also_where_the_metrics_have_a_port_of_their_own(spool: Spool, tmp_path: Path) -> None:
    given: dict[str, Any] = {"auth": "tokens", "tokens": {"*": TOKEN}, "data_dir": tmp_path}
    settings = IngestSettings(metrics_bind="127.0.0.1:9090", **given)
    ingest = create_app(settings, MemoryQueue(), spool=spool)
    ports = by_port(ingest, settings.metrics_bind)
    async with ASGIConductor(ingest.app):
        await until_open(ingest.health)
        scope = {"type": "http", "path": "/bitrix24", "headers": [], "query_string": b"", "client": ("127.0.0.1", 1)}

        def begun_at(port: int) -> bool:
            return ports.begin({**scope, "server": ("127.0.0.1", port)}, EVENT.encode(), lambda outcome: True)

        assert (begun_at(8080), begun_at(9090)) == (True, False)


async def test_who_is_known_for_failing_makes_nobody_else_wait(spool: Spool) -> None:
    async with running(spool=spool) as ingest:
        began = Began(ingest)
        for _ in range(30):
            await ingest.post(EVENT.replace(TOKEN, "x" * 32))

        assert began.call()
