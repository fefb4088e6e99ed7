"""Workers that come, go, die and freeze, under load on a real Kafka; a checker goes through what their handlers did."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]  # they are public, but in no __all__

from tests.e2e.crew import PARTITIONS, Crew, crew
from tests.e2e.site import Site
from tests.kafka.fixtures import Kafka
from tests.order import judge

pytestmark = pytest.mark.kafka

PROTOCOLS = ("consumer", "classic")

#: Events a second.
RATE = 150.0


@pytest.fixture(autouse=True)
def book(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOK", str(site.folder / "handled.log"))


def check(made: Crew) -> None:
    """Nothing lost, nothing at once, order kept; again came only what a lost worker had not committed."""
    lines = made.book.read().lines
    verdict = judge(made.sent, lines)
    first_by = {line.event: line.pid for line in reversed(lines) if line.what == "ended"}
    again = Counter(first_by[line.event] for line in verdict.again)
    print(f"{len(made.places)} events, {len(verdict.again)} came again, by who had handled them first: {dict(again)}")
    assert verdict.good, verdict
    for line in verdict.again:
        partition, offset = made.places[line.event]
        committed = made.committed_before.get(first_by[line.event])
        assert committed is not None, f"{line} came again, and nobody who had handled it was lost"
        assert offset >= committed.get(partition, 0), f"{line} came again, and had been committed"


async def check_rebalances(made: Crew, rounds: int) -> None:
    made.start("a", "b")
    async with made.loaded(RATE):
        await made.works("a")
        await made.works("b")
        for number in range(rounds):
            joined, later = f"joined-{number}", f"later-{number}"
            made.start(joined)
            await made.works(joined)
            await made.stop("b")
            await made.kill(joined)
            made.start("b", later)
            await made.works(later)
            for name in ("a", "b"):
                await made.stop(name)
                made.start(name)
                await made.works(name)
            await made.stop(later)
    await made.ended()
    await made.stop("a")
    await made.stop("b")
    check(made)
    ends = [partition for partition, _ in made.places.values()]
    assert await made.committed() == dict(Counter(ends))


@pytest.mark.timeout(240)
async def test_workers_that_come_go_and_die_cost_no_event_and_no_order(kafka: Kafka, site: Site) -> None:
    async with crew(site, kafka.url, session_s=5, kafka={"group.protocol": "consumer"}) as made:
        await check_rebalances(made, rounds=1)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_partitions_that_an_administrator_adds_stop_no_worker(kafka: Kafka, site: Site, protocol: str) -> None:
    # The last one makes a classic member look soon.
    often = {"group.protocol": protocol, "topic.metadata.refresh.interval.ms": 200}
    async with crew(site, kafka.url, session_s=5, kafka=often) as made:
        made.start("a")
        await made.send(100)
        await made.ended()

        with AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0}) as admin:
            admin.create_partitions([NewPartitions(made.topic, 2 * PARTITIONS)])[made.topic].result(30)
        await made.until("the new ones", lambda: f'"{2 * PARTITIONS - 1}": 0' in site.log("a"))
        await made.send(100)
        await made.ended()
        made.start("b")
        await made.stop("a")
        await made.send(100)
        await made.ended()
        await made.stop("b")

        check(made)
        assert "look at `forebay doctor`" in site.log("a")


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_workers_that_come_go_and_die_for_long_cost_no_event_and_no_order(
    kafka: Kafka, site: Site, protocol: str
) -> None:
    async with crew(site, kafka.url, session_s=5, kafka={"group.protocol": protocol}) as made:
        await check_rebalances(made, rounds=8)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_worker_that_was_frozen_begins_nothing_that_another_has_by_then(
    kafka: Kafka, site: Site, protocol: str
) -> None:
    few: dict[str, Any] = {"session_s": 5, "concurrency": 2}
    async with crew(site, kafka.url, kafka={"group.protocol": protocol}, **few) as made:
        await made.send(1000)
        made.start("frozen")
        await made.works("frozen")
        await made.freeze("frozen", under_way=2)
        made.start("other")
        await made.ended()

        before = set(made.places)
        asleep = len(made.book.read().lines)
        made.wake("frozen")
        async with made.loaded(RATE):
            await made.works("frozen", 1)
        await made.ended()
        await made.stop("frozen")
        await made.stop("other")

    frozen, since = made.pid("frozen"), made.book.read().lines[asleep:]
    assert [line for line in since if (line.what, line.pid) == ("began", frozen) and line.event in before] == []
    check(made)


async def test_a_worker_whose_topic_was_made_anew_ends_and_says_so(kafka: Kafka, site: Site) -> None:
    async with crew(site, kafka.url, kafka={"group.protocol": "classic"}) as made:
        await made.send(300)
        made.start("a")
        await made.ended()
        kafka.delete(made.topic)
        await made.make()

        status = await asyncio.to_thread(site.running["a"].wait, 60)

    assert status == 1
    assert f"group {made.topic}" in site.log("a") or f"no topic {made.topic}" in site.log("a")
