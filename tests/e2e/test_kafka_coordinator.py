"""A group without a coordinator for a minute, on a real Kafka of three brokers: its workers go on, and commit later."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from forebay.queues.errors import QueueUnavailable
from tests.e2e.crew import Crew, crew
from tests.e2e.site import Site
from tests.kafka.cluster import Cluster
from tests.order import Line, judge

pytestmark = [pytest.mark.kafka, pytest.mark.faults]

OFFSETS = "__consumer_offsets"

#: As many as server.properties says: of another number the brokers would look for a group in the wrong one.
OFFSETS_PARTITIONS = 4

#: Far longer than a session, and than any client waits for one answer.
OUTAGE_S = 60.0

#: Events a second.
RATE = 100.0


class Coordinator:
    """The broker that has every group. Only one other holds a copy of their offsets, so that there can be none."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.first, self.second, _ = cluster.nodes

    def make(self) -> None:
        """Make the topic of the offsets, before the brokers do it with three copies."""
        copies = [[self.first.number, self.second.number]] * OFFSETS_PARTITIONS
        config = {"cleanup.policy": "compact", "min.insync.replicas": "1"}
        topic = NewTopic(OFFSETS, OFFSETS_PARTITIONS, replica_assignment=copies, config=config)
        with AdminClient({"bootstrap.servers": self._cluster.bootstrap}) as client:
            client.create_topics([topic])[OFFSETS].result(30)

    def vanish(self) -> None:
        """Kill it while the other copy is behind: nobody may take its place, though two of three brokers run."""
        self.second.stop()
        self._wait_for_the_only_copy()
        self.first.stop(signal.SIGKILL)
        self.second.start()

    def _wait_for_the_only_copy(self) -> None:
        with AdminClient({"bootstrap.servers": self._cluster.bootstrap, "log_level": 0}) as client:
            while self._in_sync(client) != {self.first.number}:
                pass

    def _in_sync(self, client: AdminClient) -> set[int]:
        partitions = client.list_topics(OFFSETS, timeout=10).topics[OFFSETS].partitions.values()
        return {number for partition in partitions for number in partition.isrs}

    def come_back(self) -> None:
        """Return when it is there again, and the other copy has caught up."""
        self.first.start()
        self._cluster.wait_in_sync()

    def move(self) -> None:
        """Have the other take its place."""
        self.first.stop()


@dataclass(kw_only=True)
class Commits:
    """What the group had committed, and how long the book was by then."""

    seen: list[tuple[int, dict[int, int]]] = field(default_factory=list)
    #: Committed, though their handlers had not ended.
    too_early: set[str] = field(default_factory=set)

    async def watch(self, made: Crew) -> None:
        """Look again and again; while there is no coordinator nobody knows."""
        while True:
            with suppress(QueueUnavailable):
                committed = await made.committed()
                # The book is read after it: what was finished by then stands there, and what came again stands later.
                self.seen.append((len(made.book.read().lines), committed))
                passed = {event for event, (at, offset) in made.places.items() if offset < committed.get(at, 0)}
                self.too_early |= passed - made.book.ended
            await asyncio.sleep(0.5)

    def before(self, line: Line) -> dict[int, int]:
        """What was surely committed when the line was written."""
        return next((committed for lines, committed in reversed(self.seen) if lines <= line.number), {})

    async def resumed(self, made: Crew) -> None:
        """Return when all that had ended at the call is committed."""
        due = Counter(made.places[event][0] for event in made.book.read().ended & made.places.keys())
        while not self.seen or any(self.seen[-1][1].get(number, 0) < count for number, count in due.items()):
            await asyncio.sleep(0.1)


@asynccontextmanager
async def watched(made: Crew) -> AsyncIterator[Commits]:
    """Look at the group's commits meanwhile."""
    commits = Commits()
    watching = asyncio.create_task(commits.watch(made))
    yield commits
    assert not watching.done(), watching.exception()
    watching.cancel()


async def go_through_an_outage(made: Crew, commits: Commits, coordinator: Coordinator) -> tuple[int, int]:
    """Gives how many events were sent while there was no coordinator, and how many came to their end."""
    made.start("a", "b")
    await made.works("a")
    await made.works("b")
    await commits.resumed(made)
    await asyncio.to_thread(coordinator.vanish)
    sent, ended = len(made.places), len(made.book.read().ended)
    await asyncio.sleep(OUTAGE_S)
    sent, ended = len(made.places) - sent, len(made.book.read().ended) - ended
    await asyncio.to_thread(coordinator.come_back)
    await commits.resumed(made)
    await asyncio.to_thread(coordinator.move)
    await commits.resumed(made)
    return sent, ended


@pytest.mark.timeout(600)
@pytest.mark.parametrize("protocol", ["consumer", "classic"])
async def test_a_minute_without_a_coordinator_costs_no_event_and_no_order(
    clusters: Callable[..., Cluster], site: Site, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    monkeypatch.setenv("BOOK", str(site.folder / "handled.log"))
    cluster = clusters(3)
    coordinator = Coordinator(cluster)
    coordinator.make()
    async with crew(site, cluster.url, kafka={"group.protocol": protocol}) as made:
        async with watched(made) as commits:
            async with made.loaded(RATE):
                sent, ended = await go_through_an_outage(made, commits, coordinator)
            await made.ended()
        await made.stop("a")
        await made.stop("b")
        committed = await made.committed()

    verdict = judge(made.sent, made.book.read().lines)
    print(
        f"{protocol}: {len(made.places)} events, {len(verdict.again)} came again; meanwhile {sent} sent, {ended} ended"
    )
    assert verdict.good, verdict
    assert commits.too_early == set()
    # Whoever must hear of a coordinator in every session (the classic protocol) gives its partitions up until then.
    assert ended > sent / 2 or protocol == "classic"
    assert committed == dict(Counter(partition for partition, _ in made.places.values()))
    for line in verdict.again:
        partition, offset = made.places[line.event]
        assert offset >= commits.before(line).get(partition, 0), f"{line} came again, and had been committed"
