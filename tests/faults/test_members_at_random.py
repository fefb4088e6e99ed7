"""Members of a group that come and go by chance, several at a time, and take their time to give partitions back.

Nothing is broken, so that each record is read once, by whoever its partition belongs to."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from forebay.queues.contract import Commit, Consumer, Queue, Record
from forebay.queues.errors import Fenced, QueueUnavailable
from forebay.queues.opening import open_queue
from forebay.queues.settings import QueueSettings
from tests.integration.queues.members import STREAM, Follower

from .chance import Chance
from .under import Under, every_queue

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

PARTITIONS, PORTALS, MOST_MEMBERS = 12, 200, 6
#: A partition of whom goes without a goodbye is read again only after that.
SESSION_S = 20.0
SECONDS, SEND_EVERY_S, BATCH = 60.0, 0.02, 20

#: So long it takes to give a partition back, and so long it is quiet between two who come or go.
GRACES_S, RESTS_S = (0.0, 0.0, 0.05, 0.3, 1.0, 2.5), (0.0, 0.1, 0.5, 1.5, 4.0)

#: What is told of the queue itself.
EXPECTED = ("a single copy of each event", "queue_volatile")

#: A member of the classic protocol can't say goodbye before all others have joined anew: its group asks for one thing
#: at a time on a connection.
NO_GOODBYE = "the group was left without a goodbye"


class Account:
    """What all members together have read: of each partition the place behind its last record, and whose it is."""

    def __init__(self) -> None:
        self.read = 0
        self.places: dict[int, int] = {}
        self.owners: dict[int, str] = {}
        self.wrong: list[str] = []

    def expect(self, fact: bool, otherwise: str) -> None:
        """Note what is wrong, if this is."""
        if not fact:
            self.wrong.append(otherwise)


class Member(Follower):
    """One that reads, commits now and then, and gives back what it is asked for when it has committed that."""

    def __init__(self, name: str, consumer: Consumer, account: Account, chance: Chance) -> None:
        super().__init__()
        self._name, self._consumer, self._account, self._rng = name, consumer, account, chance.rng

    def assigned(self, partition: int, committed: Commit) -> None:
        owner, place = self._account.owners.get(partition), self._account.places.get(partition, committed.offset)
        self._account.expect(owner is None, f"{self._name} was given {partition}, which {owner} has")
        self._account.expect(committed.offset == place, f"{self._name} begins {partition} at {committed}, not {place}")
        self._account.owners[partition], self._account.places[partition] = self._name, committed.offset
        super().assigned(partition, committed)

    async def revoked(self, partition: int) -> None:
        await asyncio.sleep(self._rng.choice(GRACES_S))
        try:
            await self._commit_last(partition)
        except Fenced as error:
            self._account.expect(False, f"{self._name} gave back {partition}: {error}")
        del self._account.owners[partition]
        await super().revoked(partition)

    def lost(self, partition: int) -> None:
        self._account.expect(False, f"{self._name} lost {partition}")
        del self._account.owners[partition]
        super().lost(partition)

    async def start(self) -> None:
        """Join, and read until it stops."""
        await self._consumer.start(self)
        self._reading = asyncio.create_task(self._read())

    async def stop(self) -> None:
        """Leave while all others go on."""
        self._account.expect(not self._reading.done(), f"{self._name} does not read any more")
        self._reading.cancel()
        await asyncio.wait([self._reading])
        await self._consumer.close()
        self._account.expect(not self.owned, f"{self._name} has left, and has {sorted(self.owned)}")

    async def _read(self) -> None:
        account = self._account
        while True:
            for one in await self._consumer.fetch(100, 0.2):
                owner, place = account.owners.get(one.partition), account.places[one.partition]
                account.expect(owner == self._name, f"{self._name} got {one}, and {owner} has its partition")
                account.expect(one.offset == place, f"{self._name} got {one}, where {place} is next")
                account.places[one.partition], account.read = one.offset + 1, account.read + 1
            if self.owned and not self._rng.randrange(10):
                await self._commit()

    async def _commit_last(self, partition: int) -> None:
        while True:
            with suppress(QueueUnavailable):
                return await self._consumer.commit({partition: Commit(offset=self._account.places[partition])})

    async def _commit(self) -> None:
        try:
            await self._consumer.commit({number: Commit(offset=self._account.places[number]) for number in self.owned})
        except QueueUnavailable:
            # Classic brokers answer none while a group is put together anew; the next one counts.
            return
        except Fenced as error:
            # What was given back meanwhile was committed before.
            self._account.expect(not self.owned.keys() & error.partitions, f"{self._name} can't commit: {error}")


class Crowd:
    """Those who are there, those who are leaving, and who sends to them."""

    def __init__(self, queue: Queue, chance: Chance) -> None:
        self.account, self.sent = Account(), 0
        self._queue, self._chance = queue, chance
        self._here: list[Member] = []
        self._leaving: list[asyncio.Task[None]] = []
        self._came = 0

    async def come(self) -> Member:
        """One more."""
        self._came += 1
        consumer = self._queue.consumer(STREAM, "group", session_s=SESSION_S)
        member = Member(f"member {self._came}", consumer, self.account, self._chance)
        await member.start()
        self._here.append(member)
        return member

    def go(self) -> None:
        """One less, before long."""
        member = self._here.pop(self._chance.rng.randrange(len(self._here)))
        self._leaving.append(asyncio.create_task(member.stop()))

    async def all_gone(self) -> None:
        """Return when nobody is there."""
        while self._here:
            self.go()
        await asyncio.gather(*self._leaving)

    async def change(self) -> None:
        """Let somebody come or go."""
        if len(self._here) < 2 or (len(self._here) < MOST_MEMBERS and self._chance.rng.random() < 0.5):
            await self.come()
        else:
            self.go()
        await asyncio.sleep(self._chance.rng.choice(RESTS_S))

    async def send(self, is_over: Callable[[], bool]) -> None:
        """Send on and on."""
        producer = self._queue.producer()
        while not is_over():
            for _ in range(BATCH):
                key = f"portal-{self._chance.rng.randrange(PORTALS)}"
                await producer.send(STREAM, Record(key=key, value=b"", timestamp_ms=time.time_ns() // 1_000_000))
                self.sent += 1
            await asyncio.sleep(SEND_EVERY_S)
        await producer.close()


@pytest.mark.parametrize("under", every_queue("kafka (consumer)", "kafka (classic)"), indirect=True)
async def test_each_record_is_read_once_whoever_comes_and_goes(under: Under, chance: Chance, tmp_path: Path) -> None:
    given = {"data_dir": tmp_path, "queue_url": under.url, "partitions": PARTITIONS, **under.settings}
    queue = open_queue(QueueSettings.model_validate(given))
    await queue.ensure([STREAM], PARTITIONS)
    crowd, until = Crowd(queue, chance), time.monotonic() + SECONDS

    with capture_logs() as logs:
        async with asyncio.TaskGroup() as at_once:
            at_once.create_task(crowd.send(lambda: time.monotonic() > until))
            while time.monotonic() < until:
                await crowd.change()
        await crowd.all_gone()
        last = await crowd.come()
        async with asyncio.timeout(3 * SESSION_S):
            while crowd.account.read < crowd.sent or len(last.owned) < PARTITIONS:
                await asyncio.sleep(0.1)
        await crowd.all_gone()
    await queue.close()

    assert crowd.account.wrong == []
    assert crowd.account.read == crowd.sent
    assert [one for one in logs if one["log_level"] == "error"] == []
    warnings = {one["event"] for one in logs if one["log_level"] == "warning"}
    assert {one for one in warnings if not one.startswith((*EXPECTED, NO_GOODBYE))} == set()
