"""From the moment an event is due to be sent, over HTTP and a real broker, to its handler: ours beside a naive one.

The load is open: events come when they are due, whether the ones before were answered or not.
"""

import json
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # public, but in no __all__

from forebay.console.traffic.report import percentiles_ms
from tests.e2e.site import Site, open_site
from tests.kafka.fixtures import Kafka

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

RATE, CONNECTIONS, PARTITIONS, PORTALS = 2000, 64, 12, 1000
#: A broker's Java is compiled while it runs, and until that is done it takes the processor from those who are measured:
#: a first round is not counted either.
WARM_UP = 40_000
EVENTS, ROUNDS = 20_000, 5
FORM = Path(__file__).parents[1] / "data" / "bitrix24" / "04_app_oncrmdealupdate_user.txt"
LOAD, NAIVE = Path(__file__).with_name("http_load.py"), Path(__file__).with_name("naive.py")
NS = 1_000_000_000
#: Above this the load is more than the machine can take.
TOO_LATE_MS = 500

SEAL_KEYS = '{"k": "' + "A" * 43 + '="}'
TOKEN = "51856fefc120afa4b628cc82d3935cce"

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
    with ExitStack() as running:
        sites = {}
        for name, started in {"naive": naive, "Forebay": forebay}.items():
            (folder := tmp_path / name).mkdir()
            sites[name] = site = running.enter_context(open_site(folder))
            running.enter_context(started(site, kafka.bootstrap))
            site.wait("the first event at its handler", partial(asks, site))
            load(site, WARM_UP)
        _, *rounds = [{name: latency(site) for name, site in sites.items()} for _ in range(1 + ROUNDS)]

    print(f"\n{RATE:,}/s, open loop, {CONNECTIONS} connections, {PARTITIONS} partitions, one broker, a process a side;")
    print(f"from due; median of {ROUNDS} rounds of {EVENTS:,} events, the least and the most in brackets")
    for name in sites:
        print(f"  {name:8} {line([each[name] for each in rounds])}")
    ratio = median(each["Forebay"]["handled p99"] / each["naive"]["handled p99"] for each in rounds)
    print(f"p99 to the handler {ratio:.2f} times the naive one's")
    if median(each["Forebay"]["handled p50"] for each in rounds) > TOO_LATE_MS:
        print("this machine had no room for such a load: what is seen is its queue, and no latency")
    assert len(rounds) == ROUNDS


def latency(site: Site) -> dict[str, float]:
    """What one load meets, in milliseconds: from where an event was due to its answer, and to its handler."""
    since_ns = time.monotonic_ns()
    answered = load(site, EVENTS, RATE)
    found = percentiles_ms(handled(site, since_ns))
    return {
        "answered p50": answered["p50_ms"],
        "answered p99": answered["p99_ms"],
        "handled p50": found["p50"],
        "handled p99": found["p99"],
    }


def line(rounds: list[dict[str, float]]) -> str:
    by_figure = {figure: [each[figure] for each in rounds] for figure in rounds[0]}
    return ", ".join(f"{it} {median(of):.1f} ms ({min(of):.1f} to {max(of):.1f})" for it, of in by_figure.items())


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
    path = site.folder / "handled.log"
    return ask(site, events=1, connections=1).returncode == 0 and path.exists() and path.stat().st_size > 0


def load(site: Site, events: int, *rate: int) -> dict[str, float]:
    """How long the answers took."""
    done = ask(site, events, CONNECTIONS, *rate)
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


def ask(site: Site, events: int, connections: int, *rate: int) -> "subprocess.CompletedProcess[str]":
    """A process that calls. It is light: one in asyncio would take half of the machine."""
    words = map(str, (LOAD, site.port, connections, events, PORTALS, FORM, *rate))
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)


def handled(site: Site, since_ns: int) -> list[float]:
    """The seconds from due to handled, of every event that was due since, when all are handled."""
    path = site.folder / "handled.log"

    def seconds() -> list[float]:
        found = array("q", path.read_bytes())
        return [(at - due) / NS for due, at in zip(found[::2], found[1::2], strict=True) if due >= since_ns]

    site.wait("every event", lambda: len(seconds()) >= EVENTS)
    return seconds()
