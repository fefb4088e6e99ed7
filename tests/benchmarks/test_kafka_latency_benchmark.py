"""From the moment an event is due to be sent, over HTTP and a real broker, to its handler: ours beside a naive one.

The load is open: events come when they are due, whether the ones before were answered or not.
"""

import asyncio
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import uvloop
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, but in no __all__

from forebay.console.connection import Connection, target_of
from forebay.console.report import percentiles_ms
from tests.e2e.site import Site, open_site
from tests.kafka.fixtures import Kafka

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

RATE, CONNECTIONS, PARTITIONS, PORTALS = 2000, 64, 12, 1000
WARM_UP, EVENTS = 4000, 20_000
NAIVE = Path(__file__).with_name("naive.py")
NS = 1_000_000_000
#: Above this the load is more than the machine can take.
TOO_LATE_MS = 500

SEAL_KEYS = '{"k": "' + "A" * 43 + '="}'
TOKEN = "51856fefc120afa4b628cc82d3935cce"
BODY = (Path(__file__).parents[1] / "data" / "bitrix24" / "04_app_oncrmdealupdate_user.txt").read_text().strip()

HANDLERS = """
import os
import struct
import time

from forebay import Handlers

handlers = Handlers()
book = os.open("handled.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)


@handlers.on("*")
async def handle(event):
    os.write(book, struct.pack("qq", int(event.data["FIELDS"]["ID"]), time.monotonic_ns()))
"""


def test_how_long_an_event_takes_to_its_handler(kafka: Kafka, tmp_path: Path) -> None:
    found = {}
    for name, running in {"naive": naive, "Forebay": forebay}.items():
        (folder := tmp_path / name).mkdir()
        with open_site(folder) as site, running(site, kafka.bootstrap):
            site.wait("the first event at its handler", lambda: asks(site))
            answers, handled = uvloop.run(measured(site))
            found[name] = percentiles_ms(handled)
            print(f"\n{name}: to the answer {percentiles_ms(answers)} ms, to the handler {found[name]} ms", end="")

    ratio = found["Forebay"]["p99"] / found["naive"]["p99"]
    print(
        f"\n{RATE:,}/s, open loop, {CONNECTIONS} connections, {PARTITIONS} partitions, one broker, one process a side: "
        f"p99 to the handler {ratio:.2f} times the naive one's"
    )
    if found["Forebay"]["p50"] > TOO_LATE_MS:
        print("this machine had no room for such a load: what is seen is its queue, and no latency")
    assert len(found) == 2


@contextmanager
def forebay(site: Site, bootstrap: str) -> Iterator[None]:
    """An ingest and a worker with everything on: tokens checked, secrets sealed, metrics."""
    site.settings |= {"queue_url": f"kafka://{bootstrap}", "topic": f"events-{uuid4().hex}", "seal_keys": SEAL_KEYS}
    site.settings |= {"tokens": f'{{"*": "{TOKEN}"}}', "group": site.settings["topic"]}
    (site.folder / "shop.py").write_text(HANDLERS)
    site.start("ingest", "ingest")
    site.start("process", "process", "shop:handlers")
    yield


@contextmanager
def naive(site: Site, bootstrap: str) -> Iterator[None]:
    """Falcon and confluent-kafka, put together without a thought."""
    topic = f"naive-{uuid4().hex}"
    with AdminClient({"bootstrap.servers": bootstrap}) as client:
        [made] = client.create_topics([NewTopic(topic, PARTITIONS, 1)]).values()
        made.result(30)
    roles = ("serve", str(site.port), bootstrap, topic), ("consume", bootstrap, topic, str(site.folder / "handled.log"))
    for role in roles:
        site.running[role[0]] = subprocess.Popen([sys.executable, str(NAIVE), *role])
        (site.folder / f"{role[0]}.log").touch()
    yield


def asks(site: Site) -> bool:
    """Whether an event comes through; called until one does."""

    async def one() -> bool:
        way = Connection(target_of(site.url))
        answer = await way.post(body(0, time.monotonic_ns()))
        way.close()
        return answer.status == 200

    path = site.folder / "handled.log"
    return asyncio.run(one()) and path.exists() and path.stat().st_size > 0


def body(number: int, due_ns: int) -> bytes:
    """An event of one of the portals; its deal's number is the moment at which it is due."""
    portal = f"portal-{number % PORTALS}.bitrix24.example"
    return BODY.replace("=7405&", f"={due_ns}&", 1).replace("some-domain.bitrix24.ru", portal).encode()


async def measured(site: Site) -> tuple[list[float], list[float]]:
    """The seconds from due to answered, and from due to handled, of the events after the warm-up."""
    answers: list[float] = []
    first_ns = time.monotonic_ns() + NS // 10
    dues: asyncio.Queue[tuple[int, int]] = asyncio.Queue()

    async def sender(way: Connection) -> None:
        while True:
            number, due_ns = await dues.get()
            answer = await way.post(body(number, due_ns))
            assert answer.status == 200, answer
            if number >= WARM_UP:
                answers.append((time.monotonic_ns() - due_ns) / NS)
            dues.task_done()

    ways = [Connection(target_of(site.url)) for _ in range(CONNECTIONS)]
    async with asyncio.TaskGroup() as group:
        senders = [group.create_task(sender(way)) for way in ways]
        for number in range(WARM_UP + EVENTS):
            due_ns = first_ns + number * NS // RATE
            while (early := due_ns - time.monotonic_ns()) > 0:
                await asyncio.sleep(early / NS)
            dues.put_nowait((number, due_ns))
        await dues.join()
        for one in senders:
            one.cancel()
    for way in ways:
        way.close()
    measured_from = first_ns + WARM_UP * NS // RATE
    return answers, await asyncio.to_thread(handled, site, measured_from)


def handled(site: Site, since_ns: int) -> list[float]:
    """The seconds of every event that was due since, when all are handled."""
    path = site.folder / "handled.log"

    def seconds() -> list[float]:
        found = array("q", path.read_bytes())
        return [(at - due) / NS for due, at in zip(found[::2], found[1::2], strict=True) if due >= since_ns]

    site.wait("every event", lambda: len(seconds()) >= EVENTS)
    return seconds()
