"""Workers that come, go and die at random, over handlers that fail at random. What is promised holds all the same."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import pytest

from forebay import Handlers, PortalEvent, Retry
from forebay.processors.notes import decode_note
from forebay.queues.contract import Commit
from forebay.queues.memory import MemoryConsumer, MemoryQueue
from tests.waiting import until

TOPIC = "bitrix24.events"
PORTALS = 25
EVENTS = 1500


class Ledger:
    """What happened, by portal and number."""

    def __init__(self, queue: MemoryQueue) -> None:
        self.queue = queue
        self.first_done: dict[str, list[int]] = defaultdict(list)
        self.done: Counter[tuple[str, int]] = Counter()
        self.active: Counter[str] = Counter()
        self.running: set[tuple[str, int]] = set()
        self.excused: set[tuple[str, int]] = set()
        self.overlaps = 0
        self.early: list[str] = []
        self.places = {
            (partition, record.offset): (record.key, int(dict(record.headers)["number"]))
            for partition, log in enumerate(queue.logs[TOPIC])
            for record in log
        }

    def begin(self, portal: str, number: int) -> None:
        self.active[portal] += 1
        self.overlaps += self.active[portal] > 1
        self.running.add((portal, number))

    def end(self, portal: str, number: int, done: bool) -> None:
        self.active[portal] -= 1
        self.running.discard((portal, number))
        if done:
            self.done[portal, number] += 1
            if self.done[portal, number] == 1:
                self.first_done[portal].append(number)

    def check(self, commits: Mapping[int, Commit]) -> None:
        """No commit may pass an unfinished event, nor may its note name one."""
        for partition, commit in commits.items():
            runs = decode_note(commit.offset, commit.note).runs
            for (of, offset), event in self.places.items():
                covered = offset < commit.offset or any(start <= offset < end for start, end in runs)
                if of == partition and covered and not self.done[event]:
                    self.early.append(f"partition {partition}: {event} at {offset} before {commit.offset}")

    def excuse(self) -> None:
        """A worker dies now: what may come again is what runs, and what was finished since the last commit."""
        self.excused |= self.running
        commits = self.queue.group_states[TOPIC, "forebay"].commits
        for (partition, offset), event in self.places.items():
            commit = commits.get(partition, Commit(offset=0))
            runs = decode_note(commit.offset, commit.note).runs
            if self.done[event] and offset >= commit.offset and not any(a <= offset < b for a, b in runs):
                self.excused.add(event)


@pytest.mark.parametrize("seed", range(6))
async def test_nothing_is_lost_doubled_or_out_of_order(
    station: Any, handlers: Handlers, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = random.Random(seed)
    for number in range(EVENTS):
        # A few portals have most of the events.
        portal = f"p{min(int(source.paretovariate(0.8)), PORTALS)}"
        await station.send(portal, id=number, headers=(("number", str(number).encode()),))
    ledger = Ledger(station.queue)
    commit = MemoryConsumer.commit

    async def checked(self: MemoryConsumer, commits: Mapping[int, Commit]) -> None:
        ledger.check(commits)
        await commit(self, commits)

    monkeypatch.setattr(MemoryConsumer, "commit", checked)

    @handlers.on("*", tries=1_000_000)
    async def handle(event: PortalEvent) -> None:
        data: Any = event.data
        number, done = int(data["FIELDS"]["ID"]), False
        ledger.begin(event.portal, number)
        try:
            for _ in range(source.randrange(3)):
                await asyncio.sleep(source.choice((0, 0, 0.001, 0.003)))
            if source.random() < 0.1:
                raise source.choice((ConnectionError("no"), Retry(after_s=0.001)))
            done = True
        finally:
            ledger.end(event.portal, number, done)

    settings = {"retry_longest_s": 0.002, "retry_total_s": 1e9, "commit_interval_s": 0.02}
    # Nothing is parked: the commit passes what is, and that is another test's.
    settings |= {"memory_tries": 1_000_000, "max_lane_records": EVENTS}
    station.start(**settings)
    while sum(map(len, ledger.first_done.values())) < EVENTS:
        await asyncio.sleep(source.uniform(0, 0.03))
        await disturb(station, ledger, source, settings)
    await until(lambda: station.committed() == EVENTS)

    assert ledger.early == []
    assert ledger.overlaps == 0
    assert all(numbers == sorted(numbers) for numbers in ledger.first_done.values())
    assert {event for event, times in ledger.done.items() if times > 1} <= ledger.excused
    assert station.dead() == []
    assert all(worker._held.records == 0 for worker in station.running)


async def disturb(station: Any, ledger: Ledger, source: random.Random, settings: dict[str, float]) -> None:
    """One worker more, one less in good order, or one dies."""
    workers = list(station.running)
    what = source.choice(("start", "stop", "kill"))
    if what == "start" and len(workers) < 4:
        station.start(**settings)
    elif what == "stop" and len(workers) > 1:
        await station.stop(source.choice(workers))
    elif what == "kill" and len(workers) > 1:
        victim = source.choice(workers)
        ledger.excuse()
        for partition in list(victim.ownership):
            victim.ownership.lost(partition.number)
        await station.stop(victim)
        assert (victim._held.records, victim._held.bytes) == (0, 0)
