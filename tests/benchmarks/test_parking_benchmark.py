"""What one portal's trouble costs the others of its partition: 200 portals, one of which fails, or sends nearly all.

It prints the others' latency, from before the sending to the handler's end, beside that of a run in which nobody is in
trouble: the failing portal beside a clean run, the flooding one beside the same traffic, evenly of all portals.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from time import monotonic, time
from typing import Any

import pytest

from forebay.processors.testing import event
from forebay.queues.contract import Record
from forebay.schemas.codec import codec
from tests.e2e.crew import Crew, crew
from tests.e2e.site import Site, open_site

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]

PORTALS = 200
SECONDS = float(os.environ.get("FOREBAY_BENCH_SECONDS", "60"))
#: Events a second of all the others together; a tick's are sent at once.
RATE, TICK_S = 100.0, 0.02

ODD = "portal-0.bitrix24.example"
#: An event a minute: it is to be served like any other.
RARE = "rare.bitrix24.example"
RARE_EVERY_S = 5.0

HANDLERS = """
import asyncio
import os
import time

from forebay import Handlers

handlers = Handlers()
book = os.open(os.environ["BOOK"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)


@handlers.on("*")
async def handle(event):
    await asyncio.sleep(0.005)
    if event.portal == "portal-0.bitrix24.example" and os.path.exists("broken"):
        raise ConnectionError("the portal's API is down")
    number = int(event.fields["data[FIELDS][ID]"])
    sent = float(event.fields["data[FIELDS][SENT]"])
    os.write(book, f"{event.portal} {number} {time.time() - sent}\\n".encode())
"""


@dataclass(kw_only=True)
class Run:
    """What was measured."""

    others_s: list[float]
    rare_s: list[float]
    odd: list[int]
    rss_mb: list[float]
    lag: dict[str, Any]

    def p(self, percent: int) -> float:
        return quantiles(self.others_s, n=100)[percent - 1]


def rss_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


@pytest.fixture(params=["sqlite", "kafka"])
def started(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], AbstractAsyncContextManager[Crew]]:
    """Starts a crew with one worker, in a folder of that name."""
    kafka_url = request.getfixturevalue("kafka").url if request.param == "kafka" else None

    @asynccontextmanager
    async def start(name: str) -> AsyncIterator[Crew]:
        folder = tmp_path / name
        folder.mkdir()
        with open_site(folder) as site, pytest.MonkeyPatch.context() as patch:
            patch.setenv("BOOK", str(folder / "times"))
            (folder / "times").touch()
            url = kafka_url or f"sqlite:///{folder}/queue.db"
            async with crew(site, url, portals=PORTALS, partitions=1, memory_tries=3, park_first_s=2.0) as made:
                (folder / "shop.py").write_text(HANDLERS)
                yield made

    return start


async def measured(made: Crew, site: Site, rate: float, odd_rate: float, mend_after_s: float | None) -> Run:
    """Send for a while, and read what the handlers wrote down."""
    made.start("worker")
    await once_ready(made, site)
    rss, began, sent, rare_at = [], monotonic(), 0, 0.0
    numbers = {ODD: 0}
    while (at := monotonic() - began) < SECONDS:
        if mend_after_s is not None and at > mend_after_s:
            (site.folder / "broken").unlink(missing_ok=True)
        others, odd = int(rate * at), int(odd_rate * at)
        portals = [made.portals[1 + n % (PORTALS - 1)] for n in range(sent, others)]
        portals += [ODD] * (odd - numbers[ODD])
        sent = others
        if at >= rare_at:
            portals.append(RARE)
            rare_at += RARE_EVERY_S
        await put(made, portals, numbers)
        rss.append(rss_mb(made.pid("worker")))
        await asyncio.sleep(TICK_S)
    lag = json.loads(site.run("lag", "--json").stdout.splitlines()[0])
    if odd_rate < RATE:
        await asyncio.to_thread(site.wait, "the odd portal's events", lambda: odd_of(site)[-1:] == [numbers[ODD]])
    await made.stop("worker")
    lines = [line.split() for line in (site.folder / "times").read_text().splitlines()]
    return Run(
        others_s=[float(took) for portal, _, took in lines if portal not in (ODD, RARE, "first")],
        rare_s=[float(took) for portal, _, took in lines if portal == RARE],
        odd=odd_of(site),
        rss_mb=rss,
        lag=lag,
    )


def odd_of(site: Site) -> list[int]:
    lines = [line.split() for line in (site.folder / "times").read_text().splitlines()]
    return [int(number) for portal, number, _ in lines if portal == ODD]


async def once_ready(made: Crew, site: Site) -> None:
    """Return when the worker handles events."""
    await put(made, ["first"], {})
    await asyncio.to_thread(site.wait, "the first event", lambda: (site.folder / "times").stat().st_size > 0)


async def put(made: Crew, portals: list[str], numbers: dict[str, int]) -> None:
    sending = []
    for portal in portals:
        number = numbers[portal] = numbers.get(portal, 0) + 1
        data: Any = {"FIELDS": {"ID": number, "SENT": repr(time())}}
        value = codec().encode(event("ONCRMDEALADD", data=data, portal=portal))
        record = Record(key=portal, value=value, timestamp_ms=round(time() * 1000))
        sending.append(made.producer.send(made.topic, record))
    await asyncio.gather(*sending)


def told(name: str, run: Run, than: str, other: Run) -> None:
    third = len(run.rss_mb) // 3
    print(
        f"{name}: others p50 {run.p(50) * 1000:.0f} ms, p99 {run.p(99) * 1000:.0f} ms "
        f"(x{run.p(99) / other.p(99):.2f} of {than}'s {other.p(99) * 1000:.0f}); "
        f"rare portal's longest {max(run.rare_s) * 1000:.0f} ms; "
        f"memory {run.rss_mb[third]:.0f} -> {max(run.rss_mb):.0f} MB; lag at the end {run.lag}"
    )


async def test_what_a_failing_and_a_flooding_portal_cost_the_others(started: Any) -> None:
    runs: dict[str, Run] = {}
    for name, rate, odd_rate, mend_after_s in (
        ("clean", RATE, 2.0, None),
        ("failing", RATE, 20.0, SECONDS * 0.75),
        ("spread", 10 * RATE, 2.0, None),
        ("flooding", RATE, 9 * RATE, None),
    ):
        async with started(name) as made:
            if mend_after_s is not None:
                (made.site.folder / "broken").touch()
            runs[name] = await measured(made, made.site, rate, odd_rate, mend_after_s)

    print()
    for name, than in (("failing", "clean"), ("flooding", "spread")):
        told(name, runs[name], than, runs[than])
        assert runs[name].odd == sorted(runs[name].odd)
