"""Workers on a real Kafka: killed in the middle of their work, or behind what retention has left."""

import asyncio
from collections import Counter

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.e2e.crew import Crew, crew
from tests.e2e.site import Site
from tests.kafka.fixtures import Kafka
from tests.order import judge

from .reporting import Report, Row

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]

#: Events a second, and how many handlers of a worker run at once.
RATE, CONCURRENCY = 500.0, 64

#: So many events a worker begins between its start and its death.
_BATCH = 200

_LOOK_S = 0.1


def row_of(made: Crew, fault: str, note: str, lost_workers: set[int]) -> Row:
    """What the book says; fails when it is no good, or when something came again that had been committed."""
    lines = made.book.read().lines
    verdict = judge(made.sent, lines)
    first_by = {line.event: line.pid for line in reversed(lines) if line.what == "ended"}
    bound = sum(_uncommitted(made, pid) for pid in lost_workers)
    assert verdict.good, verdict
    for line in verdict.again:
        partition, offset = made.places[line.event]
        committed = made.committed_before.get(first_by[line.event])
        assert committed is not None, f"{line} came again, and nobody who had handled it was lost"
        assert offset >= committed.get(partition, 0), f"{line} came again, and had been committed"
    return Row.handled(fault, len(made.places), verdict, bound=bound, note=note)


def _uncommitted(made: Crew, pid: int) -> int:
    """How many events the worker had begun that were not committed when it was killed."""
    before = made.committed_before[pid]
    places = (made.places[line.event] for line in made.book.lines if (line.what, line.pid) == ("began", pid))
    return sum(offset >= before.get(partition, 0) for partition, offset in places)


@pytest.mark.parametrize("deaths", [3, pytest.param(50, marks=pytest.mark.faults)])
async def test_workers_that_are_killed_in_the_middle_of_a_batch_repeat_what_was_not_committed_alone(
    kafka: Kafka, site: Site, report: Report, deaths: int
) -> None:
    async with crew(site, kafka.url, portals=5000, session_s=5, concurrency=CONCURRENCY) as made:
        names = ["a", "b"]
        made.start(*names)
        async with made.loaded(RATE):
            for name in names:
                await made.works(name)
            for number in range(deaths):
                name = names[number % len(names)]
                await made.works(name, _BATCH)
                await made.kill(name)
                await asyncio.to_thread(site.running[name].wait)
                made.start(name)
        await made.ended()
        # What a dead worker had done and not committed, another does again: only then all of it is committed.
        ends = Counter(partition for partition, _ in made.places.values())
        while await made.committed() != ends:
            await asyncio.sleep(_LOOK_S)
        for name in names:
            await made.stop(name)

    row = row_of(
        made,
        f"workers: kill -9 in the middle of their work, {deaths} times",
        "twice: came to a handler again; at most what the killed worker had begun and not committed",
        set(made.committed_before),
    )
    report.add(row)
    assert row.doubled_bound is not None and row.doubled <= row.doubled_bound


@pytest.mark.faults
async def test_a_group_behind_what_retention_left_stops_and_says_so_and_skips_nothing(
    kafka: Kafka, site: Site, report: Report
) -> None:
    async with crew(site, kafka.url, portals=500, session_s=5) as made:
        await made.send(1000)
        made.start("a")
        await made.ended()
        await made.stop("a")
        committed = await made.offsets()
        await made.send(2000)
        taken = {number: offset + 20 for number, offset in committed.items()}
        with AdminClient({"bootstrap.servers": kafka.bootstrap}) as client:
            places = [TopicPartition(made.topic, number, offset) for number, offset in taken.items()]
            for done in client.delete_records(places).values():
                done.result(30)

        made.start("b")
        status = await asyncio.to_thread(site.running["b"].wait, 60)
        after = await made.offsets()

    handled = {line.event for line in made.book.read().lines}
    report.add(
        Row(
            fault="workers: retention took what the group had not handled yet",
            events=len(made.places),
            acknowledged=len(made.places),
            note="the worker ends with status 1 and names group, partition and remedy, and handles, commits and skips "
            "nothing: what the queue has deleted is gone by the cluster's own settings, and a person has to know",
        )
    )
    assert status == 1
    assert f"group {made.topic}" in site.log("b")
    assert after == committed
    assert len(handled) == 1000
