"""`forebay send` against servers that break the promises: it has to say so."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from forebay.queues.contract import Producer, Queue, Record
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from forebay.schemas import names
from forebay.schemas.codec import codec
from forebay.schemas.event import Body, PortalEvent, Subscription
from tests.serving import serving

TOPIC = "bitrix24.events"
Keep = Callable[[Producer, int, Record], Awaitable[object]]


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    opened = open_queue(QueueSettings(data_dir=tmp_path / "data"))
    await opened.ensure(names.streams(TOPIC), 4)
    yield opened
    await opened.close()


def record_of(event_id: str, fields: Mapping[str, str]) -> Record:
    event = PortalEvent(
        id=event_id,
        portal=fields["auth[domain]"],
        member_id=fields["auth[member_id]"],
        kind="event",
        name=fields["event"],
        occurred_at=None,
        received_at=datetime.now(UTC),
        subscription=Subscription(id=None, endpoint="/bitrix24"),
        body=lambda: Body(fields=fields),
    )
    return Record(key=event.portal, value=codec().encode(event), timestamp_ms=1)


@asynccontextmanager
async def ingest(queue: Queue, keep: Keep) -> AsyncIterator[str]:
    """An ingest that accepts everything, and does with it what `keep` does."""
    producer, count = queue.producer(), iter(range(1, 1_000_000))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                fields = dict(parse_qsl((await reader.readexactly(length)).decode(), True))
                number = next(count)
                await keep(producer, number, record_of(f"id-{number}", fields))
                body = b'{"status":"accepted","id":"id-%d"}' % number
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async with serving(serve) as port:
        yield f"http://127.0.0.1:{port}/bitrix24"
    await producer.close()


async def send(folder: Path, url: str, *more: str) -> tuple[int, dict[str, Any], str]:
    command = [sys.executable, "-m", "forebay.console.cli", "--data-dir", str(folder / "data"), "send", "--url", url]
    process = await asyncio.create_subprocess_exec(
        *command, "--portals", "5", "--count", "200", "--json", *more, stdout=-1, stderr=-1, cwd=folder
    )
    stdout, stderr = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(stdout), stderr.decode()


async def test_a_server_that_keeps_everything_is_believed(queue: Queue, tmp_path: Path) -> None:
    async def keep(producer: Producer, _: int, record: Record) -> None:
        await producer.send(TOPIC, record)

    async with ingest(queue, keep) as url:
        status, report, _ = await send(tmp_path, url)

    assert (status, report["lost"], report["out_of_order"]) == (0, 0, 0)
    assert report["accepted"] == 200


async def test_a_server_that_drops_some_is_found_out(queue: Queue, tmp_path: Path) -> None:
    async def keep(producer: Producer, number: int, record: Record) -> None:
        if number % 10:
            await producer.send(TOPIC, record)

    async with ingest(queue, keep) as url:
        status, report, _ = await send(tmp_path, url)

    assert (status, report["lost"], report["out_of_order"]) == (1, 20, 0)


async def test_a_server_that_keeps_nothing_is_found_out(queue: Queue, tmp_path: Path) -> None:
    async def keep(producer: Producer, number: int, record: Record) -> None: ...

    async with ingest(queue, keep) as url:
        status, report, told = await send(tmp_path, url)

    assert (status, report["lost"]) == (1, 200)
    assert "none of them is there" in told


async def test_a_server_that_answers_before_it_keeps_is_found_out(queue: Queue, tmp_path: Path) -> None:
    held: list[Record] = []

    async def keep(producer: Producer, number: int, record: Record) -> None:
        # One of each portal is kept after those that were sent once it was answered.
        if number <= 5:
            held.append(record)
            return
        await producer.send(TOPIC, record)
        if number == 200:
            for late in held:
                await producer.send(TOPIC, late)

    async with ingest(queue, keep) as url:
        status, report, _ = await send(tmp_path, url)

    assert (status, report["lost"], report["out_of_order"]) == (1, 0, 5)


async def test_a_queue_that_can_not_be_read_is_said_to_be_unchecked(queue: Queue, tmp_path: Path) -> None:
    async def keep(producer: Producer, number: int, record: Record) -> None: ...

    async with ingest(queue, keep) as url:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        status, report, _ = await send(elsewhere, url)

    assert (status, report["checked"], report["lost"]) == (0, False, None)
    assert "there is no queue at" in report["not_checked_because"]
    assert list(elsewhere.iterdir()) == []
