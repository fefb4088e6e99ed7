"""What of the parked stream is deleted, and what is not."""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from forebay.processors.notes import Place, encode_note
from forebay.processors.parking.orders import What
from forebay.processors.parking.stream import ParkedStream
from forebay.processors.worker import Worker
from forebay.queues.contract import Bounds, Commit, Record, StoredRecord
from forebay.queues.errors import QueueError, QueueUnavailable
from forebay.queues.memory import MemoryConsumer, MemoryInspector
from forebay.schemas import names
from tests.parking.moody import TOPIC
from tests.parking.world import World

PORTAL = "a.example"
NUMBER = World.partition(PORTAL)
#: Another portal of the same partition.
OTHER = next(f"{n}.example" for n in range(99) if World.partition(f"{n}.example") == NUMBER)


class Site(World):
    """A world with a portal that is parked, and a worker."""

    def stands(self) -> list[int]:
        """The positions of the portal's partition of the parked stream that are still there."""
        return [record.offset for record in self.queue.logs[names.parked(TOPIC)][NUMBER]]

    def park(self, count: int) -> None:
        """So many events wait."""
        self.failing.add(PORTAL)
        self.send(PORTAL, count)
        self.let(30)

    def move_back(self) -> None:
        """The group is moved back to the beginning, as an administrator does it."""
        self.commits()[NUMBER] = Commit(offset=0)


@pytest.fixture
def site() -> Iterator[Site]:
    with closing(Site()) as made:
        made.start()
        made.let(1)
        yield made


def test_what_is_done_is_deleted_and_what_waits_is_not(site: Site) -> None:
    site.park(20)
    site.trim()
    first = site.stands()[0]
    [worker] = site.workers
    site.kill(worker, 0)
    site.heal()
    site.judge()

    site.trim()

    # The claim of the first owner, before which nothing stood.
    assert first == 1
    assert len(site.stands()) <= 3


def test_a_worker_sees_to_it_by_itself(site: Site) -> None:
    site.park(1_200)
    site.heal()
    end = site.stands()[-1]
    assert site.stands()[0] == 0

    site.let(200)

    assert site.stands()[0] > end
    site.judge()


def test_what_can_not_be_deleted_is_told_once_and_deleted_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(self: ParkedStream, only: Collection[int]) -> dict[int, Bounds]:
        raise RuntimeError("a fault")

    site.park(1_200)
    site.heal()
    end = site.stands()[-1]
    with capture_logs() as logs:
        for _ in range(2):
            with monkeypatch.context() as patched:
                patched.setattr(ParkedStream, "bounds", away)
                site.let(200)
            site.let(200)

    assert site.stands()[0] > end
    told = [one["error"] for one in logs if "stays in the parked stream" in one["event"]]
    assert told == ["RuntimeError('a fault')"] * 2


def test_what_is_done_of_a_portal_that_still_waits_is_deleted(site: Site) -> None:
    site.park(20)
    site.failing.clear()
    site.takes_s[PORTAL] = 3.0
    site.let(50)
    done = len(site.done[PORTAL])
    assert 5 < done < 20

    site.trim()

    assert done <= site.stands()[0] < 20
    site.heal()
    site.judge()


def test_what_another_owner_would_load_again_is_not_deleted(site: Site) -> None:
    site.park(20)
    site.trim()
    # That they are done is kept nowhere: the stream can't be written.
    site.feel("refuses")
    site.failing.clear()
    site.let(60)
    site.send(OTHER, 1)
    site.let(3)
    assert site.books.is_complete()

    [worker] = site.workers
    site.trim_once(worker, worth=2)

    assert site.stands()[0] == site.place(PORTAL).needed == 1
    site.heal()
    site.judge()


def test_a_group_that_does_not_say_what_it_needs_keeps_all(site: Site) -> None:
    older = encode_note(0, [], 1000)
    site.queue.group_states[TOPIC, "older"].commits[NUMBER] = Commit(offset=0, note=older)
    site.park(20)
    site.heal()

    site.trim()

    assert site.stands()[0] == 0
    assert len(site.stands()) > 20


def test_a_group_of_which_nobody_waits_holds_nothing(site: Site) -> None:
    other = site.start(group="other")
    site.let(3)
    site.park(20)
    site.stop(other)
    # While it is not run, nobody knows what it will need.
    site.heal()
    site.trim()
    assert len(site.stands()) > 20

    site.start(group="other")
    site.let(30)
    site.trim()

    assert len(site.stands()) <= 5

    # To a group that is new nothing is missing.
    with capture_logs() as logs:
        site.start(group="new")
        site.let(5)
    assert [one for one in logs if one["log_level"] == "error"] == []


def test_what_was_ordered_before_is_not_obeyed_again_by_a_group_that_was_moved_back(site: Site) -> None:
    site.park(20)
    site.order(What.DISCARD, PORTAL)
    site.let(30)
    site.failing.clear()
    site.let(60)
    site.trim()
    assert site.stands()[0] > 20
    [worker] = site.workers
    site.stop(worker)
    done = list(site.done[PORTAL])
    site.books.excuse([PORTAL], 0)

    site.move_back()
    site.start()
    site.let(60)

    assert done == []
    assert site.done[PORTAL] == list(range(1, 21))


def test_what_is_not_deleted_at_once_is_deleted_after_a_pause(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    trim, asked_at = site.queue.trim, list[float]()

    async def slow(stream: str, before: Mapping[int, int]) -> bool:
        asked_at.append(site.loop.time())
        ends = {number: min(end, site.stands()[0] + 8) for number, end in before.items()}
        return await trim(stream, ends) or ends != before

    monkeypatch.setattr(site.queue, "trim", slow)
    site.park(20)
    site.heal()
    [worker] = site.workers
    site.trim_once(worker)
    site.let(2)
    needed = site.place(PORTAL).needed

    site.trim_once(worker)

    assert site.stands()[0] == needed
    assert asked_at[0] < asked_at[1] < asked_at[2]


def test_what_a_group_that_was_set_back_needs_meanwhile_is_not_deleted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    trim, ends = site.queue.trim, [8, 20]
    others = site.queue.group_states[TOPIC, "other"].commits

    async def some(stream: str, before: Mapping[int, int]) -> bool:
        await trim(stream, {number: min(ends[0], end) for number, end in before.items()})
        others[NUMBER] = Commit(offset=0, note=encode_note(0, [], 1000, Place(needed=8)))
        return ends.pop(0) == 8

    monkeypatch.setattr(site.queue, "trim", some)
    others[NUMBER] = Commit(offset=0, note=encode_note(0, [], 1000, Place(needed=20)))
    site.park(20)
    site.heal()
    [worker] = site.workers

    for _ in range(2):
        site.trim_once(worker, worth=2)
        site.let(2)

    assert site.stands()[0] == 8


def with_what_nobody_needs(site: Site) -> tuple[Worker, int]:
    """The site's one worker, and the position before which everything in the parked stream is done."""
    site.park(20)
    site.heal()
    [worker] = site.workers
    site.trim_once(worker)
    site.let(2)
    needed = site.place(PORTAL).needed
    assert needed > 20
    return worker, needed


def test_what_nobody_needs_is_deleted_although_the_stream_takes_nothing_more(site: Site) -> None:
    worker, needed = with_what_nobody_needs(site)

    # As a Redis whose memory is full.
    site.feel("refuses")
    with pytest.raises(QueueError):
        site.trim_once(worker)

    assert site.stands()[0] == needed


def test_it_is_also_by_a_worker_that_can_not_begin_before_the_stream_takes_something(site: Site) -> None:
    worker, needed = with_what_nobody_needs(site)

    site.feel("refuses")
    site.stop(worker)
    worker = site.start()
    site.let(2)
    site.trim_once(worker)

    assert site.stands()[0] == needed


def test_who_does_not_know_yet_that_the_partition_is_its_own_claims_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, _ = with_what_nobody_needs(site)
    site.stop(worker)
    site.start(group="other")
    site.let(3)
    end = site.stands()[-1]

    async def away(self: MemoryConsumer, commits: Mapping[int, Commit]) -> None:
        raise QueueUnavailable("no commits just now")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryConsumer, "commit", away)
        worker = site.start()
        site.let(2)
        site.trim_once(worker)

        assert site.stands()[-1] == end


def test_what_is_kept_but_was_not_told_yet_is_not_deleted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    write, told = ParkedStream.write, asyncio.Event()

    async def slow(self: ParkedStream, record: Record) -> int:
        position = await write(self, record)
        await told.wait()
        return position

    monkeypatch.setattr(ParkedStream, "write", slow)
    site.park(20)
    site.trim()

    told.set()
    site.let(5)
    site.heal()

    site.judge()


def test_what_the_last_word_of_a_portal_names_is_not_deleted_while_the_next_is_on_its_way(site: Site) -> None:
    site.park(20)
    site.failing.clear()
    site.takes_s[PORTAL] = 1.0
    while len(site.done[PORTAL]) < 8:
        site.let(0.1)
    # Where a new owner begins stands behind what waits.
    site.trim()
    said, first = len(site.done[PORTAL]), site.stands()[0]
    site.feel("waits")
    site.let(6)
    assert len(site.done[PORTAL]) > said + 4

    # It says less than is done by now.
    site.deliver()
    site.let(1.1)
    [worker] = site.workers
    site.trim_once(worker, worth=4)

    assert site.stands()[0] == first
    site.kill(worker, 0)
    with capture_logs() as logs:
        site.heal()
    site.judge()
    assert [one for one in logs if one["log_level"] == "error"] == []


def test_what_others_have_deleted_as_it_was_read_is_not_taken_for_what_stands_there(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    [worker] = site.workers
    site.order(What.HOLD, PORTAL)
    site.let(3)
    site.send(PORTAL, 20)
    site.let(3)
    site.order(What.RESUME, PORTAL)
    site.heal()
    site.trim_once(worker)
    site.let(2)
    needed = site.place(PORTAL).needed
    site.stop(worker)
    assert needed > 20
    site.books.excuse([PORTAL], 0)
    site.move_back()
    monkeypatch.setattr("forebay.queues.reading.BATCH_RECORDS", 10)
    read = MemoryInspector.read

    async def read_beside_another(
        self: MemoryInspector, stream: str, partition: int, offset: int, max_records: int
    ) -> list[StoredRecord]:
        found = await read(self, stream, partition, offset, max_records)
        if stream == names.parked(TOPIC) and partition == NUMBER:
            # By what the commit said before.
            await site.queue.trim(stream, {partition: needed})
        return found

    monkeypatch.setattr(MemoryInspector, "read", read_beside_another)
    site.start()
    site.send(PORTAL, 1)
    site.let(60)

    assert site.stands()[0] == needed
    assert site.done[PORTAL] == list(range(1, 22))


def test_a_few_records_are_not_worth_it(site: Site) -> None:
    site.park(20)
    site.heal()
    [worker] = site.workers

    site.trim_once(worker, worth=1000)

    assert site.stands()[0] == 0
