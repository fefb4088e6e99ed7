"""Calls that are answered without a task: what the application does for them."""

import asyncio
import sqlite3
import weakref
from pathlib import Path
from typing import Any

import pytest
from falcon.testing import ASGIConductor

from forebay.ingest.app import create_app
from forebay.ingest.begun import Begun, BegunCall
from forebay.ingest.ports import by_port
from forebay.ingest.request import PortalRequest
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
from .connections import Connection, connected, turns


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


async def test_no_call_is_begun_while_a_portal_is_to_be_told_of_a_gap_before_its_next_event(
    spool: Spool, disk: type[FailingFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(FussyQueue(), spool=spool) as ingest:
        monkeypatch.setattr(Fussy, "fault", QueueUnavailable("it is away"))
        disk.fails = "insert", sqlite3.SQLITE_IOERR
        began = Began(ingest)
        assert began.call()
        # It says that it is back, and takes no marker yet.
        while not began.heard or (await ingest.conductor.simulate_get("/ready")).json["parts"]["queue"] != "ok":
            await asyncio.sleep(0.001)

        assert not began.call()


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
    connection = Connection()
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
