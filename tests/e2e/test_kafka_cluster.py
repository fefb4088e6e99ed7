"""From an HTTP call to the end of a handler, while the three brokers are restarted one after the other."""

import asyncio
import json
import signal
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from forebay.console.reading import inspected, opened
from forebay.console.settings import Settings, load_settings
from forebay.queues.contract import Inspector
from forebay.queues.errors import QueueUnavailable
from forebay.queues.reading import between
from forebay.schemas.codec import codec
from tests.e2e.sending import Portals
from tests.e2e.site import Site, open_site
from tests.kafka.cluster import Cluster, Node
from tests.order import HANDLERS, Book, Line, judge, named

pytestmark = pytest.mark.kafka

BROKERS, HOSTS, WORKERS_A_HOST = 3, 2, 2
PORTALS, CONNECTIONS, SEED = 1000, 64, 20_260_704

#: No record is given up: an answer may come while the brokers are restarted, and a portal that left would not know.
PATIENCE_S = 150.0

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the brokers are restarted, one after the other, and under which load."""

    restarts: Sequence[signal.Signals]
    #: Events a second.
    rate: float
    #: Events before each restart, and events while a broker is down: the others have to carry them.
    between: int
    meanwhile: int
    #: With a spool each portal has to stay at one host; without one its calls wait, and may go by the hosts in turn.
    has_spool: bool


@dataclass(kw_only=True)
class Commits:
    """What the group had committed, and how long the book was by then."""

    seen: list[tuple[int, dict[int, int]]] = field(default_factory=list)

    async def watch(self, inspector: Inspector, topic: str, book: Book) -> None:
        """Look once a second; while a broker goes nobody may know."""
        while True:
            with suppress(QueueUnavailable):
                committed = await committed_by(inspector, topic)
                # The book is read after it: what stands there later began in spite of these commits.
                self.seen.append((len(book.read().lines), committed))
            await asyncio.sleep(1)

    def before(self, line: Line) -> dict[int, int]:
        """What was surely committed when the line was written."""
        return next((committed for lines, committed in reversed(self.seen) if lines <= line.number), {})


@dataclass(kw_only=True)
class World:
    """Hosts, each with an ingest and workers, on one cluster."""

    cluster: Cluster
    hosts: Sequence[Site]
    book: Book
    settings: Settings

    def start(self) -> None:
        """Return when every host sends to the queue: out of two spools, events of one portal come in any order."""
        for host in self.hosts:
            (host.folder / "shop.py").write_text(HANDLERS)
            host.start("ingest", "ingest")
            host.start("process", "process", "shop:handlers", "--processes", str(WORKERS_A_HOST))
        for host in self.hosts:
            host.wait("the ingest and its queue", host.has_its_queue)

    async def restart(self, node: Node, how: signal.Signals, portals: Portals, meanwhile: int) -> None:
        """Have the broker go, and come back when so many events were kept without it."""
        portals.slowest_s = 0.0
        await asyncio.to_thread(node.stop, how)
        await portals.answered(meanwhile)
        node.start()
        await asyncio.to_thread(self.cluster.wait_in_sync)
        print(f"broker {node.number}, {how.name}: the longest answer took {portals.slowest_s:.1f} s")

    def stop(self) -> list[int]:
        """The exit status of every process that was started."""
        return [host.stop(name) for name in ("ingest", "process") for host in self.hosts]


@pytest.fixture
def worlds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clusters: Callable[..., Cluster]
) -> Iterator[Callable[[str], World]]:
    """Makes a world whose groups use that protocol."""
    monkeypatch.setenv("BOOK", str(tmp_path / "handled.log"))
    monkeypatch.setattr("forebay.console.traffic.connection.ANSWER_TIMEOUT_S", PATIENCE_S)
    with ExitStack() as running:

        def world(protocol: str) -> World:
            cluster = clusters(BROKERS)
            url = f"kafka://{cluster.bootstrap}"
            hosts = []
            for number in range(HOSTS):
                (folder := tmp_path / f"host-{number}").mkdir()
                hosts.append(running.enter_context(open_site(folder)))
                # The first host's workers read from the nearest copy, the other's from the leaders.
                kafka = {"group.protocol": protocol} | ({} if number else {"client.rack": "rack-2"})
                hosts[-1].settings |= {"queue_url": url, "kafka": json.dumps(kafka)}
            settings = load_settings(options={"queue_url": url}, environ={}).settings
            return World(cluster=cluster, hosts=hosts, book=Book(tmp_path / "handled.log"), settings=settings)

        yield world


async def answered(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer, as soon as the brokers have one: on a busy machine they may still be changing places."""
    while True:
        try:
            return await ask()
        except QueueUnavailable:
            await asyncio.sleep(0.1)


async def committed_by(inspector: Inspector, topic: str) -> dict[int, int]:
    """How far the group is in each partition."""
    return {number: state.offset for number, state in (await inspector.groups(topic)).get("forebay", {}).items()}


async def standing(inspector: Inspector, topic: str) -> tuple[dict[str, list[str]], dict[str, tuple[int, int]]]:
    """Each portal's events in the order of the queue, and where each of them stands last.

    One can stand twice where a leader changed (librdkafka's issue 4953): the second copy is handled for itself.
    """
    order: dict[str, list[str]] = defaultdict(list)
    places: dict[str, tuple[int, int]] = {}
    for partition, bounds in (await inspector.bounds(topic)).items():
        async for record in between(inspector, topic, partition, bounds.start, bounds.end):
            event = codec().decode(record.value)
            name = named(event.id, event.fields["data[FIELDS][ID]"])
            if name not in places:
                order[event.portal].append(name)
            places[name] = partition, record.offset
    return order, places


async def check_that_order_outlives(plan: Plan, world: World) -> None:
    """Restart the brokers, and judge what became of every event that was sent meanwhile."""
    if not plan.has_spool:
        for host in world.hosts:
            host.settings["ack_deadline_ms"] = str(round(PATIENCE_S * 1000))
    world.start()
    topic, commits = world.settings.topic, Commits()
    urls = [host.url for host in world.hosts]
    load: dict[str, Any] = {"rate": plan.rate, "connections": CONNECTIONS, "seed": SEED}
    portals = Portals(urls, PORTALS, in_turn=not plan.has_spool, **load)
    async with opened(world.settings) as queue, inspected(queue) as inspector:
        watching = asyncio.create_task(commits.watch(inspector, topic, world.book))
        async with asyncio.TaskGroup() as sending:
            sending.create_task(portals.run())
            for how in plan.restarts:
                for node in world.cluster.nodes:
                    await portals.answered(plan.between)
                    await world.restart(node, how, portals, plan.meanwhile)
            await portals.answered(plan.between)
            portals.stop()
        kept = {event for events in portals.kept.values() for event in events}
        await asyncio.to_thread(world.hosts[0].wait, "the last event", lambda: world.book.read().ended >= kept)
        watching.cancel()
        order, places = await answered(lambda: standing(inspector, topic))
        statuses = await asyncio.to_thread(world.stop)
        committed = await answered(lambda: committed_by(inspector, topic))
        bounds = await answered(lambda: inspector.bounds(topic))

    verdict = judge(portals.kept, world.book.read().lines)
    print(f"{len(kept)} events of {len(portals.kept)} portals, {len(verdict.again)} came again")
    assert portals.answers == {"200 accepted": len(kept)}
    assert statuses == [0] * len(statuses)
    assert verdict.good, verdict
    assert order == portals.kept
    assert committed == {number: one.end for number, one in bounds.items()}
    assert len({line.pid for line in world.book.lines}) == HOSTS * WORKERS_A_HOST
    for line in verdict.again:
        partition, offset = places[line.event]
        assert offset >= commits.before(line).get(partition, 0), f"{line} came again, and had been committed"


@pytest.mark.timeout(400)
async def test_brokers_that_are_restarted_cost_no_event_and_no_order(worlds: Callable[[str], World]) -> None:
    plan = Plan(restarts=[signal.SIGTERM], rate=100.0, between=150, meanwhile=100, has_spool=True)

    await check_that_order_outlives(plan, worlds("consumer"))


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("protocol", "has_spool"), [("consumer", False), ("classic", True)])
async def test_brokers_that_are_killed_again_and_again_cost_no_event_and_no_order(
    worlds: Callable[[str], World], protocol: str, has_spool: bool
) -> None:
    restarts = [signal.SIGTERM, signal.SIGKILL] * 2
    plan = Plan(restarts=restarts, rate=150.0, between=500, meanwhile=250, has_spool=has_spool)

    await check_that_order_outlives(plan, worlds(protocol))
