"""Handlers that hold their thread, or the whole loop, for several times as long as Kafka waits for a poll."""

import asyncio

import pytest

from forebay.schemas.portal import partition_of
from tests.e2e.crew import PARTITIONS, Crew, crew
from tests.e2e.site import Site
from tests.kafka.fixtures import Kafka
from tests.order import judge

pytestmark = pytest.mark.kafka

#: A member that polls no more is out of its group after so long; so is one whose machine stands still for a session.
MAX_POLL_S = 4.0
SESSION_S = 3.0

#: Writes the book of tests/order.py. For each file that asks for it, one event takes so many seconds; those of a portal
#: with a file of its name take until there is another one.
HANDLERS = """
import os
import time
from glob import glob

from forebay import Handlers

handlers = Handlers()
book = os.open(os.environ["BOOK"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)


@handlers.on("*")
{kind} handle(event):
    line = f"{{event.portal}} {{event.id}}#{{event.fields['data[FIELDS][ID]']}} {{os.getpid()}}\\n".encode()
    os.write(book, b"began " + line)
    for path in glob("block-*"):
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
        time.sleep({seconds})
        break
    while os.path.exists(event.portal) and not os.path.exists("go-on"):
        time.sleep(0.02)
    os.write(book, b"ended " + line)
"""


@pytest.fixture(autouse=True)
def book(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK", str(site.folder / "handled.log"))


async def send_some(made: Crew) -> None:
    """A few events, and time for the workers."""
    await made.send(5)
    await asyncio.sleep(0.05)


async def both_work(made: Crew) -> None:
    """Send until each has had an event: then the group has settled."""
    pids = {made.pid("a"), made.pid("b")}
    while {line.pid for line in made.book.read().lines} < pids:
        await send_some(made)


@pytest.mark.parametrize(("kind", "protocol"), [("def", "consumer"), ("async def", "classic")])
async def test_a_handler_that_blocks_for_several_polls_costs_no_membership(
    kafka: Kafka, site: Site, kind: str, protocol: str
) -> None:
    settings = {"group.protocol": protocol, "max.poll.interval.ms": round(MAX_POLL_S * 1000)}
    async with crew(site, kafka.url, session_s=SESSION_S, kafka=settings) as made:
        (site.folder / "shop.py").write_text(HANDLERS.format(kind=kind, seconds=3 * MAX_POLL_S))
        made.start("a", "b")
        await both_work(made)
        (site.folder / "block-1").touch()
        await made.send(300)
        await made.ended()
        await made.stop("a")
        await made.stop("b")
        committed = await made.committed()

    verdict = judge(made.sent, made.book.read().lines)
    assert list(site.folder.glob("block-*")) == []
    assert verdict.good, verdict
    assert verdict.again == []
    assert sum(committed.values()) == len(made.places)
    assert "lost" not in site.log("a") + site.log("b")


@pytest.mark.timeout(240)
async def test_a_worker_that_joins_waits_for_threads_that_outlive_their_grace(kafka: Kafka, site: Site) -> None:
    async with crew(site, kafka.url, session_s=SESSION_S, drain_s=0.1) as made:
        (site.folder / "shop.py").write_text(HANDLERS.format(kind="def", seconds=0))
        # In each partition, so that it is in those that move; fewer than a worker's threads, so that the others go on.
        blocked = {partition_of(portal, PARTITIONS): portal for portal in made.portals}.values()
        for portal in blocked:
            (site.folder / portal).touch()
        made.start("a")
        await made.send(300)
        await made.until("the threads", lambda: {line.portal for line in made.book.lines} >= {*blocked})
        made.start("b")
        await made.until("the end of the grace", lambda: "handlers cancelled after their grace" in site.log("a"))
        # What were given back nevertheless, the other one would begin by then.
        await asyncio.sleep(3 * MAX_POLL_S)
        (site.folder / "go-on").touch()
        await both_work(made)
        await made.ended()
        await made.stop("a")
        await made.stop("b")
        committed = await made.committed()

    verdict = judge(made.sent, made.book.read().lines)
    assert verdict.good, verdict
    assert verdict.again == []
    assert sum(committed.values()) == len(made.places)
